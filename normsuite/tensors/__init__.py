"""What kernels ask of tensors: memory that can be read by address, likeness to earlier ones, sums over processes."""
