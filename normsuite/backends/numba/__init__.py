"""Compiled kernels for the CPU: statistics, norm and activation in one pass, forward and backward, in Numba.

Corrected two-pass statistics, as in `reference`; results do not depend on the number of threads.
"""

from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ... import addresses
from .. import Again, Call, kernel_weight, reference
from .. import torch as theirs
from .._kernels import is_per_element, registered
from . import elements, operator
from .activations import CODES

_PARAMETERS = ("weight", "bias", "running_mean", "running_var")


_FAKE = addresses.EXACT | {FakeTensor}
"""Classes whose tensors a registered operator may be asked for: what is looked at, and what looks."""


def why_not(call: Call) -> str | None:
    """Return the reason why there is no kernel for the call, or None."""
    if call.input.dtype not in elements.STORED:
        return f"has no kernel for {call.input.dtype}"
    if call.input.device.type not in ("cpu", "meta"):
        return f"computes on the CPU, not on {call.input.device.type}"
    for name in _PARAMETERS:
        if (given := getattr(call, name)) is not None and given.device != call.input.device:
            return f"reads the memory behind {name}, which lies on {given.device} and the input on {call.input.device}"
    if call.process_group is not None:
        return "knows one process; the reference backend joins them"
    return theirs.why_not(call) if call.input.is_nested else None


def apply(call: Call) -> torch.Tensor:
    """Return the norm by the formula of `reference`, computed by kernels.

    Where torch looks at operations instead of running them, or differentiates in other ways than backward, what it sees
    is an operator of ours (torch.compile, dispatch modes) or torch's own operations (torch.export and torch.jit.trace,
    whose results are to run where this package is not; vmap, forward mode). Tensors that are no memory of the CPU give
    way to these too.
    """
    trailing = call.trailing
    if call.activation not in CODES:
        return call.deliver(call.activate(apply(replace(call, activation=None, out=None))))
    if torch.compiler.is_compiling():
        return _traced(call) if not torch.compiler.is_exporting() else reference.apply(call)
    if call.input.is_nested or addresses.transformed() or not call.input.numel():
        return theirs.in_operations(call)
    if trailing and not is_per_element(call.spec, trailing):
        return reference.apply(call)  # a weight for each number, and means over some of them: no kernel has that
    given = [t for t in (call.input, *(getattr(call, name) for name in _PARAMETERS)) if t is not None]
    if addresses.watched() or any(t.is_meta for t in given):
        return _traced(call) if all(type(t) in _FAKE for t in given) else reference.apply(call)
    if not all(map(addresses.is_memory, given)):
        return theirs.in_operations(call)
    if call.strided and not call.input.movedim(1, -1).is_contiguous():
        transposed = replace(call, input=call.input.movedim(1, -1).contiguous().movedim(-1, 1), out=None)
        return call.deliver(_computed(transposed, trailing).contiguous())
    return _computed(call, trailing)


def again(call: Call) -> Again | None:
    """Return a shorter way to `apply` for calls like this one, or None where the kernels do not compute it directly.

    Kernels, plan and settings are looked up once, here, instead of in every call.
    """
    trailing = call.trailing
    if call.activation not in CODES or not call.input.numel() or call.strided:
        return None
    if trailing and not is_per_element(call.spec, trailing):
        return None
    spec, view, settings = call.spec, call.view, _settings(call, trailing)
    parameter = call.weight if call.bias is None else call.bias
    launch, apply = None, operator.eager
    if call.input.is_contiguous():
        launch, apply = settings.launch(call.input, parameter), operator.of_dense
    found = settings if launch is None else launch
    is_memory, observed = addresses.is_memory, addresses.observed

    def fits(input, weight, bias, running_mean, running_var, out):
        return (
            not observed()
            and is_memory(input)
            and (weight is None or is_memory(weight))
            and (bias is None or is_memory(bias))
            and (running_mean is None or (is_memory(running_mean) and is_memory(running_var)))
            and (out is None or is_memory(out))
        )

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        running = None if running_mean is None else (running_mean, running_var)
        return apply(found, spec, view, input, kernel_weight(weight, bias), bias, running, momentum, out)

    return Again(compute, fits)


def _traced(call: Call) -> torch.Tensor:
    return registered.apply(call, operator.OPERATORS, operator.KERNELS)


def _settings(call: Call, trailing: int) -> operator.Settings:
    return operator.settings(call.spec, call.view, trailing, not call.use_input_stats, call.eps, call.activation)


def _computed(call: Call, trailing: int) -> torch.Tensor:
    running = None if call.running_mean is None else (call.running_mean, call.running_var)
    settings, weight = _settings(call, trailing), kernel_weight(call.weight, call.bias)
    return operator.eager(
        settings, call.spec, call.view, call.input, weight, call.bias, running, call.momentum, call.out
    )
