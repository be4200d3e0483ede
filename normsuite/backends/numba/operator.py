"""The kernels as functions of tensors, forward and backward, and how an application of them is prepared."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from ...spec import NormSpec, View
from ...tensors import addresses
from ...tensors.layouts import is_channels_last
from .. import _kernels
from .._kernels import (
    ROWS,
    dense,
    differentiable,
    is_per_element,
    laid_out_like,
    moments,
    move,
    registered,
    sizes_of,
    wide_of,
)
from . import launch, outputs, planning


class Settings(_kernels.Settings):
    """The settings of an application, which it needs beside its tensors; launches by (contiguous, affine, type)."""

    __slots__ = ()

    def launch(self, x: torch.Tensor, weight: torch.Tensor | None) -> launch.Launch:
        """Return the kernels for a dense tensor, with or without an affine map."""
        key = x.is_contiguous(), weight is not None, x.dtype
        found = self.launches.get(key)
        if found is None:
            contiguous, affine, dtype = key
            plan = planning.make(
                self.sizes,
                self.axes,
                channels_last=not contiguous,  # of a dense tensor: it is the one or the other
                centred=self.centred,
                affine=affine,
                per_element=self.per_element and affine,
                frozen=self.frozen,
            )
            found = launch.Launch(plan, dtype, wide_of(dtype), self.activation, self.eps)
            self.launches[key] = found
        return found


@lru_cache(maxsize=4096)
def settings(spec: NormSpec, view: View, trailing: int, frozen: bool, eps: float, activation: str | None) -> Settings:
    """Return the settings of a norm over that many trailing dimensions (0: over what its axes say), cached."""
    return Settings(
        spec.axes, spec.centred, sizes_of(view, trailing), is_per_element(spec, trailing), frozen, eps, activation
    )


def _affine(parameter: torch.Tensor | None, wide: torch.dtype) -> torch.Tensor | None:
    """Return weight or bias, contiguous and in the wide type."""
    if parameter is None or (parameter.dtype is wide and parameter.is_contiguous()):
        return parameter
    return parameter.detach().to(wide).contiguous()


def compute(
    ready: launch.Launch,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running: tuple[torch.Tensor, torch.Tensor] | None = None,
    momentum: float = 0.0,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and the statistics of a dense tensor; all tensors have been checked (`addresses`)."""
    wide = ready.wide
    into = out is not None and _is_room(out, x, weight, bias, running)
    y = out if into else outputs.like(x)
    statistics = outputs.empty((ROWS, ready.statistics), wide)
    moved = None
    if running is not None:
        plain = _plain(running[0], wide) and _plain(running[1], wide)
        if ready.frozen:
            running = running if plain else tuple(_affine(t, wide) for t in running)
        elif not (plain and ready.statistics == running[0].numel() and type(momentum) is float):
            running, moved = None, running
    if not ready.forward(x, y, statistics, _affine(weight, wide), _affine(bias, wide), running, momentum):
        moved = running
    if into:
        addresses.written(out)
    if moved is not None:
        move(moved, moments(statistics), momentum, ready.plan.count)
    return (y if into or out is None else out.copy_(y)), statistics


def _is_room(
    out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running: tuple[torch.Tensor, torch.Tensor] | None,
) -> bool:
    """Return whether the result may be written to `out` while the rest is read.

    That is memory of its own, or exactly that of the input, whose elements are read before they are overwritten.
    """
    if addresses.overlaps(out, (weight, bias, *(running or ()))):
        return False
    return addresses.is_same_memory(out, x) or not addresses.overlaps(out, (x,))


def _plain(t: torch.Tensor, wide: torch.dtype) -> bool:
    return t.dtype is wide and t.is_contiguous()


def differentiate(
    ready: launch.Launch,
    dy: torch.Tensor,
    x: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    needed: Sequence[bool],
    bias_dtype: torch.dtype | None,
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return dx, dweight and dbias of a dense tensor; `needed` says which of them are.

    The bias is read where an activation follows the norm; dbias is of `bias_dtype`.
    """
    wide, per_element = ready.wide, ready.plan.per_element
    dx = outputs.like(x) if needed[0] or per_element else None
    scale, dweight, dbias = _affine(weight, wide), None, None
    if scale is not None and (needed[1] or needed[2] or per_element):
        dweight, dbias = torch.empty_like(scale), torch.empty_like(scale)
    if dy.dtype is not x.dtype:
        dy = dy.to(x.dtype)
    statistics = statistics.contiguous()  # which a hook on saved tensors may have laid out otherwise
    ready.backward(laid_out_like(dy, x), x, statistics, scale, _affine(bias, wide), dx, dweight, dbias)
    if dweight is None:
        return dx, None, None
    if weight is not scale:
        dweight = dweight.to(weight.dtype)
    if not needed[2]:
        dbias = None
    elif bias_dtype is not wide:
        dbias = dbias.to(bias_dtype)
    return dx, dweight, dbias


KERNELS = _kernels.Kernels(ready=Settings.launch, compute=compute, differentiate=differentiate)
OPERATORS = registered.register(__package__.replace(".", "_"), KERNELS, Settings)
_recorded = differentiable.by(KERNELS)


def eager(
    s: Settings,
    spec: NormSpec,
    view: View,
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running: tuple[torch.Tensor, torch.Tensor] | None,
    momentum: float | torch.Tensor,
    out: torch.Tensor | None,
) -> torch.Tensor:
    """Return the norm of tensors that are in memory, differentiable where they ask for it."""
    x = dense(input, s)
    ready = s.launch(x, weight)
    if x is input:
        return of_dense(ready, spec, view, x, weight, bias, running, momentum, out)
    y = of_dense(ready, spec, view, x, weight, bias, running, momentum, None)
    if out is not None:
        return out.copy_(y)
    if y.dim() > 3 and is_channels_last(input):
        return laid_out_like(y, input)  # normalised in another order, and given back as it came
    return y


def of_dense(
    ready: launch.Launch,
    spec: NormSpec,
    view: View,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running: tuple[torch.Tensor, torch.Tensor] | None,
    momentum: float | torch.Tensor,
    out: torch.Tensor | None,
) -> torch.Tensor:
    """Return the norm of a dense tensor, by kernels that are found already.

    It is differentiable where a tensor asks for a gradient.
    """
    if torch.is_grad_enabled() and (
        x.requires_grad or (weight is not None and weight.requires_grad) or (bias is not None and bias.requires_grad)
    ):
        return _recorded(ready, spec, view, x, weight, bias, running, momentum)
    return compute(ready, x, weight, bias, running, momentum, out)[0]
