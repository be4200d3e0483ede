"""Kernels as a function that autograd differentiates: what is saved and refused, and derivatives of derivatives."""

from collections.abc import Callable
from typing import Any

import torch

from ...spec import NormSpec, View
from ...tensors import addresses
from ...tensors.guards import NO_BIAS, NO_WEIGHT
from .. import Call, moves_last, reference, repeats_weight, saved_weight, with_value
from . import ROWS, Alike, Given, Kernels, formula, moments, move, wide_of

_MOST_KINDS = 4
"""Kinds of backward passes whose guards are kept for one kind of forward pass: of an incoming gradient that lies in
order or is one number repeated, of an input that asks for a gradient or does not."""

Running = tuple[torch.Tensor, torch.Tensor] | None


def by(kernels: Kernels) -> Callable[..., torch.Tensor]:
    """Return a function that computes a norm by these kernels, and that autograd differentiates."""
    function = _function(kernels)

    def apply(
        ready: Any,
        spec: NormSpec,
        view: View,
        x: torch.Tensor,
        weight: Given,
        bias: Given,
        running: Running,
        momentum: float | torch.Tensor,
    ) -> torch.Tensor:
        """Return the norm of a dense tensor, of which autograd keeps what its backward pass needs."""
        if weight is not None and not weight.is_leaf:  # a leaf is copied without a node of its own
            weight = saved_weight(spec, weight)
        if running is None or ready.frozen or not moves_last(spec, ready.activation):
            return function.apply(x, weight, bias, (ready, running, momentum, spec, view, None))
        seen: list[torch.Tensor] = []
        y = function.apply(x, weight, bias, (ready, None, momentum, spec, view, seen))
        move(running, moments(seen.pop()), momentum, view.count)
        return y

    return apply


def _function(kernels: Kernels) -> type[torch.autograd.Function]:
    class Normalize(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias, how):
            ready, running, momentum, spec, _, seen = how
            y, statistics = kernels.compute(ready, x, weight, bias, running, momentum)
            if seen is not None:
                seen.append(statistics)
            # Only an activation's derivative asks for the bias: a copy of it, since torch's own calls do not save it
            # and a bias may be stepped between two backward passes.
            shift = None if bias is None or ready.activation is None else bias.detach().clone()
            kept = weight.clone() if weight is not None and weight.is_leaf and repeats_weight(spec) else weight
            ctx.save_for_backward(x, kept, shift, statistics)
            of_weight = (None, None) if weight is None else (weight.shape, weight.dtype)
            ctx.how, ctx.seen = how, (x.shape, x.stride(), x.dtype, *of_weight)
            ctx.weight, ctx.bias = None if kept is weight else weight, bias
            return y

        @staticmethod
        def backward(ctx, dy):
            x, weight, shift, statistics = ctx.saved_tensors
            ready, bias = ctx.how[0], ctx.bias
            further = torch.is_grad_enabled()  # a derivative of this derivative will be asked for
            if further or not _are_as_before(ready.alike, dy, x, weight, shift, statistics):
                refuse_changed(ctx, x, weight, shift, statistics)
                # dy may stand for many gradients in one, or be of another kind.
                if further or addresses.observed() or not addresses.is_memory_of(dy, x.device):
                    return (*_by_formula(ctx, kernels, dy, x, weight, shift, statistics), None)
                addresses.demand_on(x.device, input=x, weight=weight, bias=shift, statistics=statistics)
                shape, strides, *_ = ctx.seen
                if x.stride() != strides:
                    x = torch.empty_strided(shape, strides, dtype=x.dtype, device=x.device).copy_(x)
                else:
                    known = Alike.to(*_guarded(dy, x, weight, shift, statistics))
                    ready.alike = (known, *ready.alike[: _MOST_KINDS - 1])
            needs = ctx.needs_input_grad
            of_bias = None if bias is None else bias.dtype
            dx, dweight, dbias = kernels.differentiate(ready, dy, x, statistics, weight, shift, needs[:3], of_bias)
            return (dx if needs[0] else None, dweight if needs[1] else None, dbias if needs[2] else None, None)

    def refuse_changed(ctx, x, weight, shift, statistics):
        """Raise StorageError for the first saved tensor of another shape or type than in the forward pass."""
        shape, _, dtype, *of_weight = ctx.seen
        addresses.refuse_changed("input", x, shape, dtype)
        if weight is not None:
            addresses.refuse_changed("weight", weight, *of_weight)
        addresses.refuse_changed("statistics", statistics, (ROWS, ctx.how[0].statistics), wide_of(dtype))
        if shift is not None:
            addresses.refuse_changed("bias", shift, ctx.bias.shape, ctx.bias.dtype)

    return Normalize


def _guarded(
    dy: torch.Tensor, x: torch.Tensor, weight: Given, shift: Given, statistics: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return what guards compare: the tensors, with stand-ins for those that are not given."""
    return dy, x, NO_WEIGHT if weight is None else weight, NO_BIAS if shift is None else shift, statistics


def _are_as_before(
    alike: tuple[Alike, ...],
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: Given,
    shift: Given,
    statistics: torch.Tensor,
) -> bool:
    """Return whether kernels may read these tensors: they have guards of an earlier backward pass, checked in full."""
    guarded = _guarded(dy, x, weight, shift, statistics)
    for known in alike:
        if known.guards(*guarded):
            return not (addresses.has_tangents() or addresses.watched()) and known.are_stored(*guarded)
    return False


def _by_formula(
    ctx: Any, kernels: Kernels, dy: torch.Tensor, x: torch.Tensor, weight: Given, shift: Given, statistics: torch.Tensor
) -> list[Given]:
    """Return the gradients by torch's own operations, which can be differentiated again, batched and traced."""
    ready, _, _, spec, view, _ = ctx.how
    kept = weight

    def apply(x: torch.Tensor, weight: Given, bias: Given) -> torch.Tensor:
        if weight is not None and ctx.weight is not None:
            weight = with_value(kept, weight)
        if bias is not None:
            bias = with_value(shift, bias)
        # As they were: a training step may have moved the running ones since.
        mean, var = moments(statistics) if ready.frozen else (None, None)
        return reference.apply(
            Call(spec, view, x, weight, bias, mean, var, not ready.frozen, eps=ready.eps, activation=ready.activation)
        )

    sources = (x, weight if ctx.weight is None else ctx.weight, ctx.bias)
    return formula.gradients(apply, sources, ctx.needs_input_grad[:3], dy)
