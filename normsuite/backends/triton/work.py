"""The division of a tensor's tiles among the programs of a kernel."""

import math
from dataclasses import dataclass

import triton

from .geometry import Geometry
from .tiles import Tile

SUMS_BYTES = 8
"""Bytes of the two sums of one channel, for its weight and its bias."""

PARAMETER_BYTES = 4
"""Bytes of an element of weight or bias, at most: beside a narrow tensor they may be float32."""


@dataclass(frozen=True)
class Work:
    """The division of a tensor's tiles among programs.

    Attributes:
        source: "registers" (a program keeps the tensor's tile there: `resident`), or where the statistics are:
            "program", "memory" or "running" (`spanning`).
        tile: of a program.
        row_tiles, col_tiles: of one statistic.
        units: blocks of statistics.
        per_part: tiles that a program takes.
        geometry: that of the launch, or where its statistics are computed piece by piece, that of the pieces.
        pieces: of one statistic.
        stages: of the loads in a loop.
        own: tiles that a program writes of a statistic that it keeps.
    """

    source: str
    geometry: Geometry
    tile: Tile
    row_tiles: int
    col_tiles: int
    units: int
    per_part: int
    pieces: int = 1
    stages: int = 1
    own: int = 1

    @property
    def tiles(self) -> int:
        """Return how many tiles a statistic has."""
        return self.row_tiles * self.col_tiles

    @property
    def parts(self) -> int:
        """Return how many programs share a statistic."""
        return triton.cdiv(self.tiles, self.per_part)


@dataclass(frozen=True)
class Shares:
    """The division of the tiles among the programs of a backward kernel, and of the sums of each channel.

    Attributes:
        walk: the axis along which a program takes tile after tile: "rows", "cols" or "both".
        fixed: tiles across it.
        walks, per_walk: parts along it, and the tiles in each.
        programs: for all units.
        slots: partial sums of each channel.
        slots_row: of those, for the outer level of rows.
    """

    walk: str
    fixed: int
    walks: int
    per_walk: int
    programs: int
    slots: int
    slots_row: int


def units_of(g: Geometry, tile: Tile) -> int:
    """Return how many blocks of statistics there are."""
    return g.outer.size * g.middle.size * triton.cdiv(g.inner.size, tile.inner)


def tiles_of(g: Geometry, tile: Tile) -> tuple[int, int]:
    """Return how many tiles a statistic has along rows and columns."""
    return triton.cdiv(g.rows, tile.rows), triton.cdiv(g.col.size, tile.cols)


def shares_channels(g: Geometry) -> bool:
    """Return whether every statistic has the same channels, so that gradients of these are sums over all statistics."""
    return g.channels > 0 and not (g.outer.channel or g.middle.channel or g.inner.channel)


def classes_of(g: Geometry, tile: Tile) -> tuple[int, int]:
    """Return after how many units the channels repeat, and how many sets of channels there are among these.

    Units are numbered along `inner`, then `middle`, then `outer`.
    """
    units = period = classes = 1
    blocks = triton.cdiv(g.inner.size, tile.inner)
    for dim, size in ((g.inner, blocks), (g.middle, g.middle.size), (g.outer, g.outer.size)):
        units *= size
        if dim.channel:
            period, classes = units, classes * size
    return period, classes


def few_places(g: Geometry, itemsize: int) -> bool:
    """Return whether a sum for each channel of each sample would be more than a sixteenth of the tensor, in bytes."""
    samples = math.prod(dim.size for dim in (g.outer, g.middle, g.inner) if not dim.channel)
    return g.channels > 0 and 16 * SUMS_BYTES * samples * g.channels > g.numel * itemsize


def align_of(g: Geometry) -> int:
    """Return the power of two, 16 at most, of which all strides but 1 are multiples."""
    strides = (d.stride for d in (g.outer, g.middle, g.inner, g.row_outer, g.row, g.col))
    return math.gcd(16, *(stride for stride in strides if stride != 1))
