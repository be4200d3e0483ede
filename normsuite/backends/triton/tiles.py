"""The tiles of a kernel: a few constants per device family, which were measured and are not sought at run time."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from .geometry import Geometry

MOST_ROW_TILES = 32768
"""Where rows have channels of their own, a backward kernel has one program along the grid's second axis for each tile
of rows, and that axis has 65,535 at most."""


@dataclass(frozen=True)
class Tile:
    """A block of `inner` statistics, `rows` rows and `cols` columns, and the warps that share it."""

    inner: int
    rows: int
    cols: int
    warps: int

    @property
    def size(self) -> int:
        """Return how many elements the tile has."""
        return self.inner * self.rows * self.cols


@dataclass(frozen=True)
class Family:
    """Sizes and counts that suit a family of devices.

    Attributes:
        resident: elements of the largest tile that a forward kernel keeps, in float32.
        resident_rows: the same where elements side by side have weights of their own, in float32 or of no power of two.
        resident_single: the same where elements are loaded one by one.
        resident_backward: the same of a backward kernel.
        tile: elements of one tile, of which a statistic has a few.
        tile_activated: the same of a backward kernel behind an activation whose elements are loaded one by one.
        largest: elements of a tile that is all of a row: of 16,384 in one tile the compiler keeps so many at a time
            that it spills.
        most_tiles: of one statistic.
        stages: loads that are under way at a time in a loop.
        wanted: elements in a tile that several short statistics share.
        split: elements in a tile of a statistic that is cut into parts.
        per_thread: elements for each thread.
        waves: programs for each multiprocessor where a tensor is cut into parts.
        ahead: bytes of a statistic from which on a forward kernel loads the next one while it computes.
        waste: elements in tiles over elements that exist, at most.
        kept: elements of a row of which a program keeps the gradients of weight and bias.
        kept_long: the same of rows that are longer than that.
        in_flight: bytes of tensors that a multiprocessor's programs keep.
        most_programs: of one multiprocessor.
        persistent: programs for each multiprocessor where each takes many statistics.
        segment: bytes side by side from which on memory is read at full speed.
        cached_bytes: bytes that the last-level cache holds between two readings of the same.
        shared_bytes: shared memory that a program can have.
        registers: of a multiprocessor; 0 where the compiler takes no limit.
        warp_threads: threads of a warp.
        most_threads: of a program.
    """

    resident: int = 32768
    resident_rows: int = 28672
    resident_single: int = 16384
    resident_backward: int = 16384
    tile: int = 4096
    tile_activated: int = 4096
    largest: int = 8192
    most_tiles: int = 16
    stages: int = 3
    wanted: int = 2048
    split: int = 4096
    per_thread: int = 32
    waves: int = 8
    ahead: int = 81920
    waste: float = 1.15
    kept: int = 8192
    kept_long: int = 8192
    in_flight: int = 16384
    most_programs: int = 4
    persistent: int = 2
    segment: int = 128
    cached_bytes: int = 36 * 2**20
    shared_bytes: int = 227 * 1024
    registers: int = 65536
    warp_threads: int = 32
    most_threads: int = 1024


HOPPER = Family()
"""Measured on an H200. Other devices have the same constants until somebody measures them."""

BLACKWELL = Family(tile_activated=2048, kept_long=4096, most_threads=512)
"""Constants for sm_100 and later, measured on no device: with HOPPER's a few kernels spill registers (`proof`)."""


def of_capability(capability: int) -> Family:
    """Return the constants for NVIDIA's devices of that capability, 90 for sm_90."""
    return BLACKWELL if capability >= 100 else HOPPER


@lru_cache
def family_of(device: torch.device) -> Family:
    """Return the constants for a device, with the shared memory that it has."""
    if device.type in ("cpu", "meta"):
        return HOPPER
    properties = torch.get_device_module(device).get_device_properties(device)
    shared = getattr(properties, "shared_memory_per_block_optin", HOPPER.shared_bytes)
    if device.type != "cuda" or torch.version.hip is not None:
        threads = getattr(properties, "warp_size", HOPPER.warp_threads)
        return replace(HOPPER, shared_bytes=shared, registers=0, warp_threads=threads)
    return replace(of_capability(10 * properties.major + properties.minor), shared_bytes=shared)


@lru_cache
def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a device; 4 without one, as under the interpreter."""
    if device.type in ("cpu", "meta"):
        return 4
    properties = torch.get_device_module(device).get_device_properties(device)
    return getattr(properties, "multi_processor_count", 0) or 16


def register_limit(warps: int, programs: int, family: Family) -> dict[str, int]:
    """Return the option by which so many programs fit onto a multiprocessor.

    It is given for a single program too: without it NVIDIA's compiler spills a few numbers where that lets one more
    program fit (6 of 77 registers in RMSNorm of 8192 × 128 for sm_90).
    """
    if not family.registers:
        return {}
    return {"maxnreg": min(255, family.registers // (family.warp_threads * warps * programs))}


def power(n: int) -> int:
    """Return the smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def floor_power(n: int) -> int:
    """Return the largest power of two that is not above n."""
    return 1 << (max(n, 1).bit_length() - 1)


def warps(size: int, per_thread: int, family: Family) -> int:
    """Return how many warps have so many elements at so many for each thread."""
    return min(
        family.most_threads // family.warp_threads, max(1, floor_power(size // (family.warp_threads * per_thread)))
    )


def chunk(size: int, most: int, waste: float) -> int:
    """Return the largest power of two of which a few cover so many elements with little to spare."""
    if power(size) <= waste * size and (power(size) <= most or waste >= 2):
        return power(size)
    found = min(floor_power(size), most)
    while found > 32 and -(-size // found) * found > waste * size:
        found //= 2
    return found


def resident(
    g: Geometry, itemsize: int, family: Family, limit: int, *, waste: float, per_thread: int, vector: int
) -> Tile | None:
    """Return a tile of which a few hold whole statistics, or None where one has more than `limit` elements.

    Args:
        g: where those lie.
        itemsize: bytes of an element.
        family: constants of the device.
        limit: elements in all tiles of a statistic.
        waste: elements in tiles over elements that exist, at most.
        per_thread: elements for each thread.
        vector: bytes of each tile that a thread has at least.
    """
    rows, cols = g.rows, g.col.size
    side = power(cols) if g.col.stride == 1 else 1  # elements that lie side by side
    least = 1
    if g.inner.stride == (cols if g.col.stride == 1 else 1):
        least = min(power(-(-32 // (side * itemsize))), power(g.inner.size))
    long = power(cols) if power(cols) <= family.largest or waste >= 2 else chunk(cols, family.largest, waste)
    found = []
    for tile_rows, tile_cols in (
        (power(rows), chunk(cols, max(1, family.tile // power(rows)), waste)),
        (chunk(rows, max(1, family.tile // power(cols)), waste), long),
    ):
        row_tiles, col_tiles = -(-rows // tile_rows), -(-cols // tile_cols)
        if row_tiles > 1 and col_tiles > 1:
            continue  # a kernel walks along one of the two
        tiles = row_tiles * col_tiles
        padded = least * tile_rows * tile_cols * tiles
        if tiles <= family.most_tiles and padded <= limit:
            found.append((padded, tiles, tile_rows, tile_cols))
    if not found:
        return None
    padded, tiles, tile_rows, tile_cols = min(found)
    inner = max(least, min(floor_power(max(1, family.wanted * least // padded)), power(g.inner.size)))
    size = inner * tile_rows * tile_cols
    of_all = warps(size * tiles, per_thread, family)
    return Tile(inner, tile_rows, tile_cols, min(of_all, max(1, size * itemsize // (family.warp_threads * vector))))


def parts_tile(g: Geometry, itemsize: int, family: Family, *, backward: bool, activated: bool) -> Tile:
    """Return a tile for statistics that are cut into parts.

    Args:
        g: where those lie.
        itemsize: bytes of an element.
        family: constants of the device.
        backward: of a backward kernel.
        activated: an activation follows the norm.
    """
    wide = max(1, family.segment // itemsize)
    if g.col.stride == 1:
        cols = min(power(g.col.size), family.split)
        inner = 1
        if cols < wide and g.inner.stride == g.col.size:
            inner = min(power(g.inner.size), max(1, wide // cols))
    else:
        cols = 1
        inner = min(power(g.inner.size), wide)
    most, per_thread = family.split, family.per_thread
    if backward and inner > 1 and (itemsize < 4 or activated):
        # A thread has 4 or 8 channels, with 7 numbers each. With 32 elements it spills: for sm_90 96 loads and stores
        # in types of 16 bits, 35 to 92 in float32 with silu.
        most, per_thread = most // 2, per_thread // 2
    elif backward and activated and itemsize == 4 and g.rows == 2:
        per_thread //= 2  # groups of two channels, whose loop is unrolled: with silu 36 spill for sm_90, 48 for sm_100
    if g.rows > MOST_ROW_TILES and (g.row.channel or g.row_outer.channel):
        cols = min(cols, max(1, most // (inner * power(-(-g.rows // MOST_ROW_TILES)))))
    rows = min(power(g.rows), max(1, most // (cols * inner)))
    return Tile(inner, rows, cols, warps(inner * rows * cols, per_thread, family))


def tiles_per_part(tiles: int, units: int, multiprocessors: int, family: Family) -> int:
    """Return how many tiles one program takes, so that there are enough programs and not too many partial results."""
    wanted = max(1, -(-family.waves * multiprocessors // units))
    return max(1, tiles // min(wanted, tiles, 1024))


def adding(slots: int, width: int, multiprocessors: int) -> tuple[int, int]:
    """Return how many slots and entries one program adds up at a time.

    Entries are few where the tensor has few, so that they are not left to a few programs.
    """
    entries = max(4, min(32, floor_power(width // multiprocessors), power(width)))
    return min(power(slots), 2048 // entries), entries


def stages_that_fit(stages: int, loaded_bytes: int, family: Family) -> int:
    """Return so many of the stages as shared memory has room for: it holds all loads under way but the last round's.

    Args:
        stages: that are wanted.
        loaded_bytes: of one round of the loop.
        family: constants of the device.
    """
    return max(1, min(stages, (family.shared_bytes - 4096) // loaded_bytes + 1))
