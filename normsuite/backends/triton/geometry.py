"""The memory layout of a norm's statistics and their elements, for any norm and layout. Imports no torch.

A dense tensor is a few dimensions with a size, a stride, and the step by which the affine map's index moves along them.
Those that a norm averages over are its *reduced* dimensions, the others tell its statistics apart. Neighbouring
dimensions that one stride walks through are merged, after which two kept levels around an innermost one, and two levels
of rows around columns, are enough for every norm:

    element (o, p, i; q, r, c) of statistic (o, p, i):
        offset  = o·outer.stride + p·middle.stride + i·inner.stride + q·row_outer.stride + r·row.stride + c·col.stride
        channel = the same sum with `.channel` for `.stride`
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from ...spec import Axis


@dataclass(frozen=True)
class Dim:
    """One dimension: its size, its stride in elements, and how far the index into weight and bias moves along it."""

    size: int = 1
    stride: int = 0
    channel: int = 0


@dataclass(frozen=True)
class Geometry:
    """The dimensions of one norm over one tensor.

    Attributes:
        outer, middle, inner: the dimensions that tell statistics apart; `inner` is the one that a program takes a block
            of.
        row_outer, row, col: the dimensions that are averaged over; `col` is the one of stride 1, if there is such.
        channels: entries of weight and bias, or, without an affine map, of nothing.
    """

    outer: Dim
    middle: Dim
    inner: Dim
    row_outer: Dim
    row: Dim
    col: Dim
    channels: int

    @property
    def statistics(self) -> int:
        """Return how many statistics the tensor has."""
        return self.outer.size * self.middle.size * self.inner.size

    @property
    def rows(self) -> int:
        """Return how many rows one statistic is averaged over."""
        return self.row_outer.size * self.row.size

    @property
    def count(self) -> int:
        """Elements of one statistic."""
        return self.rows * self.col.size

    @property
    def numel(self) -> int:
        """Return how many elements the tensor has."""
        return self.statistics * self.count

    @property
    def span(self) -> int:
        """The largest offset of an element."""
        return sum((d.size - 1) * d.stride for d in (getattr(self, f.name) for f in fields(self)[:-1]))


def by_channel(g: Geometry, most: int) -> tuple[Geometry, int]:
    """Return g with one statistic per channel where channels lie side by side, and how many of those make one of g's.

    Memory is then read in whole vectors, whatever that number. Where a statistic of g has more than `most` channels,
    g is returned as it is, with 1.
    """
    groups, k = g.inner, g.col
    if k.stride != 1 or groups.stride != k.size or groups.channel != k.size * k.channel or not 1 < k.size <= most:
        return g, 1
    channel = Dim(groups.size * k.size, 1, k.channel)
    return replace(g, inner=channel, col=Dim()), k.size


@lru_cache(maxsize=4096)
def make(
    sizes: tuple[int, int, int, int],
    axes: frozenset[Axis],
    *,
    channels_last: bool,
    per_element: bool,
    affine: bool,
) -> Geometry:
    """Return the geometry of a norm that averages over `axes` of a dense tensor.

    Args:
        sizes: (N, G, K, S), the spatial sizes in one; (rows, 1, first, rest) for a norm over trailing sizes.
        axes: the axes that share a mean.
        channels_last: the channels of one place lie side by side.
        per_element: an affine map with an entry for each element of a statistic, in the order in which those lie.
        affine: whether there is an affine map; without one more dimensions merge.
    """
    n, g, k, s = sizes
    c = g * k
    if per_element:
        dims = {"batch": [Dim(n, c * s, 0)], "group": [Dim(c * s, 1, 1)], "spatial": [], "kept": []}
        channels = c * s
    elif channels_last:
        dims = {"batch": [Dim(n, s * c)], "group": [Dim(k, 1, 1)], "spatial": [Dim(s, c)], "kept": [Dim(g, k, k)]}
        channels = c
    else:
        dims = {"batch": [Dim(n, c * s)], "group": [Dim(k, s, 1)], "spatial": [Dim(s, 1)], "kept": [Dim(g, k * s, k)]}
        channels = c
    reduced = [d for axis in ("batch", "group", "spatial") if axis in axes for d in dims[axis]]
    kept = [d for axis in ("batch", "kept", "group", "spatial") if axis not in axes for d in dims[axis]]
    if not affine:
        reduced, kept = ([Dim(d.size, d.stride, 0) for d in of] for of in (reduced, kept))
        channels = 0
    reduced, kept = _merged(reduced), _merged(kept)
    if len(reduced) > 1 and reduced[-1].stride > 1 and kept and kept[-1].stride == 1:
        reduced.append(Dim())  # the kept dimension is the contiguous one: all that is reduced are rows
    elif len(reduced) == 1 and reduced[0].stride > 1:
        reduced.append(Dim())
    (outer, middle, inner), (row_outer, row, col) = _padded(kept), _padded(reduced)
    return Geometry(outer, middle, inner, row_outer, row, col, channels)


def _merged(dims: list[Dim]) -> list[Dim]:
    """Merge the dimensions that one stride walks through; return them from the largest stride to the smallest."""
    found: list[Dim] = []
    for d in sorted((d for d in dims if d.size > 1), key=lambda d: -d.stride):
        last = found[-1] if found else None
        if last and last.stride == d.size * d.stride and last.channel == d.size * d.channel:
            found[-1] = Dim(last.size * d.size, d.stride, d.channel)
        else:
            found.append(d)
    return found


def _padded(dims: list[Dim]) -> list[Dim]:
    assert len(dims) <= 3, dims
    return [*(Dim(),) * (3 - len(dims)), *dims]
