"""Compiled kernels for the CPU: statistics, norm and activation in one pass, forward and backward, in Numba.

Corrected two-pass statistics, as in `reference`; results do not depend on the number of threads.
"""

from dataclasses import replace

import torch

from ...spec import NormSpec
from .. import Again, Call, reference
from . import elements, operator


def why_not(call: Call) -> str | None:
    if call.input.dtype not in elements.STORED:
        return f"has no kernel for {call.input.dtype}"
    if call.input.device.type not in ("cpu", "meta"):
        return f"computes on the CPU, not on {call.input.device.type}"
    for name in ("weight", "bias", "running_mean", "running_var"):
        if (given := getattr(call, name)) is not None and given.device != call.input.device:
            return f"reads the memory behind {name}, which lies on {given.device} and the input on {call.input.device}"
    if call.process_group is not None:
        return "knows one process; the reference backend joins them"
    return None


def apply(call: Call) -> torch.Tensor:
    """The formula of `reference`, in kernels.

    Where torch looks at operations instead of running them, or differentiates in other ways than backward, what it sees
    is an operator of ours (torch.compile) or the formula in torch's own operations (torch.export, whose result is to
    run where this package is not; vmap, forward mode).
    """
    tracing = torch.compiler.is_compiling()
    if (tracing and torch.compiler.is_exporting()) or (not tracing and _transformed()) or not call.input.numel():
        return reference.apply(call)
    trailing = _trailing(call)
    if trailing and not operator.is_per_element(call.spec, trailing):
        return reference.apply(call)  # a weight for each number, and means over some of them: nobody has such a norm
    if _strided(call):
        last = call.input.movedim(1, -1)
        if not last.is_contiguous():
            turned = replace(call, input=last.contiguous().movedim(-1, 1), out=None)
            return call.deliver(_computed(turned, trailing, tracing).contiguous())
    return _computed(call, trailing, tracing)


def again(call: Call) -> Again | None:
    trailing = _trailing(call)
    if not call.input.numel() or _strided(call) or (trailing and not operator.is_per_element(call.spec, trailing)):
        return None
    spec, view, settings = call.spec, call.view, _settings(call, trailing)
    dtype, shape, shape_may_differ = call.input.dtype, call.input.shape, spec.affine == "element"
    parameter = call.weight if call.bias is None else call.bias
    affine_shape = None if parameter is None else parameter.shape
    channels = None if call.running_mean is None else call.running_mean.shape
    compute, found = operator.eager, settings
    if call.input.is_contiguous():
        compute, found = operator.of_dense, settings.launch(call.input, parameter)

    def computed(input, weight, bias, running_mean, running_var, momentum, out):
        if input.dtype is not dtype or not input.is_cpu or (shape_may_differ and input.shape != shape):
            return None
        if _transformed() or _watched(input):
            return None
        if weight is None:
            weight = _scale(weight, bias)
        elif weight.shape != affine_shape:
            return None
        if bias is not None and bias.shape != affine_shape:
            return None
        running = None
        if running_mean is not None:
            running = running_mean, running_var
            if running_mean.shape != channels or running_var.shape != channels:
                return None
        return compute(found, spec, view, input, weight, bias, running, momentum, out)

    return computed


def unchecked(spec: NormSpec, activation: str | None) -> None:
    """Nothing: a kernel reads whatever lies where it is sent."""


def _trailing(call: Call) -> int:
    """Over how many trailing dimensions; 0 for a norm over what its axes say."""
    return len(call.normalized_shape) if call.normalized_shape is not None else 0


def _strided(call: Call) -> bool:
    """Whether what is averaged over has to lie together, or one after the other in equal steps, and may not."""
    return call.normalized_shape is None and "spatial" not in call.spec.axes and call.use_input_stats


def _scale(weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor | None:
    """A weight where there is a bias: the kernels know none without it."""
    return torch.ones_like(bias) if weight is None and bias is not None else weight


def _settings(call: Call, trailing: int) -> operator.Settings:
    return operator.settings(call.spec, call.view, trailing, not call.use_input_stats, call.eps, call.activation)


def _computed(call: Call, trailing: int, tracing: bool) -> torch.Tensor:
    weight = _scale(call.weight, call.bias)
    running = None if call.running_mean is None else (call.running_mean, call.running_var)
    if not tracing and type(call.input) in (torch.Tensor, torch.nn.Parameter) and not _watched(call.input):
        settings = _settings(call, trailing)
        return operator.eager(
            settings, call.spec, call.view, call.input, weight, call.bias, running, call.momentum, call.out
        )
    sizes, per_element = operator.sizes_of(call.view, trailing), operator.is_per_element(call.spec, trailing)
    given = (None, None) if call.use_input_stats or running is None else running
    axes = " ".join(sorted(call.spec.axes))
    y, statistics = operator.traced(
        call.input, weight, call.bias, *given, axes, call.spec.centred, sizes, per_element, call.eps, call.activation
    )
    if running is not None and call.use_input_stats:
        operator.move(running, statistics.detach(), call.momentum, call.view.count)
    return call.deliver(y)


def _transformed() -> bool:
    """Whether a transform of torch.func or forward mode is under way."""
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0


def _watched(x: torch.Tensor) -> bool:
    """Whether somebody wants to see each operation, such as a fake tensor mode, or there are no numbers at all."""
    return torch._C._len_torch_dispatch_stack() > 0 or x.is_meta
