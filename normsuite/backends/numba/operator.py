"""The kernels as a differentiable function of tensors: forward, backward, and a light autograd function of both.

For torch's tracers, which cannot look into a kernel, `registered` makes an operator of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from ... import addresses
from ...spec import Axis, NormSpec, View
from .. import Call, moves_last, reference, repeats_weight, saved_weight, with_value
from . import launch, outputs, planning


@dataclass(slots=True, eq=False)
class Settings:
    """What an application needs beside its tensors.

    Attributes:
        axes, centred: of the norm.
        sizes: (N, G, K, S), the spatial sizes in one.
        per_element: a weight for each number that is averaged, as they lie in the tensor.
        frozen: normalised by the running statistics.
        launches: those that were needed, by (contiguous, affine, type).
    """

    axes: frozenset[Axis]
    centred: bool
    sizes: tuple[int, int, int, int]
    per_element: bool
    frozen: bool
    eps: float
    activation: str | None
    launches: dict[tuple[bool, bool, torch.dtype], launch.Launch] = field(default_factory=dict)

    @property
    def statistics(self) -> int:
        """Return how many statistics there are."""
        (n, g, k, s), over = self.sizes, self.axes
        counts = (1 if "batch" in over else n) * (g if "group" in over else g * k) * (1 if "spatial" in over else s)
        return g * k if self.frozen else counts

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


def is_per_element(spec: NormSpec, trailing: int) -> bool:
    """Return whether the kernels know a weight for each number that is averaged."""
    return trailing > 0 and {"group", "spatial"} <= spec.axes and "batch" not in spec.axes


def sizes_of(view: View, trailing: int) -> tuple[int, int, int, int]:
    """Return (N, G, K, S) of a view.

    Of a norm over trailing dimensions: (all before them, 1, the first of them, the rest).
    """
    shape = view.shape
    if not trailing:
        return (*shape[:3], _product(shape[3:]))
    lead = len(shape) - trailing
    return _product(shape[:lead]), 1, shape[lead], _product(shape[lead + 1 :])


def _product(sizes: Sequence[int]) -> int:
    n = 1
    for size in sizes:  # a loop, since torch.compile cannot trace math.prod over sizes that it does not know
        n *= size
    return n


def dense(x: torch.Tensor, s: Settings) -> torch.Tensor:
    """Return the tensor itself where it is contiguous or channels_last (of any rank), else a contiguous copy."""
    n, g, k, _ = s.sizes
    if x.is_contiguous() or (x.dim() > 2 and x.shape[:2] == (n, g * k) and x.movedim(1, -1).is_contiguous()):
        return x
    return x.contiguous()


def _laid_out_like(given: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if x.is_contiguous():
        return given if given.is_contiguous() else given.contiguous()
    return given.movedim(1, -1).contiguous().movedim(-1, 1)


def wide_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _affine(parameter: torch.Tensor | None, wide: torch.dtype) -> torch.Tensor | None:
    """Return weight or bias, contiguous and in the wide type."""
    if parameter is None or _plain(parameter, wide):
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
    statistics = x.new_empty((4, ready.statistics), dtype=wide)  # not where a default device is
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
        move(moved, statistics, momentum, ready.plan.count)
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
    if not addresses.is_memory(out) or addresses.overlaps(out, (weight, bias, *(running or ()))):
        return False
    return addresses.is_same_memory(out, x) or not addresses.overlaps(out, (x,))


def _plain(t: torch.Tensor, wide: torch.dtype) -> bool:
    return t.dtype is wide and t.is_contiguous()


@torch.no_grad()
def move(
    running: tuple[torch.Tensor, torch.Tensor], statistics: torch.Tensor, momentum: float | torch.Tensor, n: int
) -> None:
    """Set running ← (1 − momentum) · running + momentum · new, with the unbiased variance of n elements.

    Statistics for each sample are averaged over the batch.
    """
    m, delta, _, var = statistics
    for old, new in zip(running, (m + delta, var * (n / (n - 1))), strict=True):
        weight = momentum.to(old.dtype) if isinstance(momentum, torch.Tensor) else momentum
        old.lerp_(new.reshape(-1, old.numel()).mean(0).to(old.dtype), weight)


def differentiate(
    ready: launch.Launch,
    dy: torch.Tensor,
    x: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    needed: Sequence[bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return dx, dweight and dbias of a dense tensor; `needed` says which of them are. The bias is read for an
    activation."""
    wide, per_element = ready.wide, ready.plan.per_element
    dx = outputs.like(x) if needed[0] or per_element else None
    scale, dweight, dbias = _affine(weight, wide), None, None
    if scale is not None and (needed[1] or needed[2] or per_element):
        dweight, dbias = torch.empty_like(scale), torch.empty_like(scale)
    if dy.dtype is not x.dtype:
        dy = dy.to(x.dtype)
    statistics = statistics.contiguous()  # which a hook on saved tensors may have laid out otherwise
    ready.backward(_laid_out_like(dy, x), x, statistics, scale, _affine(bias, wide), dx, dweight, dbias)
    if dweight is None:
        return dx, None, None
    return dx, dweight.to(weight.dtype), dbias


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, how):
        ready, running, momentum, _, _, seen = how
        y, statistics = compute(ready, x, weight, bias, running, momentum)
        if seen is not None:
            seen.append(statistics)
        # Only an activation's derivative asks for the bias: a copy of it, since torch's own calls do not save it and
        # a bias may be stepped between two backward passes.
        shift = None if bias is None or ready.activation is None else bias.detach().clone()
        kept = weight.clone() if weight is not None and weight.is_leaf and repeats_weight(how[3]) else weight
        ctx.save_for_backward(x, kept, shift, statistics)
        ctx.how, ctx.weight, ctx.bias, ctx.layout = how, None if kept is weight else weight, bias, x.stride()
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
        ready = ctx.how[0]
        addresses.refuse_changed("statistics", statistics, (4, ready.statistics), ready.wide)
        if shift is not None:
            addresses.refuse_changed("bias", shift, ctx.bias.shape, ctx.bias.dtype)
        needs, bias = ctx.needs_input_grad[:3], ctx.bias
        # A derivative of this derivative will be asked for, or dy is many gradients in one, or of another kind.
        if torch.is_grad_enabled() or addresses.observed() or not addresses.is_memory(dy):
            if not addresses.observed():  # torch's own operations may read memory that is gone
                addresses.refuse_gone(dy=dy, input=x, weight=weight)
            return (*_by_formula(ctx, dy, x, weight, shift, statistics), None)
        addresses.demand(input=x, weight=weight, bias=shift, statistics=statistics)
        if x.stride() != ctx.layout:
            x = torch.empty_strided(ctx.shape, ctx.layout, dtype=x.dtype, device=x.device).copy_(x)
        dx, dweight, dbias = differentiate(ready, dy, x, statistics, weight, shift, needs)
        if dbias is not None and needs[2]:
            dbias = dbias.to(bias.dtype)
        return (dx if needs[0] else None, dweight if needs[1] else None, dbias if needs[2] else None, None)


def _by_formula(ctx, dy, x, weight, shift, statistics) -> list[torch.Tensor | None]:
    """Return the gradients by torch's own operations, which can be differentiated again, batched and traced."""
    needs, further = ctx.needs_input_grad[:3], torch.is_grad_enabled()
    ready, _, _, spec, view, _ = ctx.how
    sources = [x, weight if ctx.weight is None else ctx.weight, ctx.bias]
    if not further:
        pairs = zip(sources, needs, strict=True)
        sources = [None if t is None else t.detach().requires_grad_(need) for t, need in pairs]
    with torch.enable_grad():
        kept = weight
        x, weight, bias = sources
        if ctx.weight is not None:
            weight = with_value(kept, weight)
        if bias is not None:
            bias = with_value(shift, bias)
        mean = var = None
        if ready.frozen:  # as they were: a training step may have moved the running ones since
            m, delta, _, var = statistics
            mean = m + delta
        call = Call(
            spec, view, x, weight, bias, mean, var, not ready.frozen, eps=ready.eps, activation=ready.activation
        )
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
    """Return the norm of tensors that are in memory, differentiable where they ask for it."""
    x = dense(input, s)
    ready = s.launch(x, weight)
    if x is input:
        return of_dense(ready, spec, view, x, weight, bias, running, momentum, out)
    y = of_dense(ready, spec, view, x, weight, bias, running, momentum, None)
    if out is not None:
        return out.copy_(y)
    if y.dim() > 3 and input.movedim(1, -1).is_contiguous():
        return _laid_out_like(y, input)  # normalised in another order, and given back as it came
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
    """Return the norm of a dense tensor by kernels that are found already, differentiable where its tensors ask for
    it."""
    if torch.is_grad_enabled() and (
        x.requires_grad or (weight is not None and weight.requires_grad) or (bias is not None and bias.requires_grad)
    ):
        if weight is not None and not weight.is_leaf:  # a leaf is copied without a node of its own
            weight = saved_weight(spec, weight)
        if running is None or ready.frozen or not moves_last(spec, ready.activation):
            return _Normalize.apply(x, weight, bias, (ready, running, momentum, spec, view, None))
        seen: list[torch.Tensor] = []
        y = _Normalize.apply(x, weight, bias, (ready, None, momentum, spec, view, seen))
        move(running, seen.pop(), momentum, ready.plan.count)
        return y
    return compute(ready, x, weight, bias, running, momentum, out)[0]
