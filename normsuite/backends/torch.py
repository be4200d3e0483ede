"""Torch's own operators, `torch.batch_norm` and the like, chosen by the name in the spec.

They are called without the Python of `torch.nn.functional` in front of them: what that checks has been checked here.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.nn import functional

from ..spec import NormSpec
from . import Again, Call, Unchecked

# Where torch's name for an argument differs from ours.
_FIELD = {"training": "use_input_stats"}

_OPTIONAL = ("weight", "bias", "running_mean", "running_var")
_GIVEN = ("input", *_OPTIONAL, "momentum", "out")
"""What an `Again` is given, in this order."""


class _Operator(NamedTuple):
    """One of torch's norms: itself, what it takes, and whether it must be told if cuDNN may be used (where that is left
    out by default, it makes no difference)."""

    compute: Callable[..., torch.Tensor]
    takes: tuple[str, ...]
    asks_for_cudnn: bool


def _operator(name: str) -> _Operator:
    """Read from its schema, so that there is no table to keep for each new norm."""
    arguments = getattr(torch.ops.aten, name).default._schema.arguments
    takes = tuple(_FIELD.get(a.name, a.name) for a in arguments if not a.name.startswith("cudnn"))
    asks = any(a.name.startswith("cudnn") and not a.has_default_value() for a in arguments)
    return _Operator(getattr(torch, name), takes, asks)


_OPERATORS = {n: _operator(n) for n in dir(functional) if n.endswith("_norm") and hasattr(torch, n)}


def why_not(call: Call) -> str | None:
    name = call.spec.torch_call
    if name not in _OPERATORS:
        return f"torch has no {call.spec.name}"
    if call.process_group is not None:
        return "torch's calls know one process; the reference backend joins them"
    for argument in _OPTIONAL:
        if getattr(call, argument) is not None and argument not in _OPERATORS[name].takes:
            return f"torch.{name} takes no {argument}"
    return None


def apply(call: Call) -> torch.Tensor:
    """What torch computes, with torch's numerics and torch's errors for types that it does not mix."""
    y = _call(call) if type(call.momentum) is float else _with_computed_momentum(call)
    if call.activation is None and call.out is None:
        return y
    return call.deliver(call.activate(y))


def _with_computed_momentum(call: Call) -> torch.Tensor:
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
    compute, takes, asks_for_cudnn = _OPERATORS[call.spec.torch_call]
    x, given = call.input, [getattr(call, name) for name in takes]
    y = compute(*given, torch.backends.cudnn.enabled) if asks_for_cudnn else compute(*given)
    return y if x.is_contiguous() else _laid_out_like(x, y)


def _laid_out_like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """LayerNorm and InstanceNorm of torch lose the channels_last layout, and the convolution behind them would have to
    make it again. Moving dimensions works under vmap too, where asking for a memory format does not."""
    if y.is_contiguous() and y.dim() > 3 and x.movedim(1, -1).is_contiguous():
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y


def _function(
    arguments: tuple[str, ...], operator: _Operator, activation: str | None, condition: str, settings: dict
) -> Callable[..., torch.Tensor | None]:
    """The operator and the activation behind it as a function of those arguments, None where the condition fails.
    Written out, since to pick by place what torch takes costs a tenth of a small norm."""
    taken = ", ".join(operator.takes)
    if operator.asks_for_cudnn:
        taken += ", input.is_cpu or cudnn.enabled"  # asking whether it is switched on costs a tenth too
    known = {"compute": operator.compute, "cudnn": torch.backends.cudnn, "Tensor": torch.Tensor, **settings}
    written = f"compute({taken})"
    if activation is not None:
        # torch.relu is torch.nn.functional's without the Python around it; not all have such a one.
        known["activate"] = getattr(torch, activation, getattr(functional, activation))
        written = f"activate({written})"
    if condition:
        written += f" if {condition} else None"
    return eval(f"lambda {', '.join(arguments)}: {written}", known)


def again(call: Call) -> Again:
    operator, condition = _OPERATORS[call.spec.torch_call], ""
    if call.spec.affine == "channel" and (given := [n for n in ("weight", "bias") if getattr(call, n) is not None]):
        # Torch looks at the sizes of all tensors, but of BatchNorm's weight and bias only counts the numbers.
        condition = " == ".join([*(f"{name}.ndim" for name in given), "1"])
    # No more of the call is kept than settings, so that its tensors can go.
    settings = {name: getattr(call, name) for name in operator.takes if name not in _GIVEN}
    computed = _function(_GIVEN, operator, call.activation, condition, settings)
    if call.out is None and call.input.is_contiguous():
        return computed

    def finished(input, weight, bias, running_mean, running_var, momentum, out):
        y = computed(input, weight, bias, running_mean, running_var, momentum, out)
        if y is None:
            return None
        return _laid_out_like(input, y) if out is None else out.copy_(y)

    return finished


def unchecked(
    spec: NormSpec, activation: str | None, below: float = math.inf, below_contiguous: float = math.inf
) -> Unchecked | None:
    """Of such norms torch looks at nearly everything itself; on the CPU in calls of fewer numbers than those, of any
    layout and of the usual one."""
    if spec.torch_call not in _OPERATORS:
        return None
    operator = _OPERATORS[spec.torch_call]
    sizes = "input.numel() < below or (input.numel() < below_contiguous and input.is_contiguous()) or not input.is_cpu"
    conditions = ["type(input) is Tensor", f"({sizes})", "eps == eps"]
    if spec.affine == "element":
        conditions.append("input.is_contiguous()")  # another layout would be lost
    else:
        conditions += [f"({name} is None or {name}.ndim == 1)" for name in ("weight", "bias")]
    conditions += [f"{name} is None" for name in _OPTIONAL if name not in operator.takes]
    # Of a norm with running statistics calls in evaluation are asked for, which moves none.
    settings = {"below": below, "below_contiguous": below_contiguous, "use_input_stats": False, "momentum": 0.0}
    arguments = ("input", "normalized_shape", *_OPTIONAL, "eps")
    return _function(arguments, operator, activation, " and ".join(conditions), settings)
