"""Names that users type and that stand in no folder: modes, activations and types of numbers. Imports no torch."""

MODES = ("forward", "step", "evaluation", "backward")
"""forward: statistics of the input, no gradients. step: the same with the gradients of input, weight and bias.
evaluation: running statistics, no gradients. backward: those gradients alone, of one forward pass that is kept."""

ACTIVATIONS = ("relu", "silu")
"""What may follow a norm in the same pass."""

NO_ACTIVATION = "none"
"""What a user types for no activation."""

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Types of numbers by torch's names."""
