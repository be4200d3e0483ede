"""The kernels as registered operators of torch: for torch.compile, dispatch modes, and others that do not run them."""

from collections.abc import Sequence

import torch

from ... import addresses
from .operator import Settings, compute, dense, differentiate, wide_of

NAMESPACE = __package__.replace(".", "_")
"""The package's own name, so that two copies of it can live in one process."""


@torch.library.custom_op(f"{NAMESPACE}::normalize", mutates_args=())
def traced(
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
    """Return y and statistics by `compute`, as an operator; running statistics are read where given, and never
    updated."""
    frozen = running_mean is not None
    s = Settings(frozenset(axes.split()), centred, tuple(sizes), per_element, frozen, eps, activation)
    x = dense(x, s)
    addresses.demand(input=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    return compute(s.launch(x, weight), x, weight, bias, (running_mean, running_var) if frozen else None)


@traced.register_fake
def _(x, weight, bias, running_mean, running_var, axes, centred, sizes, per_element, eps, activation):
    s = Settings(frozenset(axes.split()), centred, tuple(sizes), per_element, running_mean is not None, eps, activation)
    return _dense_like(x, s), x.new_empty((4, s.statistics), dtype=wide_of(x.dtype))


def _dense_like(x: torch.Tensor, s: Settings) -> torch.Tensor:
    return torch.empty_like(dense(x, s))


@torch.library.custom_op(f"{NAMESPACE}::normalize_backward", mutates_args=())
def traced_backward(
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
    """Return the gradients by `differentiate` as an operator; an absent parameter's gradient is empty."""
    s = Settings(frozenset(axes.split()), centred, tuple(sizes), per_element, frozen, eps, activation)
    x = dense(x, s)
    addresses.demand(input=x, dy=dy, statistics=statistics, weight=weight, bias=bias)
    dx, dweight, dbias = differentiate(s.launch(x, weight), dy, x, statistics, weight, bias, (True, True, True))
    return dx, x.new_empty(0) if weight is None else dweight, x.new_empty(0) if bias is None else dbias.to(bias.dtype)


@traced_backward.register_fake
def _(dy, x, statistics, weight, bias, axes, centred, sizes, per_element, frozen, eps, activation):
    s = Settings(frozenset(axes.split()), centred, tuple(sizes), per_element, frozen, eps, activation)
    parameters = (x.new_empty(0) if t is None else t.new_empty(t.shape) for t in (weight, bias))
    return _dense_like(x, s), *parameters


def _keep(ctx, inputs, output):
    x, weight, bias, running_mean, _, axes, centred, sizes, per_element, eps, activation = inputs
    ctx.save_for_backward(x, weight, bias, output[1])
    ctx.settings = (axes, centred, sizes, per_element, running_mean is not None, eps, activation)
    ctx.set_materialize_grads(False)


def _pull(ctx, dy, _):
    if dy is None:
        return (None,) * 11
    x, weight, bias, statistics = ctx.saved_tensors
    dx, dweight, dbias = traced_backward(dy, x, statistics, weight, bias, *ctx.settings)
    return (
        dx,
        None if weight is None else dweight,
        None if bias is None else dbias,
        *(None,) * 8,
    )


traced.register_autograd(_pull, setup_context=_keep)
