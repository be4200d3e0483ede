"""Names under which records and tables show the implementations that others are compared with. Imports no torch."""

BASELINE = "torch.nn"
AGAIN = "torch.nn again"
COPY = "copy"
AUTO = "auto"
ACCELERATED = "triton"
"""The kernels for accelerators, which stand for ours where `auto` took no part."""
RIVALS = ("torch.compile", "torch.compile of torch.nn", "flax", "onnxruntime", "liger", "quack", "apex")
PREALLOCATED = ", preallocated"
