"""The kernels as one operation of torch: a light autograd function for eager code, and a registered operator for
torch's tracers, which cannot look into a kernel."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from ... import addresses
from ...spec import NormSpec, View
from .. import Call, moves_last, reference, saved_weight
from ..numba.operator import dense, is_per_element, sizes_of
from . import geometry, tiles
from .launch import Launch, multiprocessors

NAMESPACE = __package__.replace(".", "_")
"""Of the registered operators: the package's own name, so that two copies of it can live in one process."""


@dataclass(slots=True, eq=False)
class Settings:
    """What an application needs beside its tensors.

    Attributes:
        axes, centred: of the norm.
        sizes: (N, G, K, S), the spatial sizes in one.
        per_element: a weight for each number that is averaged, as they lie in the tensor.
        frozen: normalised by the running statistics.
        eps, activation: of the norm.
        launches: those that were needed, by (channels_last, affine, bytes of an element, device).
    """

    axes: frozenset[str]
    centred: bool
    sizes: tuple[int, int, int, int]
    per_element: bool
    frozen: bool
    eps: float
    activation: str | None
    launches: dict[tuple, Launch] = field(default_factory=dict)

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
                multiprocessors(x.device),
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
        """Whether there is one statistic for each channel, which a kernel can add to the running ones."""
        return not self.frozen and self.axes == {"batch", "spatial"}


@lru_cache(maxsize=4096)
def settings(spec: NormSpec, view: View, trailing: int, frozen: bool, eps: float, activation: str | None) -> Settings:
    """Return the settings of a norm over so many trailing dimensions (0: over what its axes say)."""
    sizes, per_element = sizes_of(view, trailing), is_per_element(spec, trailing)
    return Settings(spec.axes, spec.centred, sizes, per_element, frozen, eps, activation)


def laid_out_like(given: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the numbers in the order in which those of x, a dense tensor, lie."""
    if x.is_contiguous():
        return given.contiguous()
    return given.movedim(1, -1).contiguous().movedim(-1, 1)


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
    out: torch.Tensor | None,
    *,
    save: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return y and, where they are to be saved, the statistics (3, number): m, its correction, rstd."""
    launch = s.launch(x, affine=weight is not None)
    into = out is not None and not addresses.overlaps(out, (x, weight, bias, *(running or ())))
    y = out if into else torch.empty_like(x)
    # Moved by the kernel where it can, else by torch's operations.
    plain = running is not None and all(t.is_contiguous() for t in running)
    inside = plain and (s.frozen or (s.by_channel and type(momentum) is float))
    given = running if inside else tuple(t.contiguous() for t in running) if running and s.frozen else None
    moved = running is not None and not s.frozen and not inside
    statistics = None
    if save or moved:
        statistics = x.new_empty((3, launch.statistics), dtype=torch.float32)
    with _on_device_of(x):
        launch.forward(
            x, y, statistics, _ordered(weight, x, s), _ordered(bias, x, s), given,
            momentum if inside and not s.frozen else 0.0,
        )  # fmt: skip
    if moved:
        move(running, statistics, momentum, launch.geometry.count, s.eps)
    elif running is not None and not s.frozen:
        addresses.written(*running)
    if into:
        addresses.written(out)
    return (y if into or out is None else out.copy_(y)), statistics


_HERE = nullcontext()
_several = lru_cache(lambda: torch.accelerator.device_count() > 1)


def _on_device_of(x: torch.Tensor) -> AbstractContextManager:
    """Return a block in which kernels are queued on the tensor's device, where another one is current."""
    if x.device.type == "cpu" or not _several() or x.device.index == torch.accelerator.current_device_index():
        return _HERE
    return torch.accelerator.device_index(x.device.index)


@torch.no_grad()
def move(
    running: tuple[torch.Tensor, torch.Tensor],
    statistics: torch.Tensor,
    momentum: float | torch.Tensor,
    n: int,
    eps: float,
) -> None:
    """Update the running statistics by those of the input, averaged over the batch, with the unbiased variance of n."""
    m, delta, rstd = statistics
    var = (rstd.double().square().reciprocal() - eps).clamp_min(0)
    for old, new in zip(running, (m + delta, var * (n / max(n - 1, 1))), strict=True):
        weight = momentum.to(old.dtype) if isinstance(momentum, torch.Tensor) else momentum
        old.lerp_(new.reshape(-1, old.numel()).mean(0).to(old.dtype), weight)


def differentiate(
    s: Settings,
    dy: torch.Tensor,
    x: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    needs: Sequence[bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return dx, dweight and dbias of a dense tensor, those that are needed; the bias is read where an activation
    follows."""
    launch = s.launch(x, affine=weight is not None)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = dbias = None
    if weight is not None and (needs[1] or needs[2]):
        dweight = torch.empty_like(weight, memory_format=torch.contiguous_format)
        dbias = torch.empty_like(dweight) if needs[2] else None
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


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, how):
        s, running, momentum, _, _, seen = how
        y, statistics = compute(s, x, weight, bias, running, momentum, None, save=True)
        if seen is not None:
            seen.append(statistics)
        # Only an activation's derivative asks for the bias: a copy of it, since torch's own calls do not save it and
        # a bias may be stepped between two backward passes.
        shift = None if bias is None or s.activation is None else bias.detach().clone()
        ctx.save_for_backward(x, weight, shift, statistics)
        ctx.how, ctx.bias, ctx.layout = how, bias, x.stride()
        ctx.shape, ctx.dtype = x.shape, x.dtype
        if weight is not None:
            ctx.of_weight = weight.shape, weight.dtype
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, shift, statistics = ctx.saved_tensors
        addresses.refuse_changed("input", x, ctx.shape, ctx.dtype)
        if weight is not None:
            addresses.refuse_changed("weight", weight, *ctx.of_weight)
        s = ctx.how[0]
        addresses.refuse_changed(
            "statistics", statistics, (3, s.launch(x, affine=weight is not None).statistics), torch.float32
        )
        if shift is not None:
            addresses.refuse_changed("bias", shift, ctx.bias.shape, ctx.bias.dtype)
        needs, bias = ctx.needs_input_grad[:3], ctx.bias
        # A derivative of this derivative will be asked for, or dy is many gradients in one, or of another kind.
        if torch.is_grad_enabled() or addresses.observed() or not addresses.is_memory_of(dy, x.device):
            return (*_by_formula(ctx, dy, x, weight, shift, statistics), None)
        addresses.demand_on(x.device, input=x, weight=weight, bias=shift, statistics=statistics)
        if x.stride() != ctx.layout:
            x = torch.empty_strided(ctx.shape, ctx.layout, dtype=x.dtype, device=x.device).copy_(x)
        dx, dweight, dbias = differentiate(s, dy, x, statistics, weight, shift, needs)
        if dbias is not None:
            dbias = dbias.to(bias.dtype)
        return dx, dweight if needs[1] else None, dbias, None


def _by_formula(ctx, dy, x, weight, shift, statistics) -> list[torch.Tensor | None]:
    """Return the gradients in torch's own operations, which can be differentiated again, batched and traced."""
    needs, further = ctx.needs_input_grad[:3], torch.is_grad_enabled()
    s, _, _, spec, view, _ = ctx.how
    sources = [x, weight, ctx.bias]
    if not further:
        pairs = zip(sources, needs, strict=True)
        sources = [None if t is None else t.detach().requires_grad_(need) for t, need in pairs]
    with torch.enable_grad():
        x, weight, bias = sources
        if bias is not None:
            # The values that the forward pass saw; the bias itself may have been stepped since.
            change = bias - bias.detach()
            bias = change if shift is None else shift + change
        mean = var = None
        if s.frozen:  # as they were: a training step may have moved the running ones since
            m, delta, rstd = statistics
            mean, var = m + delta, rstd.square().reciprocal() - s.eps
        call = Call(spec, view, x, weight, bias, mean, var, not s.frozen, eps=s.eps, activation=s.activation)
        y = reference.apply(call)
        given = [t for t, need in zip(sources, needs, strict=True) if need]
        found = iter(torch.autograd.grad(y, given, dy, create_graph=further))
    return [next(found) if need else None for need in needs]


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
        weight = saved_weight(spec, weight)
        if running is None or s.frozen or not moves_last(spec, s.activation):
            y = _Normalize.apply(x, weight, bias, (s, running, momentum, spec, view, None))
        else:
            seen: list[torch.Tensor] = []
            y = _Normalize.apply(x, weight, bias, (s, None, momentum, spec, view, seen))
            move(running, seen.pop(), momentum, view.count, s.eps)
    else:
        y, _ = compute(s, x, weight, bias, running, momentum, out if x is input else None, save=False)
        if x is input:
            return y
    if x is not input and y.dim() > 3 and input.movedim(1, -1).is_contiguous():
        y = y.movedim(1, -1).contiguous().movedim(-1, 1)  # normalised in another order, and given back as it came
    return y if out is None else out.copy_(y)


# ---- for torch.compile and whatever else looks at operators instead of running them ----


def _settings_of(axes, centred, sizes, per_element, frozen, eps, activation) -> Settings:
    return Settings(frozenset(axes.split()), centred, tuple(sizes), per_element, frozen, eps, activation)


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
    """Compute y and statistics as an operator. Running statistics are read where given, and never updated."""
    frozen = running_mean is not None
    s = _settings_of(axes, centred, sizes, per_element, frozen, eps, activation)
    running = (running_mean, running_var) if frozen else None
    return compute(s, dense(x, s), weight, bias, running, 0.0, None, save=True)


@traced.register_fake
def _(x, weight, bias, running_mean, running_var, axes, centred, sizes, per_element, eps, activation):
    s = _settings_of(axes, centred, sizes, per_element, running_mean is not None, eps, activation)
    n, g, k, places = s.sizes
    number = (1 if "batch" in s.axes else n) * (g if "group" in s.axes else g * k)
    number = g * k if s.frozen else number * (1 if "spatial" in s.axes else places)
    return torch.empty_like(dense(x, s)), x.new_empty((3, number), dtype=torch.float32)


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
    """Differentiate as an operator; an absent parameter's gradient is empty."""
    s = _settings_of(axes, centred, sizes, per_element, frozen, eps, activation)
    needs = (True, weight is not None, bias is not None)
    dx, dweight, dbias = differentiate(s, dy, dense(x, s), statistics, weight, bias, needs)
    return dx, x.new_empty(0) if weight is None else dweight, x.new_empty(0) if bias is None else dbias.to(bias.dtype)


@traced_backward.register_fake
def _(dy, x, statistics, weight, bias, axes, centred, sizes, per_element, frozen, eps, activation):
    s = _settings_of(axes, centred, sizes, per_element, frozen, eps, activation)
    parameters = (x.new_empty(0) if t is None else t.new_empty(t.shape) for t in (weight, bias))
    return torch.empty_like(dense(x, s)), *parameters


def _keep(ctx, inputs, output):
    x, weight, bias, running_mean, _, axes, centred, sizes, per_element, eps, activation = inputs
    ctx.save_for_backward(x, weight, bias, output[1])
    ctx.settings = (axes, centred, sizes, per_element, running_mean is not None, eps, activation)
    ctx.set_materialize_grads(False)


def _backward(ctx, dy, _):
    if dy is None:
        return (None,) * 11
    x, weight, bias, statistics = ctx.saved_tensors
    dx, dweight, dbias = traced_backward(dy, x, statistics, weight, bias, *ctx.settings)
    return dx, None if weight is None else dweight, None if bias is None else dbias, *(None,) * 8


traced.register_autograd(_backward, setup_context=_keep)
