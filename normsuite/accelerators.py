"""From which size on the triton kernels are faster than torch's calls, for the devices on which that was measured.

`accelerators.toml` is made of a bench's records by `tools/accelerator_table.py`. On a device that is not in it nothing
is known, and torch computes.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .backends import Call

KERNELS = "triton"
NEVER = -1
"""What stands in the table for a mode in which torch is faster at the largest size that was measured."""

_ALIGNMENT = 16
"""Bytes of a vector: rows of another multiple are read number by number."""

Table = dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]


@cache
def table() -> Table:
    """Return the bytes of the input, by model, norm, layout, type and mode."""
    return tomllib.loads((resources.files(__package__) / "accelerators.toml").read_text(encoding="utf-8"))


@cache
def model(device: torch.device) -> str:
    """Return the accelerator's model, as the table has it."""
    return torch.get_device_module(device).get_device_name(device)


def layout(call: "Call") -> str:
    """Return how a tensor lies, as the table tells it apart: "channels_last", "unaligned" (rows that do not begin at
    whole vectors) or "contiguous"."""
    x = call.input
    if not x.is_contiguous():
        return "channels_last"
    rows = x.shape[-1] if call.spec.affine == "element" else x.shape[2:].numel()
    return "unaligned" if rows * x.element_size() % _ALIGNMENT else "contiguous"


def mode(call: "Call") -> str:
    """Return "step" where a backward pass may follow, else "forward" or "evaluation"."""
    return "step" if call.differentiated else "forward" if call.use_input_stats else "evaluation"


def why_not(call: "Call") -> str | None:
    """Return the reason why torch's call is the better choice on the call's accelerator, or None if it is not."""
    of_model = table().get(model(call.input.device))
    if of_model is None:
        return f"nobody has measured the kernels on {model(call.input.device)}"
    dtype = str(call.input.dtype).removeprefix("torch.")
    entry = of_model.get(call.spec.name, {}).get(layout(call), {}).get(dtype, {})
    least = entry.get(mode(call), NEVER)
    if least == NEVER:
        return f"the kernels were not measured to be faster for {layout(call)} {dtype} in {mode(call)}"
    size = call.input.nbytes
    return f"{size} bytes; the kernels are faster from {least} on" if size < least else None
