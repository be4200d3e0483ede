"""The forward pass over columns, as channels_last has them: statistics, and y written row by row."""

from numba import carray

from ..activations import activate
from ..arguments import arguments
from ..decorators import fused_called, fused_inlined
from ..elements import behind, elements, get, load, put, put_second, store, wides
from ..finalizing import STATISTICS, WRITE, affine, centred, end_forward, recall, scaled
from ..streaming import BUFFER, BUFFERS, buffer, stream
from ..tasks import loop
from .areas import NARROW, area_of_thread, rows_of
from .statistics import find_statistics


@fused_inlined
def spread_affine(a, data, area):
    """Return every column's bias and weight.

    Where a column is no channel, they are written to areas 5 and 7, once for a task.
    """
    shifts, weights = wides(area + 40 * a.length, data), wides(area + 56 * a.length, data)
    if a.length == a.channels and a.weight and a.bias:
        return wides(a.bias, data), wides(a.weight, data)
    for channel in range(a.channels):
        weight, bias = affine(a, data, channel)
        for column in range(channel, a.length, a.channels):
            store(shifts, column, bias)
            store(weights, column, weight)
    return shifts, weights


@fused_called
def repeat_columns(values, width, channels):
    """Copy the values of the first column of each channel into its other columns."""
    for place in range(channels, width, channels):
        for channel in range(channels):
            put(values, place + channel, get(values, channel))


@fused_inlined
def spread_columns(a, data, outer, area, shifts, weights):
    """Return every column's m, δ, rstd · weight, bias, rstd and weight.

    They are written to areas 2 to 7 where a column is no statistic.
    """
    ms, deltas, scales, rstds = (
        wides(area + 16 * a.length, data),
        wides(area + 24 * a.length, data),
        wides(area + 32 * a.length, data),
        wides(area + 48 * a.length, data),
    )
    if a.length == a.inner:
        stored, first, count = wides(a.statistics, data), outer * a.inner, a.outer * a.inner
        ms, deltas, rstds = (
            behind(stored, first),
            behind(stored, count + first),
            behind(stored, 2 * count + first),
        )
    else:
        per_statistic = a.channels // a.inner
        for inner in range(a.inner):
            m, delta, rstd = recall(a, data, outer * a.inner + inner)
            for column in range(inner * per_statistic, (inner + 1) * per_statistic):
                store(ms, column, m)
                store(deltas, column, delta)
                store(rstds, column, rstd)
        repeat_columns(ms, a.length, a.channels)
        repeat_columns(deltas, a.length, a.channels)
        repeat_columns(rstds, a.length, a.channels)
    for column in range(a.length):
        store(scales, column, load(rstds, column) * load(weights, column))
    return ms, deltas, scales, shifts, rstds, weights


@fused_called
def _write_pairs(x, y, ms, deltas, scales, shifts, rows, stride, y_stride, width, code):
    """Write y, two rows at a time, so that the statistics of the columns are read half as often.

    The rows of y begin `y_stride` elements from each other.
    """
    for row in range(0, rows, 2):
        at, to = row * stride, row * y_stride
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            d, e = centred(get(x, at + i), m, delta), centred(get(x, at + stride + i), m, delta)
            put(y, to + i, activate(scaled(d, scale, shift), code))
            put_second(y, to + y_stride + i, activate(scaled(e, scale, shift), code))


@fused_called
def _write_each(x, y, ms, deltas, scales, shifts, rows, stride, y_stride, width, code):
    """Write y, row by row; the rows of y begin `y_stride` elements from each other."""
    for row in range(rows):
        at, to = row * stride, row * y_stride
        for i in range(width):
            d = centred(get(x, at + i), get(ms, i), get(deltas, i))
            put(y, to + i, activate(scaled(d, get(scales, i), get(shifts, i)), code))


@fused_inlined
def _write_some_rows(x, y, ms, deltas, scales, shifts, rows, stride, y_stride, width, code):
    pairs = rows // 2 * 2 if width <= NARROW else 0
    if pairs:
        _write_pairs(x, y, ms, deltas, scales, shifts, pairs, stride, y_stride, width, code)
    x, y = behind(x, pairs * stride), behind(y, pairs * y_stride)
    _write_each(x, y, ms, deltas, scales, shifts, rows - pairs, stride, y_stride, width, code)


@fused_inlined
def stream_rows(y, here, rows, stride, width):
    """Write rows of `width` elements from the buffer `here` to rows of `y`, `stride` apart, by non-temporal stores."""
    if stride == width:
        stream(y, here, rows * width)
    else:
        for row in range(rows):
            stream(behind(y, row * stride), behind(here, row * width), width)


@fused_inlined
def _write_rows(x, y, ms, deltas, scales, shifts, start, rows, stride, width, code, streamed):
    here = buffer(y)
    group = BUFFERS * (BUFFER // width) if streamed else rows
    for first in range(0, rows, group):
        count, at = min(group, rows - first), start + first * stride
        to, y_stride = (here, width) if streamed else (behind(y, at), stride)
        _write_some_rows(behind(x, at), to, ms, deltas, scales, shifts, count, stride, y_stride, width, code)
        if streamed:
            stream_rows(behind(y, at), here, count, stride, width)


@fused_inlined
def _write(a, data, task, area, code, streamed):
    x, y = elements(a.x, data), elements(a.y, data)
    first_outer, last_outer, first, last = rows_of(a, task)
    shifts, weights = spread_affine(a, data, area)
    for outer in range(first_outer, last_outer):
        ms, deltas, scales, _, _, _ = spread_columns(a, data, outer, area, shifts, weights)
        _write_rows(
            x, y, ms, deltas, scales, shifts, outer * a.stride_outer + first * a.stride_row_inner, last - first,
            a.stride_row_inner, a.length, code, streamed,
        )  # fmt: skip


@fused_inlined
def _do(a, data, area, task, last, code, streamed):
    if a.phase & STATISTICS:
        find_statistics(a, data, task, area)
    if a.phase & WRITE:
        _write(a, data, task, area, code, streamed)


_tasks = loop(area_of_thread, _do, end_forward, grained=False)


def forward(code, streamed):
    """Return the kernel of y = act(((x − m) − δ) · rstd · weight + bias)."""

    def columns_forward(data):
        _tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return columns_forward
