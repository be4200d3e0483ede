"""Ways to compile a function of the kernels: how far its arithmetic may be changed, and whether it is inlined.

Each kind exists inlined, where arguments are constants or a loop is to be vectorised around it, and called, where
inlining it would only make a kernel longer to compile.
"""

from numba import njit

_FUSED = {"contract"}
_SUMMED = {"reassoc", "nsz", "contract"}

inlined = njit(error_model="numpy", forceinline=True)
called = njit(error_model="numpy")
"""Arithmetic as it is written: no product and sum are fused."""

fused_inlined = njit(error_model="numpy", forceinline=True, fastmath=_FUSED)
fused_called = njit(error_model="numpy", fastmath=_FUSED)
"""A product and a sum may be rounded once: what is written, alike in forward and backward kernels."""

summed_inlined = njit(error_model="numpy", forceinline=True, fastmath=_SUMMED)
summed_called = njit(error_model="numpy", fastmath=_SUMMED)
"""Sums may be taken in any order, so that they are vectorised."""
