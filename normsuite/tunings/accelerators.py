"""Sizes from which on the triton kernels are faster than torch's calls, for the devices on which that was measured.

`accelerators.toml` is made of a bench's records by `tools/accelerator_table.py`. On a device that is not in it nothing
is known, and torch computes.
"""

import math
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import torch

from ..spec import NormSpec, View
from ..tensors.layouts import is_channels_last

if TYPE_CHECKING:
    from ..backends import Call

KERNELS = "triton"
NEVER = -1
"""What stands in the table for a mode in which torch is faster at the largest size that was measured."""

FEW = 64
"""Statistics of which there are few, for devices of a hundred multiprocessors."""

_ALIGNMENT = 16
"""Bytes of a vector: rows of another multiple are read number by number."""

Table = dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]


@cache
def table() -> Table:
    """Return the bytes of the input, by model, norm, layout, type and mode."""
    return tomllib.loads((resources.files(__package__) / "accelerators.toml").read_text(encoding="utf-8"))


@cache
def model(device: torch.device) -> str:
    """Return the accelerator's model, as the table has it; of a fake tensor's device there may be none here."""
    there = torch.get_device_module(device)
    is_here = there.is_available() and (device.index or 0) < there.device_count()
    return there.get_device_name(device) if is_here else f"a {device.type} device that is not here"


def layout_of(spec: NormSpec, view: View, shape: Sequence[int], itemsize: int, *, contiguous: bool) -> str:
    """Return the layout of a tensor, as the table names it.

    "channels_last"; "few", with so few statistics that torch, which computes each in one program, leaves most of the
    device idle; "unaligned", with rows that do not begin at whole vectors; or "contiguous".
    """
    if not contiguous:
        return "channels_last"
    if spec.affine == "element" and math.prod(shape) < FEW * view.count:
        return "few"
    row = view.count if spec.affine == "element" else math.prod(shape[2:])
    return "unaligned" if row * itemsize % _ALIGNMENT else "contiguous"


def layout(call: "Call") -> str:
    """Return `layout_of` the call's input, or "strided" for one that the kernels copy first, which nobody measured."""
    x = call.input
    channels_last = x.dim() > 2 and is_channels_last(x) and call.trailing in (0, x.dim() - 1)
    if not x.is_contiguous() and not channels_last:
        return "strided"
    return layout_of(call.spec, call.view, x.shape, x.element_size(), contiguous=x.is_contiguous())


def modes(call: "Call") -> tuple[str, ...]:
    """Return the modes in all of which the kernels have to be faster.

    They are "step" where a backward pass may follow, and else "forward"; by running statistics "evaluation", and "step"
    too where a backward pass may follow.
    """
    if not call.use_input_stats:
        return ("evaluation", "step") if call.differentiated else ("evaluation",)
    return ("step",) if call.differentiated else ("forward",)


def why_not(call: "Call") -> str | None:
    """Return the reason why torch's call is the better choice on the call's accelerator, or None if it is not."""
    of_model = table().get(model(call.input.device))
    if of_model is None:
        return f"nobody has measured the kernels on {model(call.input.device)}"
    dtype = str(call.input.dtype).removeprefix("torch.")
    entry = of_model.get(call.spec.name, {}).get(layout(call), {}).get(dtype, {})
    of_modes = [entry.get(mode, NEVER) for mode in modes(call)]
    if NEVER in of_modes:
        return f"the kernels were not measured to be faster for {layout(call)} {dtype} in {' and '.join(modes(call))}"
    size, least = call.input.nbytes, max(of_modes)
    return f"{size} bytes; the kernels are faster from {least} on" if size < least else None
