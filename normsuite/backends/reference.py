"""The formula, once, in plain torch operations: any norm, any device.

Slow, and differentiable in every way that torch's own operations are. The statistics take two passes and a correction
(Chan, Golub and LeVeque 1983): the plain mean m of numbers that lie far from zero is off by up to half a unit of its
last place, which is many units of a small deviation; the mean δ of x − m says by how much.
"""

import torch

from ..errors import ShapeError
from ..tensors import addresses
from ..tensors.distributed import sum_over_processes
from . import Call, saved_weight, update, why_not_saved

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def why_not(call: Call) -> str | None:
    """Return the reason why plain torch operations cannot compute a call, or None if they can."""
    if not call.input.is_floating_point():
        return f"needs a floating-point input, not {call.input.dtype}"
    if call.input.dtype not in TYPES:
        return f"computes {', '.join(map(str, TYPES))}, not {call.input.dtype}"
    if call.input.is_nested:
        return "knows no nested tensors"
    if (reason := why_not_saved(call, "weight")) is not None:
        return reason
    if call.process_group is not None and not (call.spec.centred and "batch" in call.spec.axes):
        return f"{call.spec.name} has no statistics of the batch to join"
    return None


def apply(call: Call) -> torch.Tensor:
    """Return y = ((x − m) − δ) / √(var + eps) · weight + bias, with m = Σx/n, δ = Σ(x − m)/n, var = Σ(x − m)²/n − δ².

    Computed in float32 or wider and rounded once to the type of the input.
    """
    view = call.view
    wide = torch.promote_types(call.input.dtype, torch.float32)
    # Splits one dimension: a view, in whatever order the elements lie. -1: traces fit other batches.
    has_numbers = 0 not in view.shape
    samples = -1 if has_numbers else view.shape[0]
    x, moved = call.input.reshape((samples, *view.shape[1:])).to(wide), None
    if not call.use_input_stats:
        centred = x - call.running_mean.to(wide).reshape(view.affine_shape)
        var = call.running_var.to(wide).reshape(view.affine_shape)
    elif has_numbers or call.process_group is not None:
        centred, mean, var, n = _joined_statistics(x, call) if call.process_group else _statistics(x, call)
        moved = None if call.running_mean is None else (mean, var, n)
        if moved is not None and "batch" in call.spec.axes:
            _update_running(call, *moved)
            moved = None
    else:  # nothing to average: what comes out is as empty as what came in
        centred, var = x, torch.ones_like(x)
    # Divided by the root, not multiplied by rsqrt: the gradient of rsqrt takes its third power, which leaves float32's
    # range for deviations of 1e13 and 1e-13.
    y = centred / torch.sqrt(var + call.eps)
    if (weight := saved_weight(call.spec, call.weight)) is not None:
        y = y * weight.to(wide).reshape(view.affine_shape)
    if call.bias is not None:
        y = y + call.bias.to(wide).reshape(view.affine_shape)
    if y.requires_grad and not torch.compiler.is_compiling() and not addresses.observed():
        is_read = not call.spec.centred and not call.input.is_inference()
        y = _Checked.apply(y, call.input if is_read else None, weight)
    if moved is not None:  # behind what is saved for the backward pass, as `moves_last` says
        _update_running(call, *moved)
    return call.deliver(call.activate(y).to(call.input.dtype).reshape(call.input.shape))


class _Checked(torch.autograd.Function):
    """Return y, and refuse the backward pass where storage that it reads was freed.

    Torch's operations would end the process. The input is read only where no mean is subtracted, since the difference
    is a tensor of its own.
    """

    @staticmethod
    def forward(ctx, y, input, weight):
        ctx.save_for_backward(input, weight)
        ctx.mark_dirty(y)  # not a view, which the next operation could not change in place
        return y

    @staticmethod
    def backward(ctx, dy):
        input, weight = ctx.saved_tensors
        if not addresses.observed():
            addresses.refuse_gone(dy=dy, input=input, weight=weight)
        return dy, None, None


def again(call: Call) -> None:
    """Return None: the reference is not optimised, and checks every call in full."""


def _statistics(x: torch.Tensor, call: Call):
    """Return x less its mean, the mean, the biased variance, and how many elements were averaged."""
    dims, n = call.view.dims, call.view.count
    if not call.spec.centred:
        return x, x.new_zeros(()), (x * x).mean(dims, keepdim=True), n
    mean = x.mean(dims, keepdim=True)
    deviation = x - mean
    delta = deviation.mean(dims, keepdim=True)
    var = (deviation * deviation).mean(dims, keepdim=True) - delta * delta
    return deviation - delta, mean + delta, var, n


def _joined_statistics(x: torch.Tensor, call: Call):
    """Return the same as `_statistics` over the batches of all processes together, of which some may be empty.

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
    """Set running ← (1 − momentum) · running + momentum · new, with the unbiased variance, as torch does.

    A norm with statistics per sample (InstanceNorm) contributes their average over the batch.
    """
    if not torch.compiler.is_compiling() and addresses.observed() and is_moved_by_torch(call):
        move_by_torch(call)
        return
    for running, new in ((call.running_mean, mean), (call.running_var, var * (n / (n - 1)))):
        update(running, new.mean(0), call.momentum)


def is_moved_by_torch(call: Call) -> bool:
    """Return whether torch has a call that moves these running statistics."""
    return (
        call.spec.torch_call in ("batch_norm", "instance_norm")
        and call.process_group is None
        and call.running_mean.dtype is call.running_var.dtype
    )


@torch.no_grad()
def move_by_torch(call: Call) -> None:
    """Update the running statistics by torch's own call, whose result is dropped.

    Transforms allow a change of captured tensors to that alone, and a trace of other operations, which knows of no
    `no_grad`, would leave statistics that ask for a gradient.
    """
    mean, var, momentum = call.running_mean, call.running_var, call.momentum
    if isinstance(momentum, torch.Tensor):  # torch wants a number: those of the batch alone, which then move ours
        mean, var = torch.zeros_like(mean), torch.zeros_like(var)
    by_torch, x = getattr(torch, call.spec.torch_call), call.input.detach().to(mean.dtype)
    by_torch(x, None, None, mean, var, True, 1.0 if mean is not call.running_mean else momentum, call.eps, False)
    if isinstance(momentum, torch.Tensor):
        update(call.running_mean, mean, momentum)
        update(call.running_var, var, momentum)
