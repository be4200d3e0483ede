"""The fastest backend for a call, by what was measured: from which sizes on the kernels win (`tunings`)."""

import math
from typing import NamedTuple

import torch

from .. import tunings
from ..tensors.layouts import is_channels_last
from ..tunings import accelerators
from . import Again, Call, checked, get, why_not_loaded

KERNELS = "numba"
FEW_PLACES = 128
"""A channels_last tensor of fewer places has a table of its own: what is done once a sample takes most of the time."""

_TORCH, _ = get("torch"), get("reference")  # loaded now, since torch.compile traces no imports


class Choice(NamedTuple):
    """A backend, and why it."""

    backend: str
    reason: str


def table() -> tunings.Table:
    """Return the sizes from which on the kernels are faster on this processor."""
    return tunings.current().sizes


def least(call: Call) -> float:
    """Return the number of elements from which on the kernels are faster for calls like this one.

    Zero for a norm that is in no table, and infinity for a mode that is in none.
    """
    of_norm = table().get(call.spec.name)
    if of_norm is None:
        return 0
    name, length = layout(call)
    entry = of_norm.get(name)
    if entry is None:  # of another norm of that name
        return math.inf
    place = tunings.place(entry, length)
    return max(_sizes(entry, mode, call)[place] for mode in _modes(call))


def _modes(call: Call) -> tuple[str, ...]:
    """Return the measured modes that apply to the call."""
    if not call.differentiated:
        return ("forward",) if call.use_input_stats else ("evaluation",)
    # A step by running statistics was not measured: the kernels have to win in both modes that it resembles.
    return ("step",) if call.use_input_stats else ("evaluation", "step")


def _sizes(entry: dict[str, list], mode: str, call: Call) -> list[float]:
    """Return the sizes of a mode for each length, with an activation and an output that exists where the call has."""
    if call.out is not None:
        mode += "_into"  # torch's calls cannot write there: what they make is copied
    if call.activation is not None:
        mode += "_activated"
    never = [math.inf] * len(entry["lengths"])
    return entry.get(mode) or entry.get(mode.replace("_into", "")) or never


def layout(call: Call) -> tuple[str, int]:
    """Return the layout of the call's input, as the table of sizes names it, and how many adjacent elements share it.

    The layouts are "contiguous"; "row", where the whole tensor is one row of a norm over trailing sizes, which torch
    computes on one thread; "channels_last"; and "channels_last_few", with fewer than `FEW_PLACES` places.
    """
    x, view = call.input, call.view
    # Both copy a tensor that is neither contiguous nor channels_last, and one in channels_last whose means are not over
    # all dimensions but the batch.
    channels_last = x.dim() > 2 and not x.is_contiguous() and is_channels_last(x)
    channels_last = channels_last and call.trailing in (0, x.dim() - 1)
    if call.spec.affine == "element" and not channels_last:
        return "row" if view.count == x.numel() else "contiguous", view.count
    places = x.numel() // max(1, x.shape[0] * x.shape[1])
    if channels_last or (places == 1 and "batch" in call.spec.axes):  # of one place the channels lie side by side
        return "channels_last_few" if places < FEW_PLACES else "channels_last", x.shape[1]
    return "contiguous", places


def choose(call: Call) -> Choice:
    """Return the backend that computes this call, and the reason."""
    why_not_torch = _TORCH.why_not(call)
    if torch.compiler.is_compiling():
        fused = "torch.compile fuses torch's own operations"
        return Choice("torch", fused) if why_not_torch is None else Choice("reference", f"{why_not_torch}; {fused}")
    x = call.input
    if why_not_torch is None and (x.is_nested or torch.jit.is_tracing()):
        return Choice("torch", "nested tensors and traces are torch's own operations")
    if why_not_torch is None and x.device.type not in ("cpu", "meta") and _is_widened(call):
        return Choice("torch", "autocast has torch compute it in float32")
    if not x.numel():
        return Choice("reference", "no numbers: nothing to average")
    on_accelerator = x.device.type not in ("cpu", "meta")
    kernels = accelerators.KERNELS if on_accelerator else KERNELS
    if why_not_torch is None and x.device.type == "cpu":
        from_on = least(call)
        if x.numel() < from_on:
            words = "at no size that was measured" if from_on == math.inf else f"from {from_on} on"
            return Choice("torch", f"{x.numel()} elements; the kernels are faster {words}")
    why_not_kernels = why_not_loaded(kernels) or get(kernels).why_not(call)
    if why_not_kernels is None and why_not_torch is None:
        slower = accelerators.why_not(call) if on_accelerator else _why_slow()
        if slower is not None:
            return Choice("torch", slower)
    if why_not_kernels is None and not on_accelerator and _lie_apart(call):
        return Choice("reference", f"{why_not_torch}; what shares a mean lies apart, for which the kernels are slower")
    if why_not_kernels is None:
        return Choice(kernels, why_not_torch or f"the kernels are faster for {x.numel()} elements")
    if why_not_torch is None:
        return Choice("torch", f"{kernels} {why_not_kernels}")
    return Choice("reference", f"{why_not_torch}; {kernels} {why_not_kernels}")


def _is_widened(call: Call) -> bool:
    """Return whether autocast on an accelerator makes torch's call return float32 for a narrower input."""
    by_autocast = call.spec.torch_call in ("layer_norm", "group_norm", "rms_norm")
    return by_autocast and call.input.element_size() < 4 and torch.is_autocast_enabled(call.input.device.type)


def _lie_apart(call: Call) -> bool:
    """Return whether a mean is over the channels of a group alone, place by place, in a contiguous tensor.

    The kernels read a whole cache line for each number then. Their time over the reference's, `normsuite.compare` on an
    AMD EPYC 25-17 with one and two threads, 8 groups: (4, 64, 14, 14) forward 2.34 [2.33, 2.35] and 2.35 [2.33, 2.36],
    step 1.26 [1.25, 1.26] and 1.33 [1.31, 1.34]; (16, 64, 28, 28) forward 1.11 [1.10, 1.13] and 2.75 [2.59, 2.93], step
    undecided.
    """
    name, places = layout(call)
    return call.spec.axes == {"group"} and name == "contiguous" and places > 1


def _why_slow() -> str | None:
    from .numba import why_slow  # only where numba is installed

    slow = why_slow()
    return slow and f"{KERNELS} would use one thread: {slow}"


def why_not(call: Call) -> str | None:
    """Return the reason that the chosen backend gives against this call, or None.

    Where no backend can compute the call, it is the reference's reason.
    """
    chosen = choose(call).backend
    return get(chosen).why_not(call)


def apply(call: Call) -> torch.Tensor:
    """Compute a call with the backend that is chosen for it, and return the output."""
    return checked(call, choose(call).backend).apply(call)


def again(call: Call) -> Again | None:
    """Return the chosen backend's shorter way to more calls of this kind, or None."""
    return get(choose(call).backend).again(call)
