"""The backward pass over columns, as channels_last has them: gradients of input, weight and bias."""

from numba import carray

from ..activations import pull
from ..arguments import arguments
from ..decorators import fused_called, fused_inlined, inlined
from ..elements import add, add_other, behind, doubles, elements, get, load, put, put_second, store, wide, wides
from ..finalizing import (
    STATISTICS,
    WRITE,
    affine,
    all_sums,
    centred,
    end_backward,
    less,
    pull_one,
    scaled,
    store_sums,
)
from ..streaming import BUFFER, BUFFERS, buffer
from ..tasks import loop
from .areas import BLOCK, LEAST_ROWS, NARROW, area_of_thread, clear_sums, rows_of
from .forward import repeat_columns, spread_affine, spread_columns, stream_rows


@fused_called
def _pull_fours(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    """Add to each column's Σg and Σg·((x − m) − δ), over fours of rows."""
    for row in range(0, rows, 4):
        at = start + row * stride
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            g0, gd0 = pull_one(x, dy, at + i, m, delta, scale, shift, code)
            g1, gd1 = pull_one(x, dy, at + stride + i, m, delta, scale, shift, code)
            g2, gd2 = pull_one(x, dy, at + 2 * stride + i, m, delta, scale, shift, code)
            g3, gd3 = pull_one(x, dy, at + 3 * stride + i, m, delta, scale, shift, code)
            add(totals, i, (g0 + g1) + (g2 + g3), True)
            add_other(weighted, i, (gd0 + gd1) + (gd2 + gd3), True)


@fused_called
def _pull_each(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    """Add to each column's Σg and Σg·((x − m) − δ), row by row."""
    for row in range(rows):
        at = start + row * stride
        for i in range(width):
            g, gd = pull_one(x, dy, at + i, get(ms, i), get(deltas, i), get(scales, i), get(shifts, i), code)
            add(totals, i, g, True)
            add_other(weighted, i, gd, True)


@fused_inlined
def _pull_rows(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    fours = rows // 4 * 4 if width <= NARROW else 0
    if fours:
        _pull_fours(x, dy, ms, deltas, scales, shifts, totals, weighted, start, fours, stride, width, code)
    start += fours * stride
    _pull_each(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows - fours, stride, width, code)


@fused_called
def _add_places(sums, width, channels):
    """Add the sums of each channel's other columns to those of its first column."""
    for place in range(channels, width, channels):
        for channel in range(channels):
            add(sums, channel, get(sums, place + channel), True)


@fused_inlined
def _pull_part(a, data, task, outer, area, spread, first, last, code):
    """Add Σg·x̂ and Σg of every channel over those rows to the task's slot of `sums`.

    The weighted sums of each statistic are stored as this part's partial sums.
    """
    x, dy, sums = elements(a.x, data), elements(a.dy, data), doubles(a.sums)
    width = a.length
    ms, deltas, scales, shifts, rstds, _ = spread
    totals64, weighted64 = doubles(area), doubles(area + 8 * width)
    # `spread` takes the areas before these two.
    totals, weighted = wides(area + 64 * width, data), wides(area + 72 * width, data)
    clear_sums(totals64, 0, width)
    clear_sums(weighted64, 0, width)
    step = max(LEAST_ROWS, BLOCK // width)
    for row in range(first, last, step):
        rows = min(step, last - row)
        clear_sums(totals, 0, width)
        clear_sums(weighted, 0, width)
        at = outer * a.stride_outer + row * a.stride_row_inner
        _pull_rows(x, dy, ms, deltas, scales, shifts, totals, weighted, at, rows, a.stride_row_inner, width, code)
        for i in range(width):
            store(totals64, i, load(totals64, i) + load(totals, i))
            store(weighted64, i, load(weighted64, i) + load(weighted, i))
    _add_places(totals64, width, a.channels)
    _add_places(weighted64, width, a.channels)
    per_statistic, part = a.channels // a.inner, task % a.parts
    for inner in range(a.inner):
        all_g, all_gx = 0.0, 0.0
        for channel in range(inner * per_statistic, (inner + 1) * per_statistic):
            g, gx = load(totals64, channel), load(weighted64, channel) * float(load(rstds, channel))
            weight, _ = affine(a, data, channel)
            all_g += weight * g
            all_gx += weight * gx
            if a.sums:
                slot = 2 * (task * a.channels + channel)
                store(sums, slot, load(sums, slot) + gx)
                store(sums, slot + 1, load(sums, slot + 1) + g)
        store_sums(a, data, outer * a.inner + inner, part, all_g, all_gx)


@fused_inlined
def _dx(x, dy, at, of_column, code):
    """Return rstd · ((weight·g − mean_g) − x̂·mean_gx) of one number.

    Frozen statistics have means of 0, and x̂ may be infinite there.
    """
    m, delta, scale, shift, rstd, weight, mean_g, mean_gx = of_column
    d = centred(get(x, at), m, delta)
    g = pull(get(dy, at), scaled(d, scale, shift), code)
    own = less(weight * g, mean_g)
    return rstd * (own if mean_gx == 0 else own - (d * rstd) * mean_gx)


@fused_called
def _write_dx_pairs(x, dy, dx, columns, rows, stride, dx_stride, width, code):
    """Write dx, two rows at a time; the rows of dx begin `dx_stride` elements from each other."""
    ms, deltas, scales, shifts, rstds, weights, means_g, means_gx = columns
    for row in range(0, rows, 2):
        at, to = row * stride, row * dx_stride
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            rstd, weight, mean_g, mean_gx = get(rstds, i), get(weights, i), get(means_g, i), get(means_gx, i)
            of_column = m, delta, scale, shift, rstd, weight, mean_g, mean_gx
            put(dx, to + i, _dx(x, dy, at + i, of_column, code))
            put_second(dx, to + dx_stride + i, _dx(x, dy, at + stride + i, of_column, code))


@fused_called
def _write_dx_each(x, dy, dx, columns, rows, stride, dx_stride, width, code):
    """Write dx, row by row; the rows of dx begin `dx_stride` elements from each other."""
    ms, deltas, scales, shifts, rstds, weights, means_g, means_gx = columns
    for row in range(rows):
        at, to = row * stride, row * dx_stride
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            rstd, weight, mean_g, mean_gx = get(rstds, i), get(weights, i), get(means_g, i), get(means_gx, i)
            put(dx, to + i, _dx(x, dy, at + i, (m, delta, scale, shift, rstd, weight, mean_g, mean_gx), code))


@fused_inlined
def _write_some_dx(x, dy, dx, columns, rows, stride, dx_stride, width, code):
    pairs = rows // 2 * 2 if width <= NARROW else 0
    if pairs:
        _write_dx_pairs(x, dy, dx, columns, pairs, stride, dx_stride, width, code)
    x, dy, dx = behind(x, pairs * stride), behind(dy, pairs * stride), behind(dx, pairs * dx_stride)
    _write_dx_each(x, dy, dx, columns, rows - pairs, stride, dx_stride, width, code)


@fused_inlined
def _write_dx(x, dy, dx, columns, start, rows, stride, width, code, streamed):
    here = buffer(dx)
    group = BUFFERS * (BUFFER // width) if streamed else rows
    for first in range(0, rows, group):
        count, at = min(group, rows - first), start + first * stride
        to, dx_stride = (here, width) if streamed else (behind(dx, at), stride)
        _write_some_dx(behind(x, at), behind(dy, at), to, columns, count, stride, dx_stride, width, code)
        if streamed:
            stream_rows(behind(dx, at), here, count, stride, width)


@fused_inlined
def _pull_back(a, data, outer, area, spread, first, last, code, streamed):
    """Write dx = rstd · ((weight·g − mean_g) − x̂·mean_gx)."""
    x, dy, dx = elements(a.x, data), elements(a.dy, data), elements(a.y, data)
    width = a.length
    means_g, means_gx = wides(area + 64 * width, data), wides(area + 72 * width, data)
    per_statistic = a.channels // a.inner
    n = a.row_inner * (width // a.channels) * per_statistic
    for inner in range(a.inner):
        all_g, all_gx = 0.0, 0.0
        if not a.frozen:
            all_g, all_gx = all_sums(a, data, outer * a.inner + inner)
        mean_g = wide(all_g / n, data) if a.centred else wide(0, data)
        mean_gx = wide(all_gx / n, data)
        for column in range(inner * per_statistic, (inner + 1) * per_statistic):
            store(means_g, column, mean_g)
            store(means_gx, column, mean_gx)
    repeat_columns(means_g, width, a.channels)
    repeat_columns(means_gx, width, a.channels)
    columns = (*spread, means_g, means_gx)
    start, rows = outer * a.stride_outer + first * a.stride_row_inner, last - first
    _write_dx(x, dy, dx, columns, start, rows, a.stride_row_inner, width, code, streamed)


@fused_inlined
def _do(a, data, area, task, _, code, streamed):
    if a.phase & STATISTICS and a.sums:
        clear_sums(doubles(a.sums), 2 * task * a.channels, 2 * a.channels)
    first_outer, last_outer, first, last = rows_of(a, task)
    shifts, weights = spread_affine(a, data, area)
    for outer in range(first_outer, last_outer):
        spread = spread_columns(a, data, outer, area, shifts, weights)
        if a.phase & STATISTICS:
            _pull_part(a, data, task, outer, area, spread, first, last, code)
        if a.phase & WRITE:
            _pull_back(a, data, outer, area, spread, first, last, code, streamed)


@inlined
def _end(a, data, last):
    end_backward(a, data, last, a.tasks)


_tasks = loop(area_of_thread, _do, _end, grained=False)


def backward(code, streamed):
    """Return the kernel of dx, dweight and dbias.

    dx = rstd · (weight·g − mean(weight·g) − x̂ · mean(weight·g·x̂)); dweight = Σ g·x̂ and dbias = Σ g of each channel.
    """

    def columns_backward(data):
        _tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return columns_backward
