"""The fastest backend for a call, by what was measured: `auto.toml` says from which size on the kernels win.

The table is made by `python -m normsuite.bench.crossover`, which measures torch and the kernels side by side.
"""

import tomllib
from bisect import bisect_right
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
def table() -> dict[str, dict[str, dict[str, list[int]]]]:
    """For each norm and layout (contiguous, channels_last): "lengths" of numbers that lie side by side, and for each
    mode (forward, step, and each with an activation behind it) from how many numbers on the kernels were faster than
    torch's call at such a length."""
    return tomllib.loads((resources.files(__package__) / "auto.toml").read_text(encoding="utf-8"))


@cache
def smallest() -> int:
    """Below so many numbers torch's call is the fastest for every norm that it has."""
    layouts = [entry for of_norm in table().values() for entry in of_norm.values()]
    return min(n for entry in layouts for mode, sizes in entry.items() if mode != "lengths" for n in sizes)


def least(call: Call) -> int:
    """From how many numbers on the kernels are faster than torch for a call like this one; 0 where nobody measured."""
    x, view = call.input, call.view
    of_norm = table().get(call.spec.name)
    if of_norm is None:
        return 0
    # A tensor that is neither contiguous nor channels_last is copied by both.
    layout = "channels_last" if x.dim() > 2 and not x.is_contiguous() else "contiguous"
    if layout == "channels_last":
        length = x.shape[1]
    else:
        length = view.count if call.spec.affine == "element" else x.numel() // max(1, x.shape[0] * x.shape[1])
    entry = of_norm[layout]
    place = bisect_right(entry["lengths"], length) - 1
    mode = "step" if torch.is_grad_enabled() and x.requires_grad else "forward"
    return entry[mode if call.activation is None else f"{mode}_activated"][max(place, 0)]


def choose(call: Call) -> Choice:
    """Which backend computes this call, and why."""
    why_not_torch = _TORCH.why_not(call)
    if torch.compiler.is_compiling():
        fused = "torch.compile fuses torch's own operations"
        return Choice("torch", fused) if why_not_torch is None else Choice("reference", f"{why_not_torch}; {fused}")
    x = call.input
    if not x.numel():
        return Choice("reference", "no numbers; torch's call would make the running statistics NaN")
    if why_not_torch is None and x.device.type == "cpu":
        enough = least(call)
        if x.numel() < enough:
            return Choice("torch", f"{x.numel()} numbers; the kernels are faster from {enough} on")
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
