"""Torch's own calls, `torch.nn.functional.*_norm`, chosen by the name in the spec."""

import inspect
from dataclasses import replace

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

_OPTIONAL = ("weight", "bias", "running_mean", "running_var")


def why_not(call: Call) -> str | None:
    name = call.spec.torch_call
    if name not in _ARGUMENTS:
        return f"torch.nn.functional has no {call.spec.name}"
    if call.process_group is not None:
        return "torch's calls know one process; the reference backend joins them"
    for argument in _OPTIONAL:
        if getattr(call, argument) is not None and argument not in _ARGUMENTS[name]:
            return f"torch.nn.functional.{name} takes no {argument}"
    return None


def apply(call: Call) -> torch.Tensor:
    """What torch computes, with torch's numerics and torch's errors for types that it does not mix."""
    return call.deliver(call.activate(_normalize(call)))


def _normalize(call: Call) -> torch.Tensor:
    if not isinstance(call.momentum, torch.Tensor):
        return _call(call)
    if call.running_mean is None or not call.use_input_stats or not call.input.numel():
        return _call(replace(call, momentum=0.0))
    # Torch wants a number, and reading one from a tensor breaks a compiled graph. With a weight of 1 the running
    # statistics become those of the batch, which then move ours.
    mean, var = torch.zeros_like(call.running_mean), torch.zeros_like(call.running_var)
    y = _call(replace(call, running_mean=mean, running_var=var, momentum=1.0))
    with torch.no_grad():
        call.running_mean.lerp_(mean, call.momentum.to(mean.dtype))
        call.running_var.lerp_(var, call.momentum.to(var.dtype))
    return y


def _call(call: Call) -> torch.Tensor:
    name = call.spec.torch_call
    y = getattr(F, name)(*[getattr(call, _FIELD.get(argument, argument)) for argument in _ARGUMENTS[name]])
    # LayerNorm and InstanceNorm of torch lose the channels_last layout, and the convolution behind them would have to
    # make it again. Moving dimensions works under vmap too, where asking for a memory format does not.
    if y.dim() > 3 and not call.input.is_contiguous() and call.input.movedim(1, -1).is_contiguous():
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y
