"""Results of processes with TRITON_INTERPRET=1: one application of the Triton kernels, and how far it is from float64.

Imported by those processes; in the tests' own process Triton is not imported.
"""

import functools
import math
import os
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

NAN = float("nan")
PROCESSORS = 4
"""Few, so that small tensors are cut into parts too."""


@dataclass(frozen=True)
class Case:
    """One application of the kernels.

    Attributes:
        sizes: (N, G, K, S).
        axes: those that share a mean; of running statistics where there are `frozen` ones.
        channels_last, per_element, centred, activation, frozen: as the launch takes them.
        dtype: of the tensors, by name; weight and bias are float32.
        affine: "both", "weight" or "none".
        source: where the statistics are, "registers", "program" or "memory" ("running" where they are frozen).
        mean: about which the numbers lie, with deviation 1.
        deviation: factor of the numbers, where variances are looked at.
        shift: elements between the beginning of a buffer and that of a tensor in it.
        wide: offsets have 64 bits.
    """

    sizes: tuple[int, int, int, int]
    axes: tuple[str, ...] = ("group", "spatial")
    channels_last: bool = False
    per_element: bool = False
    centred: bool = True
    activation: str | None = None
    frozen: bool = False
    dtype: str = "float32"
    affine: str = "both"
    source: str = "registers"
    mean: float = 0.0
    deviation: float = 1.0
    shift: int = 16
    wide: bool = False


def begin() -> None:
    """Set the interpreter up in a process that has not imported Triton yet.

    The interpreter reduces with a function of ours one element after the other: slow, and rounded as no device does it,
    which adds in a tree.
    """
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)
    from triton.runtime import interpreter

    def reduced(self, given):
        axis = self.axis
        halves = [np.ravel(t.handle.data) if axis is None else np.moveaxis(t.handle.data, axis, 0) for t in given]
        while (size := len(halves[0])) > 1:
            sides = [
                self.to_tensor(half[part], t.dtype)
                for part in (slice(size // 2), slice(size // 2, size))
                for half, t in zip(halves, given, strict=True)
            ]
            made = self.combine_fn.fn(*sides)
            halves = [t.handle.data for t in (made if isinstance(made, tuple) else (made,))]
        results = [half[0] for half in halves]
        if self.keep_dims:
            dims = tuple(range(given[0].handle.data.ndim)) if axis is None else axis
            results = [np.expand_dims(result, dims) for result in results]
        return [self.to_tensor(result, t.dtype) for result, t in zip(results, given, strict=True)]

    interpreter.ReduceOps.generic_reduce = reduced
    interpreter.ReduceOps.sum = lambda self, given: reduced(self, (given,))[0]


def _family(source: str, count: int):
    """Constants under which statistics of so many elements are where the case wants them."""
    from normsuite.backends.triton import tiles

    cut = replace(tiles.HOPPER, resident=0, resident_backward=0, split=max(64, tiles.power(count) // 8))
    return {
        "registers": replace(tiles.HOPPER, split=2**30),  # however few programs that makes
        "program": replace(cut, cached_bytes=2**40),
        "memory": replace(cut, cached_bytes=0),
    }[source]


def launch_of(case: Case):
    from normsuite.backends.triton import geometry, launch

    launch.MOST_OFFSET = 0 if case.wide else 2**31 - 2**20
    n, g, k, s = case.sizes
    sizes, axes = case.sizes, frozenset(case.axes)
    if case.frozen:
        sizes, axes = (n, g * k, 1, s), frozenset({"batch", "spatial"})
    elif case.per_element:
        sizes = (n, 1, g * k, s)
    lies = geometry.make(
        sizes, axes, channels_last=case.channels_last, per_element=case.per_element, affine=case.affine != "none"
    )
    itemsize = getattr(torch, case.dtype).itemsize
    processors = 1 if case.source == "program" else PROCESSORS
    return launch.Launch(
        lies, case.centred, case.activation, case.frozen, 1e-5, itemsize, processors, _family(case.source, lies.count)
    )


def operands(case: Case, seed: int = 0) -> dict[str, torch.Tensor | None]:
    """x and dy as (N, G, K, S), weight and bias, running statistics."""
    _, g, k, s = case.sizes
    dtype = getattr(torch, case.dtype)
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    affine = (1, g, k, s) if case.per_element else (1, g, k, 1)
    weight, bias = (1 + 0.3 * draw(affine)).float(), draw(affine).float()
    given = {"x": (draw(case.sizes) + case.mean).to(dtype), "dy": draw(case.sizes).to(dtype)}
    given["weight"] = None if case.affine == "none" else weight
    given["bias"] = bias if case.affine == "both" else None
    given["running_mean"] = given["running_var"] = None
    if case.frozen or set(case.axes) == {"batch", "spatial"}:
        given["running_mean"] = (case.mean + 0.1 * draw(g * k)).float()
        given["running_var"] = (1 + draw(g * k).abs()).float()
    return given


def exact(case: Case, given: dict) -> dict[str, torch.Tensor]:
    """The same in float64, by the definition."""
    wide = {name: None if t is None else t.double() for name, t in given.items()}
    sources = {name: wide[name].requires_grad_() for name in ("x", "weight", "bias") if wide[name] is not None}
    x, places = wide["x"], (1, case.sizes[1], case.sizes[2], 1)
    dims = [place for place, axis in ((0, "batch"), (2, "group"), (3, "spatial")) if axis in case.axes]
    if case.per_element:
        dims = [1, 2, 3]
    if case.frozen:
        m, var = wide["running_mean"].view(places), wide["running_var"].view(places)
    else:
        m = x.mean(dims, keepdim=True) if case.centred else torch.zeros((), dtype=x.dtype)
        var = ((x - m) ** 2).mean(dims, keepdim=True)
    y = (x - m) / torch.sqrt(var + 1e-5)
    y = y if wide["weight"] is None else y * wide["weight"]
    y = y if wide["bias"] is None else y + wide["bias"]
    y = y if case.activation is None else getattr(F, case.activation)(y)
    gradients = torch.autograd.grad(y, list(sources.values()), wide["dy"])
    found = {"y": y.detach()} | {f"d{name}": d for name, d in zip(sources, gradients, strict=True)}
    if not case.frozen and wide["running_mean"] is not None:
        count = x.numel() // var.numel()
        found["running_mean"] = 0.9 * wide["running_mean"] + 0.1 * m.detach().flatten()
        found["running_var"] = 0.9 * wide["running_var"] + 0.1 * var.detach().flatten() * count / max(count - 1, 1)
    return found


def _guarded(count: int, dtype: torch.dtype, shift: int = 16) -> torch.Tensor:
    """Return that many elements of NaN, in the middle of a buffer of NaN."""
    return torch.full((count + 2 * 4096 + shift,), NAN, dtype=dtype)[4096 + shift :][:count]


def _placed(t: torch.Tensor, case: Case, *, poison: bool = False) -> torch.Tensor:
    """The numbers as they lie in memory, one dimension, in the middle of a buffer of NaN."""
    if t.dim() == 4 and case.channels_last and not case.per_element:
        t = t.movedim(3, 1)
    inside = _guarded(t.numel(), t.dtype, case.shift)
    if not poison:
        inside.copy_(t.reshape(-1))
    return inside


def _returned(t: torch.Tensor, like: torch.Tensor, case: Case) -> torch.Tensor:
    if like.dim() == 4 and like.shape == case.sizes and case.channels_last and not case.per_element:
        n, g, k, s = case.sizes
        return t.view(n, s, g, k).movedim(1, 3)
    return t.view(like.shape)


def _outside_is_untouched(t: torch.Tensor) -> bool:
    whole = torch.empty(0, dtype=t.dtype).set_(t.untyped_storage())
    return bool(whole[: t.storage_offset()].isnan().all() and whole[t.storage_offset() + t.numel() :].isnan().all())


class _Poisoned:
    """Working memory of a launch is NaN until it is written, and lies in the middle of NaN.

    Attributes:
        made: what was asked for.
    """

    def __enter__(self):
        self.right, self.made = torch.Tensor.new_empty, []
        torch.Tensor.new_empty = lambda like, *given, **options: self._made(like, *given, **options)
        return self

    def _made(self, like, shape, dtype=None, **others):
        if others:  # the interpreter's own
            return self.right(like, shape, dtype=dtype, **others)
        self.made.append(_guarded(math.prod(shape), dtype or like.dtype))
        return self.made[-1].view(shape)

    def __exit__(self, *of_error):
        torch.Tensor.new_empty = self.right


def computed(case: Case, given: dict) -> tuple[dict[str, torch.Tensor], tuple[str, str]]:
    """Return what the kernels make of it, and where they had the statistics, forward and backward."""
    made = launch_of(case)
    lies = {name: None if t is None else _placed(t, case) for name, t in given.items()}
    x, weight, bias = lies["x"], lies["weight"], lies["bias"]
    results = {"y": _placed(x, case, poison=True), "dx": _placed(x, case, poison=True)}
    for name, parameter in (("dweight", weight), ("dbias", bias)):
        results[name] = None if parameter is None else _placed(parameter, case, poison=True)
    running = None if lies["running_mean"] is None else (lies["running_mean"], lies["running_var"])
    statistics = _guarded(4 * made.statistics, torch.float32).view(4, made.statistics)
    with _Poisoned() as working:
        made.forward(x, results["y"], statistics, weight, bias, running, 0.1)
        made.backward(lies["dy"], x, statistics, weight, bias, *(results[name] for name in ("dx", "dweight", "dbias")))
    written = [*results.values(), *(running or ()), statistics, *working.made]
    assert all(_outside_is_untouched(t) for t in written if t is not None), "written outside"
    if running is not None and not case.frozen:
        results |= dict(zip(("running_mean", "running_var"), running, strict=True))
    shapes = {"y": given["x"], "dx": given["x"], "dweight": given["weight"], "dbias": given["bias"]}
    shapes |= {name: given[name] for name in ("running_mean", "running_var")}
    found = {name: _returned(t, shapes[name], case) for name, t in results.items() if t is not None}
    return found, (made._forward_work.source, made._backward_work.source)


def errors(case: Case) -> dict[str, object]:
    """The largest error of each result over the root mean square of the exact one; "sources" beside them.

    The errors of tensors of a narrow type are in units in the last place of the largest number instead: 0.5 is what
    rounding makes.
    """
    given = operands(case)
    found, sources = computed(case, given)
    made = {"sources": sources}
    for name, true in exact(case, given).items():
        far = (found[name].double() - true).abs().max()
        if name in ("y", "dx") and case.dtype != "float32":
            largest = 2.0 ** true.abs().max().clamp_min(1e-6).log2().floor()
            made[name] = (far / (largest * torch.finfo(getattr(torch, case.dtype)).eps)).item()
        else:
            made[name] = (far / true.square().mean().sqrt().clamp_min(1e-3)).item()
    return made


def kept_variances(case: Case) -> float:
    """The largest relative error of the variances that a launch stores for later."""
    given = operands(case)
    given["x"] = given["x"] * case.deviation
    made, statistics = launch_of(case), torch.full((4, launch_of(case).statistics), NAN)
    x = _placed(given["x"], case)
    made.forward(x, _placed(x, case, poison=True), statistics, None, None, None, 0.1)
    dims = [place for place, axis in ((0, "batch"), (2, "group"), (3, "spatial")) if axis in case.axes]
    true = given["x"].double().var(dims, unbiased=False).flatten()
    return ((statistics[3].double() - true).abs() / true).max().item()


def wrongly_numbers(case: Case) -> list[str]:
    """The results that are not NaN where the exact ones are, or the other way round, with one NaN in the input."""
    given = operands(case)
    given["x"][0, 0, 0, 0] = NAN
    found, _ = computed(case, given)
    return [name for name, true in exact(case, given).items() if not torch.equal(found[name].isnan(), true.isnan())]


def wide_indices() -> list[int]:
    """The first index of a block far out, the elements of the tile there, and a statistic's place, in 64 bits."""
    from interpreted_kernels import far_out

    size, block = 4096, 2**20
    found = torch.zeros(2 * size + 1, dtype=torch.int64)
    far_out[(1,)](found, block, size * block + 5, SIZE=size)
    return [found[0].item(), found[size].item(), found[size + 1].item()]


def same_bits(case: Case) -> bool:
    """Return whether two runs give the same bits."""
    first, second = (computed(case, operands(case))[0] for _ in range(2))
    return all(torch.equal(first[name], second[name]) for name in first)


# ---- what users call ----


def public(name: str, dtype: str, *, last: bool) -> list[float]:
    """Return the largest differences between the backend and the formula in float64, for every way to call one norm.

    They are in units of the root mean square; NaN where the layout of the output is not that of the input.
    """
    from normsuite import functional
    from normsuite.spec import NORMS

    spec, kind, found = NORMS[name], getattr(torch, dtype), []
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, dy = ((draw(3, 6, 5, 4) + 1).to(kind) for _ in range(2))
    if last:
        x = x.to(memory_format=torch.channels_last)
    affine = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    weight, bias = (1 + 0.3 * draw(affine)).to(kind), draw(affine).to(kind) if spec.centred else None
    running = {"running_mean": draw(6).float(), "running_var": (1 + draw(6).abs()).float()}
    ways = [(weight, bias, {}, None), (None, bias, {}, "relu"), (weight, None, {}, "silu"), (None, None, {}, None)]
    if spec.running != "never":
        ways += [(weight, bias, running, None), (weight, bias, running | {"use_input_stats": False}, "silu")]
    for w, b, given, activation in ways:
        results = []
        for backend, to in (("triton", kind), ("reference", torch.float64)):
            leaves = [None if t is None else t.detach().to(to).requires_grad_() for t in (x, w, b)]
            moved = {key: t.to(to, copy=True) if isinstance(t, torch.Tensor) else t for key, t in given.items()}
            groups = 3 if spec.groups == "given" else None
            y = functional.normalize(spec, *leaves, num_groups=groups, backend=backend, activation=activation, **moved)
            inputs = [t for t in leaves if t is not None]
            results.append([y.detach(), *torch.autograd.grad(y, inputs, dy.to(to))])
            results[-1] += [t for t in moved.values() if isinstance(t, torch.Tensor)]
        for made, true in zip(*results, strict=True):
            far = (made.double() - true).abs().max() / true.square().mean().sqrt()
            found.append(far.item() if made.dim() < 4 or made.stride() == x.stride() else NAN)
    return found


def bias_gradient() -> list[float]:
    """The gradient of a float32 bias beside a float16 weight, whose type ends at 65,504."""
    from normsuite import functional

    x = torch.zeros(3, 2, 4, requires_grad=True)
    weight, bias = torch.ones(2, dtype=torch.float16, requires_grad=True), torch.zeros(2, requires_grad=True)
    y = functional.group_norm(x, 1, weight, bias, backend="triton")
    (found,) = torch.autograd.grad(y, [bias], torch.full_like(y, 30_000.0))
    return found.tolist()


def empty() -> list[tuple[int, ...]]:
    """The shapes of the norms of tensors without elements."""
    from normsuite import functional

    return [
        tuple(functional.layer_norm(torch.zeros(0, 4), (4,), backend="triton").shape),
        tuple(functional.group_norm(torch.zeros(0, 4, 3), 2, backend="triton").shape),
        tuple(functional.rms_norm(torch.zeros(2, 0, 4), (4,), backend="triton").shape),
    ]
