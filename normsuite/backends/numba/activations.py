"""Activations behind a norm, in the same pass over the tensor: ReLU and SiLU of one number, and their derivatives."""

from .decorators import fused_inlined
from .elements import exponential, wide

CODES = {None: 0, "relu": 1, "silu": 2}
"""What a kernel is told. An activation that is not here is torch's, after the norm."""

_RELU, _SILU = CODES["relu"], CODES["silu"]


@fused_inlined
def activate(z, code):
    """Return max(z, 0), z / (1 + e⁻ᶻ), or z. A NaN stays one."""
    zero, one = wide(0, z), wide(1, z)
    if code == _RELU:
        return zero if z <= zero else z
    if code == _SILU:
        return z / (one + exponential(-z))
    return z


@fused_inlined
def pull(g, z, code):
    """Return the gradient of the activation's input z, given the gradient g of its output.

    ReLU's derivative is 0 at 0, as torch has it.
    """
    zero, one = wide(0, z), wide(1, z)
    if code == _RELU:
        return zero if z <= zero else g
    if code == _SILU:
        sigma = one / (one + exponential(-z))
        return g * (sigma * (one + z * (one - sigma)))
    return g
