"""Activations behind a norm, in the same pass over the tensor: ReLU and SiLU of one number, and their derivatives."""

from numba import njit

from .elements import exponential, wide

CODES = {None: 0, "relu": 1, "silu": 2}
"""What a kernel is told. An activation that is not here is torch's, behind the norm."""

_RELU, _SILU = CODES["relu"], CODES["silu"]

# Inlined where the code is a constant, so that nothing of the choice is left in a loop.
_inlined = njit(error_model="numpy", forceinline=True, fastmath={"contract"})


@_inlined
def activate(z, code):
    """max(z, 0), z / (1 + e⁻ᶻ), or z. A NaN stays one."""
    zero, one = wide(0, z), wide(1, z)
    if code == _RELU:
        return zero if z <= zero else z
    if code == _SILU:
        return z / (one + exponential(-z))
    return z


@_inlined
def pull(g, z, code):
    """The gradient g of the activation's output, taken back to its input z; ReLU's is 0 at 0, as torch has it."""
    zero, one = wide(0, z), wide(1, z)
    if code == _RELU:
        return zero if z <= zero else g
    if code == _SILU:
        sigma = one / (one + exponential(-z))
        return g * (sigma * (one + z * (one - sigma)))
    return g
