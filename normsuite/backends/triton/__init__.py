"""Compiled kernels for accelerators: statistics, norm and activation in one pass, forward and backward, in Triton.

Corrected two-pass statistics, as in `reference`; of a statistic that does not fit into registers, deviations from the
mean of a first tile, merged in float64. Results have the same bits in every run. With TRITON_INTERPRET=1 in
the environment they compute on the CPU, element by element, which is for tests only.
"""

import os

import torch

from .. import Again, Call, kernel_weight
from .._kernels import registered, routes
from . import operator

ACTIVATIONS = (None, "relu", "silu")
"""Activations in the kernels; another is torch's, after the norm."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = ("cpu", "meta") if INTERPRETED else ("cuda", "xpu", "meta")


def why_not(call: Call) -> str | None:
    """Return the reason why the kernels cannot compute a call, or None if they can."""
    if call.input.dtype not in DTYPES:
        return f"has no kernel for {call.input.dtype}"
    if call.input.device.type not in DEVICES:
        return f"computes on an accelerator, not on {call.input.device.type}"
    for name in routes.PARAMETERS:
        if (given := getattr(call, name)) is not None and given.dtype not in DTYPES:
            return f"has no kernel for a {name} of {given.dtype}"
    return routes.why_not(call)


def apply(call: Call) -> torch.Tensor:
    """Return the norm, computed by kernels where they can (`Routes.apply`)."""
    return _ROUTES.apply(call)


def again(call: Call) -> Again | None:
    """Return a shorter way to `apply` for calls like this one, or None where the kernels do not compute it directly.

    The settings of the kernels are looked up once, here, instead of in every call.
    """
    if not _ROUTES.is_direct(call):
        return None
    spec, view, settings = call.spec, call.view, _settings(call)

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        running = None if running_mean is None else (running_mean, running_var)
        return operator.eager(settings, spec, view, input, kernel_weight(weight, bias), bias, running, momentum, out)

    return Again(compute, routes.fits(call))


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


_ROUTES = routes.Routes(ACTIVATIONS, _computed, _traced)
