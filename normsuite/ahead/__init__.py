"""What is known of accelerators' kernels without a device: read from kernels compiled ahead. Imports no torch."""
