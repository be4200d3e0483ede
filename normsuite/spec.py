"""Norms as data: what each of them averages over. Imports no torch.

All of them are one operation. View x (N, C, *S) as (N, G, K, S) with K = C / G channels in a group and S the product of
the spatial sizes; take mean and variance over some of the axes {batch, group, spatial}; normalise; apply an affine map.
A `NormSpec` says which G, which axes and which affine map, and everything else in the package is written once for any
of them.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import ArgumentError, ShapeError, UnknownNameError

Axis = Literal["batch", "group", "spatial"]

# Where each axis lies in the view (N, G, K, S); dimension 1, the group, is never averaged over.
_DIMENSION: dict[Axis, int] = {"batch": 0, "group": 2, "spatial": 3}


@dataclass(frozen=True)
class View:
    """One tensor as one norm sees it.

    Attributes:
        shape: (N, G, K, S), whose product is the number of elements of the tensor.
        dims: the dimensions of that view which share a mean.
        affine_shape: the weight's and bias's shape, broadcastable to `shape`.
    """

    shape: tuple[int, int, int, int]
    dims: tuple[int, ...]
    affine_shape: tuple[int, int, int, int]

    @property
    def count(self) -> int:
        """How many elements share one mean."""
        return math.prod(self.shape[d] for d in self.dims)

    @property
    def stats_shape(self) -> tuple[int, ...]:
        """Shape of the mean and the variance: `shape` with the averaged dimensions kept as 1."""
        return tuple(1 if d in self.dims else size for d, size in enumerate(self.shape))


@dataclass(frozen=True)
class NormSpec:
    """What one normalization layer averages over, and what it has beside.

    y = (x − mean) / √(var + eps) · weight + bias, with mean and biased variance over `axes` of the view (N, G, K, S).

    Attributes:
        name: as people write it; lookups ignore case, "-" and "_".
        groups: G from the C channels: "one", "channels" (G = C) or "given" (the user's `num_groups`).
        axes: the axes that share a mean.
        affine: one weight and bias per "channel", or per "element" of what is normalised together.
        affine_by_default: whether torch's module of that name has them unless told otherwise.
        running: running statistics "always" (unless switched off), "optional" or "never".
        torch_call: the function of torch.nn.functional that computes it, or None.
        paper: where it comes from.
        centred: whether the mean is subtracted.
    """

    name: str
    groups: Literal["one", "channels", "given"]
    axes: frozenset[Axis]
    affine: Literal["channel", "element"]
    affine_by_default: bool
    running: Literal["always", "optional", "never"]
    torch_call: str | None
    paper: str
    centred: bool = True

    def num_groups(self, channels: int, requested: int | None = None) -> int:
        """G for that many channels.

        Raises:
            ArgumentError: the norm wants a number of groups and got none, or one that is no positive integer.
            ShapeError: it does not divide the channels.
        """
        if self.groups == "one":
            return 1
        if self.groups == "channels":
            return channels
        try:
            groups = operator.index(requested)
        except TypeError:
            raise ArgumentError("num_groups", requested, "must be a positive integer") from None
        if groups < 1:
            raise ArgumentError("num_groups", requested, "must be a positive integer")
        if channels % groups:
            raise ShapeError("num_groups", groups, f"must divide the number of channels, {channels}")
        return groups

    def view(
        self,
        shape: Sequence[int],
        *,
        num_groups: int | None = None,
        normalized_shape: Sequence[int] | None = None,
    ) -> View:
        """How this norm sees a tensor of that shape.

        Args:
            shape: (N, C, *S); with `normalized_shape` any shape that ends in it.
            num_groups: G, for a norm whose groups are given.
            normalized_shape: the trailing sizes to average over, for a norm with one group and an affine map per
                element; all but the batch where it is left out.

        Raises:
            ShapeError: fewer than two dimensions, groups that do not divide C, or an end other than
                `normalized_shape`.
        """
        shape = tuple(shape)
        if normalized_shape is not None:
            tail = tuple(normalized_shape)
            if not tail or len(shape) < len(tail) or shape[len(shape) - len(tail) :] != tail:
                raise ShapeError("input.shape", shape, f"must end in normalized_shape = {tail}")
            n, c, s = math.prod(shape[: len(shape) - len(tail)]), math.prod(tail), 1
        elif len(shape) < 2:
            raise ShapeError("input.shape", shape, f"{self.name} needs at least (N, C)")
        else:
            n, c, s = shape[0], shape[1], math.prod(shape[2:])
        g = self.num_groups(c, num_groups)
        k = c // g if g else 0
        return View(
            shape=(n, g, k, s),
            dims=tuple(sorted(_DIMENSION[axis] for axis in self.axes)),
            affine_shape=(1, g, k, s if self.affine == "element" else 1),
        )


_BUILT_IN = (
    NormSpec(
        name="BatchNorm",
        groups="channels",
        axes=frozenset({"batch", "spatial"}),
        affine="channel",
        affine_by_default=True,
        running="always",
        torch_call="batch_norm",
        paper="Ioffe and Szegedy 2015, arXiv:1502.03167",
    ),
    NormSpec(
        name="LayerNorm",
        groups="one",
        axes=frozenset({"group", "spatial"}),
        affine="element",
        affine_by_default=True,
        running="never",
        torch_call="layer_norm",
        paper="Ba, Kiros and Hinton 2016, arXiv:1607.06450",
    ),
    NormSpec(
        name="GroupNorm",
        groups="given",
        axes=frozenset({"group", "spatial"}),
        affine="channel",
        affine_by_default=True,
        running="never",
        torch_call="group_norm",
        paper="Wu and He 2018, arXiv:1803.08494",
    ),
    NormSpec(
        name="InstanceNorm",
        groups="channels",
        axes=frozenset({"spatial"}),
        affine="channel",
        affine_by_default=False,
        running="optional",
        torch_call="instance_norm",
        paper="Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022",
    ),
)

NORMS: dict[str, NormSpec] = {spec.name: spec for spec in _BUILT_IN}
"""Every known norm by name, in the order in which tables and charts show them."""


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def find(name: str) -> NormSpec:
    """The norm of that name, whatever its case, hyphens and underscores.

    Raises:
        UnknownNameError: there is none.
    """
    for spec in NORMS.values():
        if isinstance(name, str) and _key(spec.name) == _key(name):
            return spec
    raise UnknownNameError.among("norm", name, NORMS)
