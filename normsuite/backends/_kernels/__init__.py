"""The common part of backends of compiled kernels: autograd's side of an application, and operators for tracers.

A backend says in a `Kernels` how it computes and differentiates a dense tensor. `differentiable` makes an autograd
function of that, for eager code, and `registered` two operators of torch's, for torch.compile and whatever else looks
at operations instead of running them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from ...spec import Axis, NormSpec, View
from ...tensors import addresses, guards
from ...tensors.layouts import in_channels_last, is_channels_last
from .. import update

Given = torch.Tensor | None

ROWS = 4
"""Rows of the statistics that a forward pass saves: m, its correction, rstd and the biased variance."""


class Alike(NamedTuple):
    """What tells whether tensors are like others, which were checked in full, and may be read by their addresses.

    Attributes:
        guards: whether they have the guards of those.
        are_stored: as `addresses.are_stored_like` returns it for those.
    """

    guards: guards.Guards
    are_stored: Callable[..., bool]

    @classmethod
    def to(cls, *tensors: torch.Tensor) -> "Alike":
        """Return it for these tensors, which it does not keep."""
        return cls(guards.of(*tensors), addresses.are_stored_like(*tensors))


@dataclass(slots=True, eq=False)
class Settings:
    """The settings of an application, which it needs beside its tensors.

    Attributes:
        axes, centred: of the norm.
        sizes: (N, G, K, S), the spatial sizes in one.
        per_element: a weight for each number that is averaged, as they lie in the tensor.
        frozen: normalised by the running statistics.
        eps, activation: of the norm.
        statistics: how many there are.
        launches: those that were needed, by what their kernels depend on.
        alike: of the latest kinds of backward passes (`Kernels`).
    """

    axes: frozenset[Axis]
    centred: bool
    sizes: tuple[int, int, int, int]
    per_element: bool
    frozen: bool
    eps: float
    activation: str | None
    statistics: int = field(init=False)
    launches: dict[tuple, Any] = field(init=False, default_factory=dict)
    alike: tuple[Alike, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        (n, g, k, s), over = self.sizes, self.axes
        counts = (1 if "batch" in over else n) * (g if "group" in over else g * k) * (1 if "spatial" in over else s)
        self.statistics = g * k if self.frozen else counts


class Kernels(NamedTuple):
    """The functions by which a backend computes and differentiates.

    What is ready to compute has the attributes frozen, statistics, activation and eps of `Settings`, and `alike`, by
    which tensors are compared with those of backward passes that were checked in full.

    Attributes:
        ready: what `compute` takes, from settings, a dense input and the weight.
        compute: y and the statistics, (`ROWS`, number) of the wide type, from what is ready, input, weight, bias,
            running statistics and momentum. It reads the running statistics where they are frozen, else updates them.
        differentiate: dx, dweight and dbias, from what is ready, dy, input, statistics, weight, bias, which of the
            three are needed and the type of dbias. The bias is given and read where there is an activation.
    """

    ready: Callable[[Any, torch.Tensor, Given], Any]
    compute: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    differentiate: Callable[..., tuple[Any, Any, Any]]


def is_per_element(spec: NormSpec, trailing: int) -> bool:
    """Return whether the kernels know a weight for each number that is averaged."""
    return trailing > 0 and {"group", "spatial"} <= spec.axes and "batch" not in spec.axes


def sizes_of(view: View, trailing: int) -> tuple[int, int, int, int]:
    """Return (N, G, K, S) of a view.

    Of a norm over trailing dimensions: (all before them, 1, the first of them, the rest).
    """
    shape = view.shape
    if not trailing:
        n, g, k, *places = shape
        return n, g, k, _product(places)
    lead = len(shape) - trailing
    return _product(shape[:lead]), 1, shape[lead], _product(shape[lead + 1 :])


def _product(sizes: Sequence[int]) -> int:
    n = 1
    for size in sizes:  # a loop, since torch.compile cannot trace math.prod over sizes that it does not know
        n *= size
    return n


def wide_of(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which kernels compute what is stored in that one."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def dense(x: torch.Tensor, s: Settings) -> torch.Tensor:
    """Return the tensor itself where it is contiguous or channels_last (of any rank), else a contiguous copy."""
    n, g, k, _ = s.sizes
    if x.is_contiguous() or (x.dim() > 2 and x.shape[:2] == (n, g * k) and is_channels_last(x)):
        return x
    return x.contiguous()


def laid_out_like(given: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the numbers in the order in which those of x, a dense tensor, lie."""
    if x.is_contiguous():
        return given.contiguous()
    if given.stride() == x.stride():
        return given
    return in_channels_last(given)


def moments(statistics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and biased variance, from the statistics that a forward pass saved."""
    m, delta, _, var = statistics
    return m + delta, var


@torch.no_grad()
def move(
    running: tuple[torch.Tensor, torch.Tensor],
    moments: tuple[torch.Tensor, torch.Tensor],
    momentum: float | torch.Tensor,
    n: int,
) -> None:
    """Set running ← (1 − momentum) · running + momentum · new, with the unbiased variance of n elements.

    Moments of each sample are averaged over the batch.
    """
    mean, var = moments
    for old, new in zip(running, (mean, var * (n / max(n - 1, 1))), strict=True):
        update(old, new.reshape(-1, old.numel()).mean(0), momentum)
