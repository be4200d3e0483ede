"""Facts about accelerators' kernels from compiling them ahead, without a device. Imports no torch."""
