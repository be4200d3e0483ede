"""The fastest backend for a call, by what was measured: `auto.toml` says from which size on the kernels win.

The table is made by `python -m normsuite.bench.crossover`, which measures torch and the kernels side by side.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

import torch

from ..errors import UnsupportedError
from . import Call, get
from . import apply as apply_with

KERNELS = "numba"
_TORCH, _ = get("torch"), get("reference")  # loaded now, since torch.compile traces no imports


class Choice(NamedTuple):
    """A backend, and why it."""

    backend: str
    reason: str


@cache
def table() -> dict[str, dict[str, dict[str, int]]]:
    """For each norm, layout (contiguous, channels_last) and mode (forward, step) the least number of elements at which
    the kernels were faster than torch's call."""
    return tomllib.loads((resources.files(__package__) / "auto.toml").read_text(encoding="utf-8"))["crossover"]


@cache
def smallest() -> int:
    """Below so many elements torch's call is the fastest for every norm that it has."""
    return min(n for of_norm in table().values() for of_layout in of_norm.values() for n in of_layout.values())


def choose(call: Call) -> Choice:
    """Which backend computes this call, and why."""
    why_not_torch = _TORCH.why_not(call)
    if torch.compiler.is_compiling():
        fused = "torch.compile fuses torch's own operations"
        return Choice("torch", fused) if why_not_torch is None else Choice("reference", f"{why_not_torch}; {fused}")
    measured = table().get(call.spec.name)
    x = call.input
    if why_not_torch is None and measured is not None and x.device.type == "cpu":
        # Of a tensor that is neither, the kernels and torch both make a contiguous copy.
        layout = "channels_last" if x.dim() > 3 and not x.is_contiguous() else "contiguous"
        mode = "step" if torch.is_grad_enabled() and x.requires_grad else "forward"
        least = measured[layout][mode]
        if x.numel() < least:
            return Choice("torch", f"{x.numel()} numbers; the kernels are faster from {least} on")
    try:
        why_not_kernels = get(KERNELS).why_not(call)
    except UnsupportedError as error:
        why_not_kernels = error.reason
    if why_not_kernels is None:
        return Choice(KERNELS, why_not_torch or f"{x.numel()} numbers, enough for the kernels to be faster")
    if why_not_torch is None:
        return Choice("torch", f"{KERNELS} {why_not_kernels}")
    return Choice("reference", f"{why_not_torch}; {KERNELS} {why_not_kernels}")


def why_not(call: Call) -> str | None:
    return None  # what is chosen is asked when it is applied


def apply(call: Call) -> torch.Tensor:
    return apply_with(call, choose(call).backend)
