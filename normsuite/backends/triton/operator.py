"""The kernels as functions of tensors, forward and backward, and how an application of them is prepared."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch

from ...spec import NormSpec, View
from ...tensors import addresses
from ...tensors.layouts import in_channels_last, is_channels_last
from .. import _kernels
from .._kernels import ROWS, dense, differentiable, is_per_element, laid_out_like, moments, move, registered, sizes_of
from . import geometry, tiles
from .launch import Launch


class Settings(_kernels.Settings):
    """The settings of an application beside its tensors; launches by (channels_last, affine, element size, device)."""

    __slots__ = ()

    def launch(self, x: torch.Tensor, *, affine: bool) -> Launch:
        """Return how a dense tensor is normalised, with or without an affine map."""
        key = not x.is_contiguous(), affine, x.element_size(), x.device
        found = self.launches.get(key)
        if found is None:
            found = Launch(
                self.geometry(channels_last=key[0], affine=affine),
                self.centred,
                self.activation,
                self.frozen,
                self.eps,
                x.element_size(),
                tiles.multiprocessors(x.device),
                tiles.family_of(x.device),
            )
            self.launches[key] = found
        return found

    def geometry(self, *, channels_last: bool, affine: bool) -> geometry.Geometry:
        """Return how this norm sees a dense tensor."""
        n, g, k, s = self.sizes
        sizes, axes = self.sizes, self.axes
        if self.frozen:  # a statistic for each channel
            sizes, axes = (n, g * k, 1, s), frozenset({"batch", "spatial"})
        return geometry.make(
            sizes, axes, channels_last=channels_last, per_element=self.per_element and affine, affine=affine
        )

    @property
    def by_channel(self) -> bool:
        """Return whether there is one statistic for each channel, which a kernel can add to the running ones."""
        return not self.frozen and self.axes == {"batch", "spatial"}


@lru_cache(maxsize=4096)
def settings(spec: NormSpec, view: View, trailing: int, frozen: bool, eps: float, activation: str | None) -> Settings:
    """Return the settings of a norm over so many trailing dimensions (0: over what its axes say)."""
    sizes, per_element = sizes_of(view, trailing), is_per_element(spec, trailing)
    return Settings(spec.axes, spec.centred, sizes, per_element, frozen, eps, activation)


def _ordered(parameter: torch.Tensor | None, x: torch.Tensor, s: Settings) -> torch.Tensor | None:
    """Return the parameter as the kernels read it: dense, in the order of the tensor's elements."""
    if parameter is None:
        return None
    if s.per_element and not x.is_contiguous():
        parameter = parameter.detach().movedim(0, -1)
    return parameter if parameter.is_contiguous() else parameter.detach().contiguous()


def _restored(gradient: torch.Tensor | None, parameter: torch.Tensor, x: torch.Tensor, s: Settings):
    """Return a parameter's gradient in the parameter's shape."""
    if gradient is None:
        return None
    if s.per_element and not x.is_contiguous():
        return gradient.view(parameter.movedim(0, -1).shape).movedim(-1, 0).contiguous()
    return gradient


def compute(
    s: Settings,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running: tuple[torch.Tensor, torch.Tensor] | None,
    momentum: float | torch.Tensor,
    out: torch.Tensor | None = None,
    *,
    save: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return y and, where they are to be saved, the statistics (4, number).

    These are m, its correction, rstd and the biased variance.
    """
    launch = s.launch(x, affine=weight is not None)
    into = out is not None and not addresses.overlaps(out, (x, weight, bias, *(running or ())))
    y = out if into else torch.empty_like(x)
    # Moved by the kernel where it can, else by torch's operations.
    plain = running is not None and all(t.is_contiguous() for t in running)
    inside = plain and (
        s.frozen or (s.by_channel and type(momentum) is float and not _share_memory(running, x, weight, bias))
    )
    given = running if inside else tuple(t.contiguous() for t in running) if running and s.frozen else None
    moved = running is not None and not s.frozen and not inside
    statistics = None
    if save or moved:
        statistics = x.new_empty((ROWS, launch.statistics), dtype=torch.float32)
    with _on_device_of(x):
        launch.forward(
            x, y, statistics, _ordered(weight, x, s), _ordered(bias, x, s), given,
            momentum if inside and not s.frozen else 0.0,
        )  # fmt: skip
    if moved:
        move(running, moments(statistics), momentum, launch.geometry.count)
    elif running is not None and not s.frozen:
        addresses.written(*running)
    if into:
        addresses.written(out)
    return (y if into or out is None else out.copy_(y)), statistics


def _share_memory(
    running: tuple[torch.Tensor, torch.Tensor], x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> bool:
    """Return whether running statistics overlap each other or what the kernel reads after it has moved them."""
    mean, var = running
    return addresses.overlaps(mean, (var, x, weight, bias)) or addresses.overlaps(var, (x, weight, bias))


_HERE = nullcontext()
_several = lru_cache(lambda: torch.accelerator.device_count() > 1)


def _on_device_of(x: torch.Tensor) -> AbstractContextManager:
    """Return a block in which kernels are queued on the tensor's device, where another one is current."""
    if x.device.type == "cpu" or not _several() or x.device.index == torch.accelerator.current_device_index():
        return _HERE
    return torch.accelerator.device_index(x.device.index)


def differentiate(
    s: Settings,
    dy: torch.Tensor,
    x: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    needs: Sequence[bool],
    bias_dtype: torch.dtype | None,
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return dx, dweight and dbias of a dense tensor, those that are needed.

    The bias is read where an activation follows the norm; dbias is of `bias_dtype`.
    """
    launch = s.launch(x, affine=weight is not None)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = dbias = None
    if weight is not None and (needs[1] or needs[2]):
        dweight = torch.empty_like(weight, memory_format=torch.contiguous_format)
        dbias = torch.empty_like(dweight, dtype=bias_dtype) if needs[2] else None
    if dy.dtype is not x.dtype:
        dy = dy.to(x.dtype)
    statistics = statistics.contiguous()  # which a hook on saved tensors may have laid out otherwise
    with _on_device_of(x):
        launch.backward(
            laid_out_like(dy, x), x, statistics, _ordered(weight, x, s), _ordered(bias, x, s), dx, dweight, dbias
        )
    if weight is None:
        return dx, None, None
    return dx, _restored(dweight, weight, x, s), _restored(dbias, weight, x, s)


def _ready(s: Settings, x: torch.Tensor, weight: torch.Tensor | None) -> Settings:
    return s


KERNELS = _kernels.Kernels(ready=_ready, compute=compute, differentiate=differentiate)
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
    """Return the norm of tensors that are there, differentiable where they ask for it."""
    x = dense(input, s)
    recorded = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if recorded:
        y = _recorded(s, spec, view, x, weight, bias, running, momentum)
    else:
        y, _ = compute(s, x, weight, bias, running, momentum, out if x is input else None, save=False)
        if x is input:
            return y
    if x is not input and y.dim() > 3 and is_channels_last(input):
        y = in_channels_last(y)  # normalised in another order, and given back as it came
    return y if out is None else out.copy_(y)
