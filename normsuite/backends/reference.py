"""The formula, once, in plain torch operations: any norm, any floating-point type, any device.

Slow, and differentiable in every way that torch's own operations are. The statistics take two passes and a correction
(Chan, Golub and LeVeque 1983): the plain mean m of numbers that lie far from zero is off by up to half a unit of its
last place, which is many units of a small deviation; the mean δ of x − m says by how much.
"""

import torch

from . import Call


def why_not(call: Call) -> str | None:
    if not call.input.is_floating_point():
        return f"needs a floating-point input, not {call.input.dtype}"
    return None


def apply(call: Call) -> torch.Tensor:
    """y = ((x − m) − δ) / √(var + eps) · weight + bias, with m = Σx/n, δ = Σ(x − m)/n, var = Σ(x − m)²/n − δ².

    Computed in float32 or wider and rounded once to the type of the input.
    """
    view = call.view
    wide = torch.promote_types(call.input.dtype, torch.float32)
    x = call.input.reshape(view.shape).to(wide)  # splits one dimension: a view, in whatever order the elements lie
    if call.use_input_stats and call.input.numel():
        centred, mean, var = _statistics(x, call)
        if call.running_mean is not None:
            _update_running(call, mean, var)
    elif call.use_input_stats:
        centred, var = x, torch.ones_like(x)  # nothing to average: what comes out is as empty as what came in
    else:
        centred = x - call.running_mean.to(wide).reshape(view.affine_shape)
        var = call.running_var.to(wide).reshape(view.affine_shape)
    y = centred * torch.rsqrt(var + call.eps)
    if call.weight is not None:
        y = y * call.weight.to(wide).reshape(view.affine_shape)
    if call.bias is not None:
        y = y + call.bias.to(wide).reshape(view.affine_shape)
    return y.to(call.input.dtype).reshape(call.input.shape)


def _statistics(x: torch.Tensor, call: Call) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x less its mean, the mean, and the biased variance, over the dimensions of the view."""
    dims = call.view.dims
    if not call.spec.centred:
        return x, x.new_zeros(()), (x * x).mean(dims, keepdim=True)
    mean = x.mean(dims, keepdim=True)
    deviation = x - mean
    delta = deviation.mean(dims, keepdim=True)
    var = (deviation * deviation).mean(dims, keepdim=True) - delta * delta
    return deviation - delta, mean + delta, var


@torch.no_grad()
def _update_running(call: Call, mean: torch.Tensor, var: torch.Tensor) -> None:
    """running ← (1 − momentum) · running + momentum · new, with the unbiased variance, as torch has it.

    A norm with statistics per sample (InstanceNorm) contributes their average over the batch.
    """
    n, momentum = call.view.count, call.momentum
    for running, new in ((call.running_mean, mean), (call.running_var, var * (n / (n - 1)))):
        weight = momentum.to(running.dtype) if isinstance(momentum, torch.Tensor) else momentum
        running.lerp_(new.mean(0).reshape(running.shape).to(running.dtype), weight)
