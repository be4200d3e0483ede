"""The formula, once, in plain torch operations: any norm, any floating-point type, any device.

Slow, and differentiable in every way that torch's own operations are. The statistics take two passes and a correction
(Chan, Golub and LeVeque 1983): the plain mean m of numbers that lie far from zero is off by up to half a unit of its
last place, which is many units of a small deviation; the mean δ of x − m says by how much.
"""

import torch

from ..distributed import sum_over_processes
from ..errors import ShapeError
from . import Call


def why_not(call: Call) -> str | None:
    if not call.input.is_floating_point():
        return f"needs a floating-point input, not {call.input.dtype}"
    if call.input.is_nested:
        return "knows no nested tensors"
    if call.process_group is not None and not (call.spec.centred and "batch" in call.spec.axes):
        return f"{call.spec.name} has no statistics of the batch to join"
    return None


def apply(call: Call) -> torch.Tensor:
    """y = ((x − m) − δ) / √(var + eps) · weight + bias, with m = Σx/n, δ = Σ(x − m)/n, var = Σ(x − m)²/n − δ².

    Computed in float32 or wider and rounded once to the type of the input.
    """
    view = call.view
    wide = torch.promote_types(call.input.dtype, torch.float32)
    # Splits one dimension: a view, in whatever order the elements lie. How many samples is left open to who records.
    has_numbers = 0 not in view.shape
    statistics: tuple = ()
    samples = -1 if has_numbers else view.shape[0]
    x = call.input.reshape((samples, *view.shape[1:])).to(wide)
    if not call.use_input_stats:
        centred = x - call.running_mean.to(wide).reshape(view.affine_shape)
        var = call.running_var.to(wide).reshape(view.affine_shape)
    elif has_numbers or call.process_group is not None:
        centred, mean, var, n = _joined_statistics(x, call) if call.process_group else _statistics(x, call)
        statistics = mean, var, n
        if not call.spec.is_of_samples:
            _update_running(call, *statistics)
    else:  # nothing to average: what comes out is as empty as what came in
        centred, var = x, torch.ones_like(x)
    # Divided by the root, not multiplied by rsqrt: the gradient of rsqrt takes its third power, which leaves float32's
    # range for deviations of 1e13 and 1e-13.
    y = centred / torch.sqrt(var + call.eps)
    if call.weight is not None:
        y = y * call.weight.to(wide).reshape(view.affine_shape)
    if call.bias is not None:
        y = y + call.bias.to(wide).reshape(view.affine_shape)
    y = call.activate(y)
    if statistics and call.spec.is_of_samples:
        _update_running(call, *statistics)
    return call.deliver(y.to(call.input.dtype).reshape(call.input.shape))


def again(call: Call) -> None:
    """Nothing: slow on purpose, it is asked in full each time."""


def _statistics(x: torch.Tensor, call: Call):
    """x less its mean, the mean, the biased variance, and how many numbers were averaged."""
    dims, n = call.view.dims, call.view.count
    if not call.spec.centred:
        return x, x.new_zeros(()), (x * x).mean(dims, keepdim=True), n
    mean = x.mean(dims, keepdim=True)
    deviation = x - mean
    delta = deviation.mean(dims, keepdim=True)
    var = (deviation * deviation).mean(dims, keepdim=True) - delta * delta
    return deviation - delta, mean + delta, var, n


def _joined_statistics(x: torch.Tensor, call: Call):
    """The same over the joined batches of all processes, of which some may be empty.

    From each process's (n, mean, M2) as Chan, Golub and LeVeque combine them: mean = Σ nᵢ·meanᵢ / Σ nᵢ, then M2 about
    that mean. The means travel in float64, so that large ones keep their digits.
    """
    dims, n = call.view.dims, call.view.count
    mean = x.sum(dims, keepdim=True) / max(n, 1)
    deviation = x - mean
    delta = deviation.sum(dims, keepdim=True) / max(n, 1)
    own = mean.double() + delta.double()
    sums = sum_over_processes(torch.cat([own.new_full((1,), n), (own * n).flatten()]), call.process_group)
    total = sums[0].detach()
    if total <= 1:
        raise ShapeError("input.shape", tuple(call.input.shape), "expected more than 1 value per channel when training")
    joined = (sums[1:] / total).reshape(own.shape)
    centred = (deviation - delta) + (own - joined).to(x.dtype)
    squares = sum_over_processes((centred * centred).sum(dims, keepdim=True), call.process_group)
    return centred, joined.to(x.dtype), squares / total.to(x.dtype), total.to(x.dtype)


@torch.no_grad()
def _update_running(call: Call, mean: torch.Tensor, var: torch.Tensor, n: int | torch.Tensor) -> None:
    """running ← (1 − momentum) · running + momentum · new, with the unbiased variance, as torch has it.

    A norm with statistics per sample (InstanceNorm) contributes their average over the batch.
    """
    momentum = call.momentum
    if call.running_mean is None:
        return
    for running, new in ((call.running_mean, mean), (call.running_var, var * (n / (n - 1)))):
        weight = momentum.to(running.dtype) if isinstance(momentum, torch.Tensor) else momentum
        running.lerp_(new.mean(0).reshape(running.shape).to(running.dtype), weight)
