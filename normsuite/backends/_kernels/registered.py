"""Kernels as registered operators of torch: for torch.compile, dispatch modes, and others that do not run them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from ...spec import NormSpec, View
from ...tensors import addresses
from ...tensors.layouts import in_channels_last, is_channels_last
from .. import Call, kernel_weight, moves_last, reference, saved_weight
from . import ROWS, Kernels, Settings, dense, formula, is_per_element, moments, move, sizes_of, wide_of


class Operators(NamedTuple):
    """The two operators of a backend.

    Attributes:
        forward: y and statistics; running statistics are read where given, and never updated.
        backward: dx, dweight and dbias; an absent parameter's gradient is empty.
    """

    forward: Callable[..., tuple[torch.Tensor, ...]]
    backward: Callable[..., tuple[torch.Tensor, ...]]


def register(namespace: str, kernels: Kernels, settings_of: type[Settings]) -> Operators:
    """Make operators of these kernels, under a namespace: a package's name, so that one process can have two copies."""

    def settings(axes, centred, sizes, per_element, frozen, eps, activation) -> Settings:
        return settings_of(frozenset(axes.split()), centred, tuple(sizes), per_element, frozen, eps, activation)

    known = lru_cache(maxsize=4096)(settings)  # where sizes are numbers: while torch traces they may be symbols

    def ready(x, weight, axes, centred, sizes, per_element, frozen, eps, activation) -> tuple[torch.Tensor, Any]:
        s = known(axes, centred, tuple(sizes), per_element, frozen, eps, activation)
        x = dense(x, s)
        return x, kernels.ready(s, x, weight)

    forward = _forward(namespace, kernels, settings, ready)
    backward = _backward(namespace, kernels, settings, ready)

    def keep(ctx, inputs, output):
        x, weight, bias, running_mean, _, *given = inputs
        axes, centred, sizes, per_element, eps, activation = given
        # Only an activation's derivative asks for the bias, which may be stepped between two backward passes.
        ctx.save_for_backward(x, weight, None if activation is None else bias, output[1])
        ctx.bias = bias if activation is None else None
        ctx.settings = (axes, centred, sizes, per_element, running_mean is not None, eps, activation)
        ctx.set_materialize_grads(False)

    def pull(ctx, dy, _):
        if dy is None:
            return (None,) * 11
        x, weight, shift, statistics = ctx.saved_tensors
        bias = ctx.bias if shift is None else shift
        if torch.is_grad_enabled():  # a derivative of this derivative will be asked for
            apply = _formula(kernels, statistics, settings(*ctx.settings))
            return (*formula.gradients(apply, (x, weight, bias), ctx.needs_input_grad[:3], dy), *(None,) * 8)
        dx, dweight, dbias = backward(dy, x, statistics, weight, bias, *ctx.settings)
        return dx, None if weight is None else dweight, None if bias is None else dbias, *(None,) * 8

    forward.register_autograd(pull, setup_context=keep)
    return Operators(forward, backward)


def _formula(kernels: Kernels, statistics: torch.Tensor, s: Settings) -> Callable[..., torch.Tensor]:
    """Return the same norm by torch's own operations, as a function of input, weight and bias."""
    spec = NormSpec("", "one", s.axes, "channel", True, "never", None, "", s.centred)
    _, groups, channels, places = s.sizes
    dims = tuple(dim for dim, axis in ((0, "batch"), (2, "group"), (3, "spatial")) if axis in s.axes)
    view = View(s.sizes, dims, (1, groups, channels, places if s.per_element else 1))
    mean, var = moments(statistics) if s.frozen else (None, None)

    def apply(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
        call = Call(spec, view, x, weight, bias, mean, var, not s.frozen, eps=s.eps, activation=s.activation)
        return reference.apply(call)

    return apply


def _forward(namespace: str, kernels: Kernels, settings: Callable[..., Settings], ready: Callable[..., Any]) -> Any:
    @torch.library.custom_op(f"{namespace}::normalize", mutates_args=())
    def forward(
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        axes: str,
        centred: bool,
        sizes: Sequence[int],
        per_element: bool,
        eps: float,
        activation: str | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frozen = running_mean is not None
        x, found = ready(x, weight, axes, centred, sizes, per_element, frozen, eps, activation)
        addresses.demand_on(
            x.device, input=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var
        )
        return kernels.compute(found, x, weight, bias, (running_mean, running_var) if frozen else None, 0.0)

    @forward.register_fake
    def _(x, weight, bias, running_mean, running_var, axes, centred, sizes, per_element, eps, activation):
        s = settings(axes, centred, sizes, per_element, running_mean is not None, eps, activation)
        statistics = x.new_empty((ROWS, s.statistics), dtype=wide_of(x.dtype))
        return torch.empty_like(dense(x, s)), statistics

    return forward


def _backward(namespace: str, kernels: Kernels, settings: Callable[..., Settings], ready: Callable[..., Any]) -> Any:
    @torch.library.custom_op(f"{namespace}::normalize_backward", mutates_args=())
    def backward(
        dy: torch.Tensor,
        x: torch.Tensor,
        statistics: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        axes: str,
        centred: bool,
        sizes: Sequence[int],
        per_element: bool,
        frozen: bool,
        eps: float,
        activation: str | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, found = ready(x, weight, axes, centred, sizes, per_element, frozen, eps, activation)
        addresses.demand_on(x.device, input=x, dy=dy, statistics=statistics, weight=weight, bias=bias)
        needs = (True, weight is not None, bias is not None)
        of_bias = None if bias is None else bias.dtype
        dx, dweight, dbias = kernels.differentiate(found, dy, x, statistics, weight, bias, needs, of_bias)
        none = [x.new_empty(0) for parameter in (weight, bias) if parameter is None]
        return dx, none.pop() if weight is None else dweight, none.pop() if bias is None else dbias

    @backward.register_fake
    def _(dy, x, statistics, weight, bias, axes, centred, sizes, per_element, frozen, eps, activation):
        s = settings(axes, centred, sizes, per_element, frozen, eps, activation)
        parameters = (x.new_empty(0) if t is None else t.new_empty(t.shape) for t in (weight, bias))
        return torch.empty_like(dense(x, s)), *parameters

    return backward


def apply(call: Call, operators: Operators, kernels: Kernels) -> torch.Tensor:
    """Compute the call by its registered operator, which torch's tracers and modes record as one operation."""
    trailing, x = call.trailing, call.input
    if (trailing and not is_per_element(call.spec, trailing)) or not x.numel():
        return reference.apply(call)
    weight = saved_weight(call.spec, kernel_weight(call.weight, call.bias))
    running: Any = None if call.running_mean is None else (call.running_mean, call.running_var)
    sizes, per_element = sizes_of(call.view, trailing), is_per_element(call.spec, trailing)
    given = (None, None) if call.use_input_stats or running is None else running
    transposed = call.strided and not is_channels_last(x)
    if transposed:
        x = in_channels_last(x)
    axes = " ".join(sorted(call.spec.axes))
    moving = running is not None and call.use_input_stats
    by_torch = moving and not torch.compiler.is_compiling() and reference.is_moved_by_torch(call)
    last = moves_last(call.spec, call.activation)
    if by_torch and not last:
        reference.move_by_torch(call)
    y, statistics = operators.forward(
        x, weight, call.bias, *given, axes, call.spec.centred, sizes, per_element, call.eps, call.activation
    )
    if by_torch and last:
        reference.move_by_torch(call)
    elif moving and not by_torch:
        move(running, moments(statistics.detach()), call.momentum, call.view.count)
    return call.deliver(y.contiguous() if transposed else y)
