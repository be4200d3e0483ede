"""Torch's own calls, `torch.nn.functional.*_norm`, chosen by the name in the spec."""

import inspect

import torch
import torch.nn.functional as F

from . import Call

# Which arguments each of torch's norms takes, read once from its signature: no table to keep for each new norm.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(getattr(F, name)).parameters)
    for name in dir(F)
    if name.endswith("_norm") and not name.startswith("_")
}

# Where torch's name for an argument differs from ours.
_FIELD = {"training": "use_input_stats"}


def why_not(call: Call) -> str | None:
    if call.spec.torch_call is None:
        return f"torch.nn.functional has no {call.spec.name}"
    return None


def apply(call: Call) -> torch.Tensor:
    """What torch computes, with torch's numerics and torch's errors for types that it does not mix."""
    name = call.spec.torch_call
    return getattr(F, name)(*(getattr(call, _FIELD.get(argument, argument)) for argument in _ARGUMENTS[name]))
