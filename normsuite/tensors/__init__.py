"""What kernels ask of tensors: memory that can be read by its address, likeness to earlier ones, and sums over processes."""
