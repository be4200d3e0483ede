"""Means and sums of squares of columns, row after row, folded into statistics."""

from ..decorators import fused_called, inlined
from ..elements import add, add_other, doubles, elements, get, load, prefetch, store, wide, wides
from ..finalizing import finalize, finalize_all, off_by_little, store_part
from ..sizes import SIZES
from .areas import BLOCK, LEAST_ROWS, NARROW, clear_sums, rows_of

_SAMPLES = SIZES.samples
_AHEAD = SIZES.column_ahead


@fused_called
def _add_fours(x, pivots, totals, squares, start, rows, stride, width):
    """Add to each column's Σ(x − pivot) and Σ(x − pivot)², four rows at a time."""
    for row in range(0, rows, 4):
        at = start + row * stride
        for i in range(0, 4 * width, 16):
            prefetch(x, at + _AHEAD + i)
        for i in range(width):
            pivot = get(pivots, i)
            d, e = get(x, at + i) - pivot, get(x, at + stride + i) - pivot
            f, g = get(x, at + 2 * stride + i) - pivot, get(x, at + 3 * stride + i) - pivot
            add(totals, i, (d + e) + (f + g), True)
            add_other(squares, i, (d * d + e * e) + (f * f + g * g), True)


@fused_called
def _add_rows(x, pivots, totals, squares, start, rows, stride, width):
    """Add to each column's Σ(x − pivot) and Σ(x − pivot)², row by row."""
    for row in range(rows):
        at = start + row * stride
        for i in range(width):
            d = get(x, at + i) - get(pivots, i)
            add(totals, i, d, True)
            add_other(squares, i, d * d, True)


@inlined
def _add_deviations(x, pivots, totals, squares, start, rows, stride, width):
    fours = rows // 4 * 4 if width <= NARROW else 0
    if fours:
        _add_fours(x, pivots, totals, squares, start, fours, stride, width)
    _add_rows(x, pivots, totals, squares, start + fours * stride, rows - fours, stride, width)


@inlined
def _guess(x, pivots, start, rows, stride, width):
    """Set each column's pivot, a guess of its mean, to the mean of a few rows from all over the block."""
    clear_sums(pivots, 0, width)
    for sample in range(_SAMPLES):
        at = start + (sample * rows) // _SAMPLES * stride
        for i in range(width):
            add(pivots, i, get(x, at + i), True)
    share = wide(1.0 / _SAMPLES, x)
    for i in range(width):
        store(pivots, i, load(pivots, i) * share)


@fused_called
def _correct(pivots, totals, squares, count, width):
    """Return whether each column's pivot was close enough to its mean; where one was not, replace all by the means."""
    close = True
    for i in range(width):
        close &= off_by_little(float(load(totals, i)), float(load(squares, i)), count)
    if not close:
        for i in range(width):
            store(pivots, i, wide(load(pivots, i) + load(totals, i) / count, pivots))
    return close


@fused_called
def _merge(means, m2s, n, pivots, totals, squares, count, width):
    """Merge each column's sums over `count` rows into its mean and Σ(x − mean)² over n rows."""
    share, per_row = count / (n + count), 1.0 / count
    for i in range(width):
        total, mean = float(load(totals, i)), load(means, i)
        off = total * per_row
        difference = load(pivots, i) + off - mean
        store(means, i, mean + difference * share)
        store(m2s, i, load(m2s, i) + (load(squares, i) - total * off) + difference * difference * n * share)


@fused_called
def _moments(a, data, area, outer, first, last):
    """Compute mean and Σ(x − mean)² of every column over rows `first` to `last`, and return the number of rows.

    They are stored in the first two parts of `area`. Where the norm does not centre, the second part holds Σx².
    """
    x, width, stride = elements(a.x, data), a.length, a.stride_row_inner
    means, m2s = doubles(area), doubles(area + 8 * width)
    pivots, totals, squares = (
        wides(area + 16 * width, data),
        wides(area + 24 * width, data),
        wides(area + 32 * width, data),
    )
    clear_sums(means, 0, width)
    clear_sums(m2s, 0, width)
    clear_sums(pivots, 0, width)
    step = max(LEAST_ROWS, BLOCK // width)
    n = 0.0
    for row in range(first, last, step):
        rows = min(step, last - row)
        at = outer * a.stride_outer + row * stride
        if a.centred and n == 0:
            _guess(x, pivots, at, rows, stride, width)
        elif a.centred:
            for i in range(width):
                store(pivots, i, wide(load(means, i), data))
        for again in range(2):
            clear_sums(totals, 0, width)
            clear_sums(squares, 0, width)
            _add_deviations(x, pivots, totals, squares, at, rows, stride, width)
            if again or not a.centred or _correct(pivots, totals, squares, float(rows), width):
                break
        if a.centred:
            _merge(means, m2s, n, pivots, totals, squares, float(rows), width)
        else:
            for i in range(width):
                store(m2s, i, load(m2s, i) + load(squares, i))
        n += rows
    return n


@fused_called
def _merge_places(means, m2s, rows, width, channels):
    """Merge the columns of each channel into its first column, and return the number of elements merged.

    Each column holds statistics over `rows` elements.
    """
    n = float(rows)
    for place in range(channels, width, channels):
        share = rows / (n + rows)
        for channel in range(channels):
            difference = get(means, place + channel) - load(means, channel)
            store(means, channel, load(means, channel) + difference * share)
            store(m2s, channel, load(m2s, channel) + get(m2s, place + channel) + difference * difference * n * share)
        n += rows
    return n


@inlined
def _fold(means, m2s, rows, first, width, channels, per_statistic):
    """Return n, mean and Σ(x − mean)² of all columns of one statistic, each over so many rows."""
    if width == channels and per_statistic == 1:
        return rows, load(means, first), load(m2s, first)
    columns = (width // channels) * per_statistic
    mean, m2 = 0.0, 0.0
    for place in range(first, width, channels):
        for column in range(place, place + per_statistic):
            mean += load(means, column)
            m2 += load(m2s, column)
    mean /= columns
    for place in range(first, width, channels):
        for column in range(place, place + per_statistic):
            difference = load(means, column) - mean
            m2 += rows * difference * difference
    return rows * columns, mean, m2


@fused_called
def find_statistics(a, data, task, area):
    """Compute the statistics of a task: finalized where the task has all of their rows, else stored as partial ones."""
    first_outer, last_outer, first, last = rows_of(a, task)
    means, m2s = doubles(area), doubles(area + 8 * a.length)
    per_statistic, part = a.channels // a.inner, task % a.parts
    for outer in range(first_outer, last_outer):
        rows = _moments(a, data, area, outer, first, last)
        alone = per_statistic == 1 and a.parts == 1  # each channel is a statistic, and this task has all of it
        if alone:
            n = _merge_places(means, m2s, rows, a.length, a.channels)
            finalize_all(a, data, outer * a.inner, a.inner, n, means, m2s)
        for inner in range(a.inner if alone else 0, a.inner):
            n, mean, m2 = _fold(means, m2s, rows, inner * per_statistic, a.length, a.channels, per_statistic)
            if a.parts == 1:
                finalize(a, data, outer * a.inner + inner, n, mean, m2)
            else:
                store_part(a, data, outer * a.inner + inner, part, n, mean, m2)
