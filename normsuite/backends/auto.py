"""The fastest backend for a call, by what was measured: `auto.toml` says at which sizes the kernels win.

The table is made by `python -m normsuite.bench.crossover`, which measures torch and the kernels side by side, one part
for each kind of vector instructions that torch tells apart, since its own kernels differ by them.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import zip_longest
from typing import NamedTuple

import torch

from .. import accelerators
from . import Again, Call, checked, get, why_not_loaded

KERNELS = "numba"
FEW_PLACES = 128
"""A channels_last tensor of fewer places is one with few of them: what is done once a sample then takes its time."""

_TORCH, _ = get("torch"), get("reference")  # loaded now, since torch.compile traces no imports


class Choice(NamedTuple):
    """A backend, and why it."""

    backend: str
    reason: str


Table = dict[str, dict[str, dict[str, list]]]


@cache
def tables() -> dict[str, Table]:
    """What was measured, by the vector instructions of the processor, as torch names them."""
    return tomllib.loads((resources.files(__package__) / "auto.toml").read_text(encoding="utf-8"))


@cache
def table() -> Table:
    """For each norm and layout (`layout`): "lengths" of numbers that lie side by side, and for each mode and length the
    sizes at which another becomes faster, torch's call (below the first), the kernels (from there on), torch's call
    again and so on. Modes are forward, step and evaluation, the first and the last also into an output that exists, and
    each with an activation behind it. On a kind of processor that nobody measured, the kernels have the sizes at which
    they are faster on all that were."""
    measured = tables()
    own = measured.get(torch.backends.cpu.get_cpu_capability())
    return own if own is not None else _common(list(measured.values()))


def _common(values: list):
    if isinstance(values[0], dict):
        common = [key for key in values[0] if all(key in value for value in values)]
        return {key: _common([value[key] for value in values]) for key in common}
    if isinstance(values[0], list) and values[0] and isinstance(values[0][0], list):
        return [_everywhere(each) for each in zip(*values, strict=True)]
    return [max(each) for each in zip(*values, strict=True)]


def _everywhere(changes: Sequence[list[int]]) -> list[int]:
    """The changes where the kernels are chosen only if all of those choose them."""
    found: list[int] = []
    for size in sorted(set().union(*changes)):
        if all(is_faster(size, each) for each in changes) != len(found) % 2:
            found.append(size)
    return found


def is_faster(numbers: int, changes: Sequence[int]) -> bool:
    """Whether so many numbers are the kernels', by the sizes at which that changes."""
    return bisect_right(changes, numbers) % 2 == 1


def changes(call: Call) -> Sequence[int]:
    """The sizes at which another becomes faster for calls like this one: always the kernels for a norm that nobody
    measured, and always torch for a mode that nobody did."""
    of_norm = table().get(call.spec.name)
    if of_norm is None:
        return (0,)
    name, length = layout(call)
    entry = of_norm[name]
    place = bisect_right(entry["lengths"], length) - 1
    mode = "step" if call.differentiated else "forward" if call.use_input_stats else "evaluation"
    if call.out is not None:
        mode += "_into"  # torch's calls cannot write there: what they make is copied
    if call.activation is not None:
        mode += "_activated"
    found = entry.get(mode) or entry.get(mode.replace("_into", ""))
    return found[max(place, 0)] if found else ()


def layout(call: Call) -> tuple[str, int]:
    """How a tensor lies, as the table tells it apart, and how many of its numbers side by side.

    contiguous; row, all of it one row of a norm over trailing sizes, which torch leaves to one thread; channels_last,
    and channels_last_few, of few places.
    """
    x, view = call.input, call.view
    # A tensor that is neither contiguous nor channels_last is copied by both.
    channels_last = x.dim() > 2 and not x.is_contiguous()
    if call.spec.affine == "element" and not channels_last:
        return "row" if view.count == x.numel() else "contiguous", view.count
    places = x.numel() // max(1, x.shape[0] * x.shape[1])
    if channels_last:
        return "channels_last_few" if places < FEW_PLACES else "channels_last", x.shape[1]
    return "contiguous", places


def choose(call: Call) -> Choice:
    """Which backend computes this call, and why."""
    why_not_torch = _TORCH.why_not(call)
    if torch.compiler.is_compiling():
        fused = "torch.compile fuses torch's own operations"
        return Choice("torch", fused) if why_not_torch is None else Choice("reference", f"{why_not_torch}; {fused}")
    x = call.input
    if why_not_torch is None and (x.is_nested or torch.jit.is_tracing()):
        return Choice("torch", "nested tensors and traces are torch's own operations")
    if not x.numel():
        return Choice("reference", "no numbers; torch's call would make the running statistics NaN")
    on_accelerator = x.device.type not in ("cpu", "meta")
    kernels = accelerators.KERNELS if on_accelerator else KERNELS
    if why_not_torch is None and x.device.type == "cpu":
        sizes = changes(call)
        if not is_faster(x.numel(), sizes):
            return Choice("torch", f"{x.numel()} numbers; the kernels are faster {_in_words(sizes)}")
    why_not_kernels = why_not_loaded(kernels) or get(kernels).why_not(call)
    if why_not_kernels is None and why_not_torch is None and on_accelerator:
        slower = accelerators.why_not(call)
        if slower is not None:
            return Choice("torch", slower)
    if why_not_kernels is None:
        return Choice(kernels, why_not_torch or f"{x.numel()} numbers, of which the kernels are faster")
    if why_not_torch is None:
        return Choice("torch", f"{kernels} {why_not_kernels}")
    return Choice("reference", f"{why_not_torch}; {kernels} {why_not_kernels}")


def _in_words(sizes: Sequence[int]) -> str:
    ranges = [
        f"from {begin} on" if end is None else f"from {begin} to {end - 1}"
        for begin, end in zip_longest(sizes[::2], sizes[1::2])
    ]
    return " and ".join(ranges) or "at no size that was measured"


def why_not(call: Call) -> str | None:
    """What the backend that is chosen says: if none can, the reference has the last word."""
    chosen = choose(call).backend
    return get(chosen).why_not(call)


def apply(call: Call) -> torch.Tensor:
    return checked(call, choose(call).backend).apply(call)


def again(call: Call) -> Again | None:
    return get(choose(call).backend).again(call)
