"""Compiled kernels for accelerators: statistics, norm and activation in one pass, forward and backward, in Triton.

Corrected two-pass statistics, as in `reference`; results have the same bits in every run. With TRITON_INTERPRET=1 in
the environment they compute on the CPU, element by element, which is for tests only.
"""

import os
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ... import addresses
from .. import Again, Call, kernel_weight, reference
from .. import torch as theirs
from .._kernels import is_per_element, registered
from . import operator

ACTIVATIONS = (None, "relu", "silu")
"""In the kernels; another is torch's, behind the norm."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = ("cpu", "meta") if INTERPRETED else ("cuda", "xpu", "meta")

_PARAMETERS = ("weight", "bias", "running_mean", "running_var")
_FAKE = addresses.EXACT | {FakeTensor}


def why_not(call: Call) -> str | None:
    """Return the reason why the kernels cannot compute a call, or None if they can."""
    if call.input.dtype not in DTYPES:
        return f"has no kernel for {call.input.dtype}"
    if call.input.device.type not in DEVICES:
        return f"computes on an accelerator, not on {call.input.device.type}"
    for name in _PARAMETERS:
        if (given := getattr(call, name)) is not None:
            if given.device != call.input.device:
                return f"reads the memory behind {name}, which lies on {given.device}, not on {call.input.device}"
            if given.dtype not in DTYPES:
                return f"has no kernel for a {name} of {given.dtype}"
    if call.process_group is not None:
        return "knows one process; the reference backend joins them"
    return theirs.why_not(call) if call.input.is_nested else None


def apply(call: Call) -> torch.Tensor:
    """Compute the formula of `reference` in kernels, or in operations where torch traces or transforms them."""
    if call.activation not in ACTIVATIONS:
        return call.deliver(call.activate(apply(replace(call, activation=None, out=None))))
    if torch.compiler.is_compiling():
        return _traced(call) if not torch.compiler.is_exporting() else reference.apply(call)
    if call.input.is_nested or addresses.transformed() or not call.input.numel():
        return theirs.in_operations(call)
    if not _has_kernel(call):
        return reference.apply(call)
    given = [t for t in (call.input, *(getattr(call, name) for name in _PARAMETERS), call.out) if t is not None]
    if addresses.watched() or call.input.is_meta:
        return _traced(call) if all(type(t) in _FAKE for t in given) else reference.apply(call)
    if not all(addresses.is_memory_of(t, call.input.device) for t in given):
        addresses.refuse_gone(input=call.input, **{name: getattr(call, name) for name in _PARAMETERS}, out=call.out)
        return theirs.in_operations(call)
    if call.strided and not call.input.movedim(1, -1).is_contiguous():
        transposed = replace(call, input=call.input.movedim(1, -1).contiguous().movedim(-1, 1), out=None)
        return call.deliver(_computed(transposed).contiguous())
    return _computed(call)


def again(call: Call) -> Again | None:
    """Return a shorter way to `apply` for calls like this one, or None where the kernels do not compute it directly.

    The settings of the kernels are looked up once, here, instead of in every call.
    """
    if call.activation not in ACTIVATIONS:
        return None
    if not call.input.numel() or call.strided or not _has_kernel(call) or call.input.device.type == "meta":
        return None
    spec, view, settings, device = call.spec, call.view, _settings(call), call.input.device
    is_memory, observed = addresses.is_memory_of, addresses.observed

    def fits(*tensors):
        return not observed() and all(t is None or is_memory(t, device) for t in tensors)

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        running = None if running_mean is None else (running_mean, running_var)
        return operator.eager(settings, spec, view, input, kernel_weight(weight, bias), bias, running, momentum, out)

    return Again(compute, fits)


def _has_kernel(call: Call) -> bool:
    """Return whether a weight for each element comes with means over all of those, as in every norm that there is."""
    trailing = call.trailing
    return not trailing or is_per_element(call.spec, trailing)


def _settings(call: Call) -> operator.Settings:
    return operator.settings(call.spec, call.view, call.trailing, not call.use_input_stats, call.eps, call.activation)


def _computed(call: Call) -> torch.Tensor:
    running = None if call.running_mean is None else (call.running_mean, call.running_var)
    return operator.eager(
        _settings(call), call.spec, call.view, call.input, kernel_weight(call.weight, call.bias), call.bias, running,
        call.momentum, call.out,
    )  # fmt: skip


def _traced(call: Call) -> torch.Tensor:
    return registered.apply(call, operator.OPERATORS, operator.KERNELS)
