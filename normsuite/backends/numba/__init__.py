"""Compiled kernels for the CPU: statistics, norm and activation in one pass, forward and backward, in Numba.

Corrected two-pass statistics, as in `reference`; results do not depend on the number of threads.
"""

import torch

from .. import Again, Call, kernel_weight
from .._kernels import registered, routes
from . import elements, operator, threads
from .activations import CODES


def why_not(call: Call) -> str | None:
    """Return the reason why there is no kernel for the call, or None."""
    if call.input.dtype not in elements.STORED:
        return f"has no kernel for {call.input.dtype}"
    if call.input.device.type not in ("cpu", "meta"):
        return f"computes on the CPU, not on {call.input.device.type}"
    return routes.why_not(call)


def why_slow() -> str | None:
    """Return the reason why the kernels use fewer threads than torch, or None."""
    return threads.why_serial() if torch.get_num_threads() > 1 else None


def apply(call: Call) -> torch.Tensor:
    """Return the norm, computed by kernels where they can (`Routes.apply`)."""
    return _ROUTES.apply(call)


def again(call: Call) -> Again | None:
    """Return a shorter way to `apply` for calls like this one, or None where the kernels do not compute it directly.

    Kernels, plan and settings are looked up once, here, instead of in every call.
    """
    if not _ROUTES.is_direct(call):
        return None
    spec, view, settings = call.spec, call.view, _settings(call)
    parameter = call.weight if call.bias is None else call.bias
    launch, apply = None, operator.eager
    if operator.dense(call.input, settings) is call.input:
        launch, apply = settings.launch(call.input, parameter), operator.of_dense
    found = settings if launch is None else launch

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        running = None if running_mean is None else (running_mean, running_var)
        return apply(found, spec, view, input, kernel_weight(weight, bias), bias, running, momentum, out)

    return Again(compute, routes.fits(call))


def _traced(call: Call) -> torch.Tensor:
    return registered.apply(call, operator.OPERATORS, operator.KERNELS)


def _settings(call: Call) -> operator.Settings:
    return operator.settings(call.spec, call.view, call.trailing, not call.use_input_stats, call.eps, call.activation)


def _computed(call: Call) -> torch.Tensor:
    running = None if call.running_mean is None else (call.running_mean, call.running_var)
    settings, weight = _settings(call), kernel_weight(call.weight, call.bias)
    return operator.eager(
        settings, call.spec, call.view, call.input, weight, call.bias, running, call.momentum, call.out
    )


_ROUTES = routes.Routes(CODES, _computed, _traced)
