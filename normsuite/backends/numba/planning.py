"""Plans of a norm's walk over one tensor: which kernels, with which sizes, strides and parts."""

import math
from dataclasses import dataclass

from ...spec import Axis
from .arguments import Arguments
from .columns import AREAS
from .segments import MOST
from .sizes import SIZES


@dataclass(frozen=True)
class Plan:
    """Kernels for one norm over tensors of one layout, with their sizes, strides and parts.

    Attributes:
        file: of the kernels: "segments" or "columns".
        per_element: a weight for each number of a statistic.
        transposed: (channels, places) of those weights, where the tensor's numbers lie place by place and theirs do
            not.
        statistics: how many.
        count: numbers in each.
        parts, backward_parts: tasks that share a statistic, in the forward and the backward kernel.
        slots: partial sums for each channel's gradient.
        numel: numbers in the tensor.
        run: numbers that are written side by side; 0 where none fit into the buffer of non-temporal stores.
        areas: float64 numbers that each thread works with.
        arguments: sizes and strides, with all addresses 0.
    """

    file: str
    per_element: bool
    transposed: tuple[int, int] | None
    statistics: int
    count: int
    parts: int
    backward_parts: int
    slots: int
    numel: int
    run: int
    areas: int
    arguments: Arguments


def parts_for(numel: int) -> int:
    """Return how many tasks share that many elements.

    It does not depend on the number of threads, so that sums are always added in the same order. It is even, since most
    processors have an even number of threads.
    """
    return 1 if numel < 2 * SIZES.part else min(SIZES.most_parts, 2 * round(numel / (2 * SIZES.part)))


def make(
    sizes: tuple[int, int, int, int],
    axes: frozenset[Axis],
    *,
    channels_last: bool,
    centred: bool,
    affine: bool,
    per_element: bool,
    frozen: bool,
) -> Plan:
    """Return the plan for a dense tensor.

    Args:
        sizes: (N, G, K, S) of the norm's view, with the spatial sizes in one.
        axes: averaged over.
        channels_last: the tensor lies as (N, S, G, K).
        centred: whether the mean is subtracted.
        affine: whether there is a weight or a bias.
        per_element: a weight for each number of a statistic; then all but the batch is averaged over.
        frozen: statistics are those of the channels, given.
    """
    n, g, k, s = sizes
    if s == 1 and (frozen or "batch" in axes):
        channels_last = True  # one place: its channels lie side by side
    if frozen:  # nothing is averaged: a contiguous tensor is walked through as it lies, row by row
        axes = frozenset({"batch", "spatial"} if channels_last else {"spatial"})
        g, k = g * k, 1
    fields = {"centred": centred, "frozen": frozen, "channels": g * k, "grain": 1, "batch": 1, "parts": 1}
    if per_element or (g == 1 and {"group", "spatial"} <= axes and not affine):
        return _of_samples((n, g * k, s), axes, fields, per_element=per_element, channels_last=channels_last)
    if not channels_last and "spatial" in axes:
        return _along_places((n, g, k, s), axes, fields, affine=affine)
    return _across_places((n, g, k, s), axes, fields)


def _of_samples(
    sizes: tuple[int, int, int], axes: frozenset[Axis], fields: dict, *, per_element: bool, channels_last: bool
) -> Plan:
    """Return the plan where a statistic takes whole samples, whatever the order of their numbers."""
    n, c, s = sizes
    batches = n if "batch" in axes else 1
    fields |= {"outer": 1, "inner": n // batches, "stride_inner": c * s, "length": c * s}
    fields |= {"row_outer": 1, "row_inner": batches, "stride_row_inner": c * s}
    return _segments(n * c * s, per_element, fields, (c, s) if per_element and channels_last else None)


def _along_places(sizes: tuple[int, int, int, int], axes: frozenset[Axis], fields: dict, *, affine: bool) -> Plan:
    """Return the plan for a contiguous tensor whose statistics take all places of a channel, which lie side by side."""
    n, g, k, s = sizes
    batch, group, c = "batch" in axes, "group" in axes, g * k
    over = k if group else 1
    rows = [(n, c * s, 0)] if batch else []  # how many, their stride, and by how many channels they lie apart
    length = s
    if group and not affine:  # neighbouring rows of one statistic are one row
        length = k * s
    else:
        rows.append((over, s, 1))
    rows = [(1, 0, 0), (1, 0, 0), *(row for row in rows if row[0] > 1)][-2:]
    (row_outer, stride_outer, channel_outer), (row_inner, stride_inner, channel_inner) = rows
    fields |= {
        "outer": 1 if batch else n, "inner": g if group else c, "length": length,
        "stride_outer": c * s, "stride_inner": over * s, "channel_inner": over,
        "row_outer": row_outer, "stride_row_outer": stride_outer, "channel_row_outer": channel_outer,
        "row_inner": row_inner, "stride_row_inner": stride_inner, "channel_row_inner": channel_inner,
    }  # fmt: skip
    return _segments(n * c * s, False, fields)


def _across_places(sizes: tuple[int, int, int, int], axes: frozenset[Axis], fields: dict) -> Plan:
    """Return the plan where the channels of a place lie side by side, or statistics are each of one place."""
    n, g, k, s = sizes
    batch, spatial, c = "batch" in axes, "spatial" in axes, g * k
    over = k if "group" in axes else 1
    outer, rows = (1 if batch else n) * (1 if spatial else s), (n if batch else 1) * (s if spatial else 1)
    fields |= {"outer": outer, "inner": c // over, "stride_outer": s * c if spatial and not batch else c}
    return _columns(n * c * s, rows, c if spatial else s * c, c, fields)


def _segments(numel: int, per_element: bool, fields: dict, transposed: tuple[int, int] | None = None) -> Plan:
    statistics = fields["outer"] * fields["inner"]
    count = numel // statistics

    def parts_if(shared: bool) -> int:
        return max(1, min(parts_for(numel), count // 4096)) if shared or statistics < SIZES.few_statistics else 1

    parts = parts_if(per_element and count > SIZES.row_in_cache)
    backward_parts = parts_if(per_element and count > SIZES.rows_in_cache)
    fields.update(parts=parts, tasks=statistics * parts, grain=max(1, min(MOST, 16384 // count)))
    slots = parts * fields["outer"]
    shares, run, arguments = (parts, backward_parts, slots), fields["length"], Arguments(**fields)
    return Plan("segments", per_element, transposed, statistics, count, *shares, numel, run, 0, arguments)


def _columns(numel: int, rows: int, stride: int, channels: int, fields: dict) -> Plan:
    together = 1
    if stride == channels and channels < SIZES.width:  # places side by side
        wanted = min(SIZES.width, SIZES.square * math.sqrt(rows * channels)) / channels
        divisors = [d for d in range(1, min(rows, int(4 * wanted)) + 1) if rows % d == 0] or [1]
        together = min(divisors, key=lambda d: abs(math.log(d / wanted)))
    rows, stride, width = rows // together, stride * together, channels * together
    outer = fields["outer"]
    parts = max(1, min(rows // SIZES.part_rows, parts_for(numel))) if outer < SIZES.few_statistics else 1
    tasks = outer * parts if parts > 1 else min(outer, parts_for(numel))
    fields.update(length=width, row_inner=rows, stride_row_inner=stride, parts=parts, tasks=tasks)
    statistics, areas = outer * fields["inner"], AREAS * width
    run = 0 if width > SIZES.buffer else rows * width if stride == width else width
    shares, arguments = (parts, parts, tasks), Arguments(**fields)
    return Plan("columns", False, None, statistics, numel // statistics, *shares, numel, run, areas, arguments)
