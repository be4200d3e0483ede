"""Names that users type and that stand in no folder: modes, activations, dtypes, devices. Imports no torch."""

MODES = ("forward", "step", "evaluation", "backward")
"""forward: statistics of the input, no gradients. step: the same with the gradients of input, weight and bias.
evaluation: running statistics, no gradients. backward: those gradients alone, of one forward pass that is kept."""

ACTIVATIONS = ("relu", "silu")
"""What may follow a norm in the same pass."""

NO_ACTIVATION = "none"
"""What a user types for no activation."""

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Types of numbers by torch's names."""

AFFINES = ("channel", "element")
"""What a norm of the study's network may have a weight for."""

DATASETS = ("mnist", "fashion-mnist")
"""What a study trains on."""

FORMATS = ("html", "markdown")
"""What a report may be written as."""

DEVICES = ("cpu", "cuda", "xpu", "mps", "mtia", "hpu")
"""The processor, and the accelerators that torch itself has; packages that bring others announce themselves to it."""

DEVICE_ENTRY_POINTS, BACKEND_ENTRY_POINTS = "torch.backends", "normsuite.backends"
"""Entry points of packages that bring a device to torch, and a backend to this package."""
