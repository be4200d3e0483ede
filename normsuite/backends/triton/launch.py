"""The kernels that one kind of call runs, in their order, with their tiles."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import triton

from .._kernels import ROWS
from . import merging, resident, spanning, tiles
from .geometry import Geometry, by_channel
from .queueing import Queue, kind, run
from .tiles import Family
from .work import PARAMETER_BYTES, Shares, Work, align_of, classes_of, few_places, shares_channels, tiles_of, units_of

MOST_OFFSET = 2**31 - 2**20
"""Offsets above this need 64 bits, those of a tile beyond the end included."""


@dataclass(frozen=True, eq=False)
class Launch:
    """A norm over tensors of one geometry.

    Attributes:
        geometry: where statistics and their elements lie.
        centred, activation, eps: of the norm.
        frozen: normalised by the running statistics.
        itemsize: bytes of an element.
        multiprocessors: of the device.
        family: what that device likes.
        run: queues a kernel.
        bound: what queues the kernels that were queued before, by kernel and kinds of arguments.
    """

    geometry: Geometry
    centred: bool
    activation: str | None
    frozen: bool
    eps: float
    itemsize: int
    multiprocessors: int
    family: Family = tiles.HOPPER
    run: Callable[..., Queue | None] = run
    bound: dict[tuple, Queue] = field(default_factory=dict)

    def _queue(
        self, kernel, grid: tuple[int, int], arguments: tuple, named: Callable[[], dict], differs: tuple = ()
    ) -> None:
        """Queue a kernel.

        Args:
            kernel, grid: what is queued, and for how many programs.
            arguments: those by place, which may differ from call to call.
            named: makes those by name, which are bound when the kernel is queued first.
            differs: the values that `named` depends on, beside this launch and the kinds of `arguments`.
        """
        key = (kernel, grid, differs, *map(kind, arguments))
        queue = self.bound.get(key)
        if queue is not None:
            queue(*arguments)
            return
        queue = self.run(kernel, grid, *arguments, **named())
        if queue is not None:
            self.bound[key] = queue

    @property
    def statistics(self) -> int:
        """Return how many statistics the tensors have."""
        return self.geometry.statistics

    def forward(self, x, y, statistics, weight, bias, running, momentum: float) -> None:
        """Write y, and `statistics` (4, number) unless it is None; move `running` where it is given."""
        running_mean, running_var = running or (None, None)
        work = self._forward_work
        save = statistics is not None and work.source != "memory"
        if work.source == "memory":
            if statistics is None:
                statistics = x.new_empty((ROWS, self.statistics), dtype=torch.float32)
            self._merge(x, statistics, running_mean, running_var, momentum)
            running_mean = running_var = None
        numbers = (self.eps, momentum, float(self.geometry.count))
        given = (x, y, weight, bias, statistics, running_mean, running_var, *numbers)
        if work.source == "registers":
            self._queue(
                resident.forward_resident, (self._programs(work, work.stages), 1), given,
                lambda: {
                    "SAVE": save, "units": work.units, "STAGES": work.stages,
                    **self._resident(work), **self._channels(work.geometry),
                    **tiles.register_limit(work.tile.warps, self._at_a_time(work, x.dtype), self.family),
                },
            )  # fmt: skip
        else:
            self._queue(
                spanning.forward, (work.units, work.parts), given,
                lambda: {
                    "tiles": work.tiles, "tiles_per_part": work.per_part, "SOURCE": work.source, "SAVE": save,
                    **self._walk(work), **self._channels(work.geometry),
                },
            )  # fmt: skip

    def _merge(self, x, statistics, running_mean, running_var, momentum) -> None:
        """Compute the statistics of several programs each."""
        work, number = self._forward_work, self.statistics
        partial = x.new_empty((3, work.parts, number * work.pieces), dtype=torch.float64)
        self._queue(
            spanning.partial_statistics, (work.units, work.parts), (x, partial),
            lambda: {"tiles": work.tiles, "tiles_per_part": work.per_part, **self._walk(work)},
        )  # fmt: skip
        p, block = tiles.adding(work.parts * work.pieces, number, self.multiprocessors)
        self._queue(
            merging.finalize, (triton.cdiv(number, block), 1),
            (partial, statistics, running_mean, running_var, self.eps, momentum, work.parts, number),
            lambda: {
                "PIECES": work.pieces, "P": p, "A": block, "num_warps": 4, **tiles.register_limit(4, 1, self.family)
            },
        )  # fmt: skip

    def backward(self, dy, x, statistics, weight, bias, dx, dweight, dbias) -> None:
        """Write dx, dweight and dbias, each unless it is None."""
        work, g, shares = self._backward_work, self.geometry, self._backward_shares
        sums = self._sums(dy, x, statistics, weight, bias) if work.source == "memory" else None
        width, partial, shifts = g.channels * (1 if dbias is None else 2), None, dbias is not None
        if dweight is not None:
            partial = x.new_empty((shares.slots, width), dtype=torch.float32)
        common = {"units": work.units, "slots_row": shares.slots_row, "width": width, "SHIFTS": shifts}
        if work.source == "registers":
            self._queue(
                resident.backward_resident, (shares.programs, work.tiles // work.own),
                (x, dy, dx, weight, bias, statistics, partial, float(g.count)),
                lambda: {
                    **common, "SHARED": self._shared, "APART": self._apart(work), "OWN": work.own,
                    "STAGES": work.stages, **self._resident(work), **self._channels(g),
                },
                (shifts,),
            )  # fmt: skip
        else:
            across = 1 if work.source == "program" else shares.fixed
            self._queue(
                spanning.backward, (shares.programs, shares.walks * across),
                (x, dy, dx, weight, bias, statistics, sums, partial, float(g.count)),
                lambda: {
                    **common, "row_tiles": work.row_tiles, "col_tiles": work.col_tiles,
                    "fixed_tiles": shares.fixed, "walks": shares.walks, "tiles_per_walk": shares.per_walk,
                    "SOURCE": work.source, "WALK": shares.walk,
                    **self._walk(work), **self._channels(work.geometry),
                },
                (shifts,),
            )  # fmt: skip
        if partial is not None:
            self._add_up(partial, dweight, dbias, shares.slots, width, g.channels, 1.0, 1)

    def _sums(self, dy, x, statistics, weight, bias) -> torch.Tensor:
        """Return the means of g·weight and of g·weight·x_hat of statistics of several programs each."""
        work, number = self._backward_work, self.statistics
        partial = x.new_empty((work.parts, 2 * number * work.pieces), dtype=torch.float32)
        sums = x.new_empty((2, number), dtype=torch.float32)
        self._queue(
            spanning.partial_sums, (work.units, work.parts), (x, dy, weight, bias, statistics, partial),
            lambda: {
                "tiles": work.tiles, "tiles_per_part": work.per_part,
                **self._walk(work), **self._channels(work.geometry),
            },
        )  # fmt: skip
        count = self.geometry.count
        self._add_up(partial, sums, None, work.parts, 2 * number, 2 * number, 1.0 / count, work.pieces)
        return sums

    def _add_up(self, partial, result, second, slots, width, half, scale, pieces) -> None:
        s, block = tiles.adding(slots * pieces, width, self.multiprocessors)
        self._queue(
            merging.add_up, (triton.cdiv(width, block), 1),
            (partial, result, second, slots, width, half, scale, pieces, s, block),
            lambda: {"num_warps": 4, **tiles.register_limit(4, 1, self.family)},
        )  # fmt: skip

    def _apart(self, work: Work) -> bool:
        """Return whether the tiles of a statistic have channels of their own."""
        g = self.geometry
        return g.col.channel != 0 if work.row_tiles == 1 else g.row.channel != 0 or g.row_outer.channel != 0

    @cached_property
    def _forward_work(self) -> Work:
        return self._work(self.family.resident, backward=False)

    @cached_property
    def _backward_work(self) -> Work:
        return self._work(self.family.resident_backward, backward=True)

    @cached_property
    def _shared(self) -> bool:
        """Return whether a program takes several units, of the same channels, and has one sum for each channel."""
        work, g = self._backward_work, self.geometry
        is_usual = shares_channels(g) or (work.tiles == 1 and few_places(g, self.itemsize))
        period, _ = classes_of(work.geometry, work.tile)
        return is_usual and work.units > period and work.source != "program"

    @cached_property
    def _backward_shares(self) -> Shares:
        work, family = self._backward_work, self.family
        g = work.geometry
        walk = "rows" if g.col.channel else "cols" if g.row.channel or g.row_outer.channel else "both"
        along = {"rows": work.row_tiles, "cols": work.col_tiles, "both": work.tiles}[walk]
        fixed = work.tiles // along
        per_walk = along
        if work.source in ("memory", "running"):
            per_walk = tiles.tiles_per_part(along, work.units * fixed, self.multiprocessors, family)
        walks = triton.cdiv(along, per_walk)
        programs, slots = work.units, 1
        if self._shared:
            if work.source == "registers":
                programs = self._programs(work, 2, across=work.tiles // work.own)
            else:
                ahead_bytes = max(1, self._stages(work) - 1) * self._loaded_bytes(work)
                persistent = min(self._of_parts(g).persistent, max(1, family.shared_bytes // ahead_bytes))
                programs = min(work.units, max(1, persistent * self.multiprocessors // (fixed * walks)))
            if not shares_channels(g):
                programs = min(programs, family.persistent * self.multiprocessors)
            period, classes = classes_of(g, work.tile)
            programs = max(1, programs // period) * period
            slots = programs // classes
        else:
            blocks = triton.cdiv(g.inner.size, work.tile.inner)
            for dim, size in ((g.outer, g.outer.size), (g.middle, g.middle.size), (g.inner, blocks)):
                slots *= 1 if dim.channel else size
        slots_row = g.row_outer.size if g.row.channel and not g.row_outer.channel else 1
        return Shares(walk, fixed, walks, per_walk, programs, slots * walks * slots_row, slots_row)

    def _programs(self, work: Work, stages: int, across: int = 1) -> int:
        """Return the number of programs of a kernel that holds whole statistics.

        That is one for each unit, or, where loads are under way in a loop, as many as run at a time. Of these,
        `across` share a unit.
        """
        if stages == 1:
            return work.units
        size = work.tile.size * work.tiles * self.itemsize
        each = max(1, min(self.family.most_programs, self.family.in_flight // size))
        return min(work.units, max(1, each * self.multiprocessors // across))

    def _work(self, limit: int, *, backward: bool) -> Work:
        g, family, processors = self.geometry, self.family, self.multiprocessors
        if not self.frozen:
            work = self._resident_work(limit, backward=backward)
            if work is not None and (work.units >= processors // 2 or g.count < family.split):
                return work
            tile = self._parts_tile(g, backward=backward)
            units = units_of(g, tile)
            at_once = min(units, 2 * processors) * tile.inner * g.count * self.itemsize * (2 if backward else 1)
            # A program has the sums of one unit's channels. Where all have the same ones, that would be as many sums as
            # there are units, which take more memory than the tensor.
            is_alone = not (backward and shares_channels(g))
            if is_alone and units >= processors and at_once <= family.cached_bytes:
                row_tiles, col_tiles = tiles_of(g, tile)
                return Work("program", g, tile, row_tiles, col_tiles, units, row_tiles * col_tiles)
        g, pieces = (g, 1) if self.frozen else by_channel(g, family.segment)
        tile = self._parts_tile(g, backward=backward)
        row_tiles, col_tiles = tiles_of(g, tile)
        units = units_of(g, tile)
        per_part = tiles.tiles_per_part(row_tiles * col_tiles, units, processors, family)
        return Work("running" if self.frozen else "memory", g, tile, row_tiles, col_tiles, units, per_part, pieces)

    def _stages(self, work: Work) -> int:
        """Return how many loads of a tile are under way in the loops of kernels that walk over parts."""
        return tiles.stages_that_fit(self.family.stages, self._loaded_bytes(work), self.family)

    def _loaded_bytes(self, work: Work) -> int:
        """Return what a round of a backward kernel's loop loads: x, dy, and what each element has of an affine map."""
        parameters = 1 + (self.activation is not None) if work.geometry.col.channel else 0
        return work.tile.size * (2 * self.itemsize + parameters * PARAMETER_BYTES)

    def _parts_tile(self, g: Geometry, *, backward: bool) -> tiles.Tile:
        activated = self.activation is not None
        return tiles.parts_tile(g, self.itemsize, self._of_parts(g), backward=backward, activated=activated)

    def _of_parts(self, g: Geometry) -> Family:
        """Return the constants for tensors that are cut into parts."""
        if g.rows > 1 or not g.col.channel or align_of(g) * self.itemsize >= 8:
            return self.family
        # Rows whose elements are loaded one by one: with 32 for each thread, 286 loads and stores of 24,577 spill.
        return replace(self.family, per_thread=self.family.per_thread // 2, persistent=1)

    def _resident_work(self, limit: int, *, backward: bool) -> Work | None:
        g, family = self.geometry, self.family
        per_row = backward and g.col.channel != 0 and g.rows == 1  # gradients of a weight for each element are kept too
        is_aligned = align_of(g) * self.itemsize >= 8
        if not backward and g.col.channel and (self.itemsize == 4 or tiles.power(g.count) > g.count):
            limit = min(limit, family.resident_rows)
        if not backward and not is_aligned:
            limit = min(limit, family.resident_single)
        waste, per_thread = family.waste, family.per_thread
        if backward and self.activation is not None and not is_aligned:
            family = replace(family, tile=family.tile_activated)
        if per_row and not is_aligned and g.col.size <= family.kept:  # of 4,097 in one tile of 8,192 it spills
            waste, per_thread = 1.25, per_thread // 2
        elif per_row:
            waste = 2.0
        elif backward and not shares_channels(g) and few_places(g, self.itemsize):
            per_thread //= 2  # a program has the sums of its channels, too: with silu it spills 45 loads and stores
        vector = 16 if is_aligned else self.itemsize
        tile = tiles.resident(g, self.itemsize, family, limit, waste=waste, per_thread=per_thread, vector=vector)
        if tile is None:
            return None
        row_tiles, col_tiles = tiles_of(g, tile)
        own = row_tiles * col_tiles
        if per_row and own == 1 and tile.size > family.kept:
            if not shares_channels(g):  # programs that share a row add up for the channels of all rows
                return None
            few = tile.warps * family.warp_threads * 16 // self.itemsize  # a vector for each thread: larger tiles spill
            own, col_tiles = family.kept_long // few, tile.size // few
            tile = tiles.Tile(1, 1, few, tile.warps)
        if backward:  # x, dy and the weight, unless that is not loaded in the loop; for an activation the bias too
            stages = family.stages if per_row else 1
            tensors, parameters = 2, 0 if own < row_tiles * col_tiles else 1 + (self.activation is not None)
        else:  # x, and the weight and bias where they are as long
            is_wide = g.col.size * self.itemsize >= family.segment  # else each vector takes an address of its own
            stages = 2 if g.count * self.itemsize >= family.ahead and is_wide else 1
            tensors, parameters = 1, 2 if g.col.channel else 0
        element_bytes = tensors * self.itemsize + parameters * PARAMETER_BYTES
        stages = tiles.stages_that_fit(stages, tile.size * row_tiles * col_tiles * element_bytes, family)
        return Work(
            "registers", g, tile, row_tiles, col_tiles, units_of(g, tile), row_tiles * col_tiles,
            stages=stages if is_aligned else 1, own=own,
        )  # fmt: skip

    def _walk(self, work: Work) -> dict:
        """Return the arguments of every kernel on the geometry and the tile."""
        g, tile, align = work.geometry, work.tile, align_of(work.geometry)
        even = 4 * (g.inner.size % tile.inner == 0)
        # By the tiles that there are: of a row whose tiles programs share there may be more than the row needs.
        even += 2 * (work.row_tiles * tile.rows == g.rows) + (work.col_tiles * tile.cols == g.col.size)
        return {
            "blocks": triton.cdiv(g.inner.size, tile.inner),
            "middle": g.middle.size,
            "inner": g.inner.size,
            "rows": g.rows,
            "row": g.row.size,
            "cols": g.col.size,
            "number": self.statistics,
            "outer_stride": g.outer.stride,
            "middle_stride": g.middle.stride,
            "inner_stride": g.inner.stride,
            "row_outer_stride": g.row_outer.stride,
            "row_stride": g.row.stride,
            "col_stride": g.col.stride,
            "TWO_LEVELS": g.row_outer.size > 1,
            "CENTRED": self.centred,
            "PIECES": work.pieces,
            "EVEN": int(even),
            "WIDE": g.span > MOST_OFFSET,
            "ALIGN": align,
            "INNER_ALIGN": align if g.inner.stride == 1 and g.inner.size % align == 0 else 1,
            "COL_ALIGN": align if g.col.stride == 1 and g.col.size % align == 0 else 1,
            "A": tile.inner,
            "R": tile.rows,
            "L": tile.cols,
            "STAGES": self._stages(work),
            "num_warps": tile.warps,
            **tiles.register_limit(tile.warps, 1, self.family),
        }

    def _at_a_time(self, work: Work, dtype: torch.dtype) -> int:
        """Return the number of programs of a forward kernel that are to fit onto a multiprocessor.

        That is two of half its threads, where their elements fit too. Those of float16, whose mean has a correction,
        and those that are loaded one by one do not.
        """
        few = work.tile.size * work.tiles <= 16384 and align_of(work.geometry) * self.itemsize >= 8
        half = work.tile.warps == 16 and dtype == torch.bfloat16 and work.stages == 1 and few
        return 2 if half else 1

    def _resident(self, work: Work) -> dict:
        """Return the arguments on geometry and tile of a kernel that holds whole statistics."""
        of_tile = self._walk(work) | {"TILES": work.tiles, "ALONG_ROWS": work.row_tiles > 1}
        for unknown in ("STAGES", "PIECES"):
            del of_tile[unknown]
        return of_tile

    def _channels(self, g: Geometry) -> dict:
        """Return the arguments on the affine map of the kernels that apply it."""
        return {
            "channels": g.channels,
            "C_OUTER": g.outer.channel,
            "C_MIDDLE": g.middle.channel,
            "C_INNER": g.inner.channel,
            "C_ROW_OUTER": g.row_outer.channel,
            "C_ROW": g.row.channel,
            "C_COL": g.col.channel,
            "ACTIVATION": self.activation,
        }
