"""Means and sums of squares, block by block: deviations from a guess of the mean, corrected by how far it was off."""

from ..decorators import called, inlined, summed_called, summed_inlined
from ..elements import behind, doubles, elements, get, load, store, wide
from ..finalizing import finalize_all, merge, off_by_little, store_part
from ..sizes import SIZES
from ..streaming import buffer
from .blocks import MOST, ask_for, block_at, blocks_of, part_of, statistic_at

_SAMPLES = SIZES.samples


@summed_called
def _deviations(x, start, rows, stride, length, mean):
    """Return Σ(x − mean) and Σ(x − mean)²."""
    total, squares = wide(0, x), wide(0, x)
    for row in range(rows):
        at, own, own_squares = start + row * stride, wide(0, x), wide(0, x)
        ask_for(x, at, stride, length, row + 1 < rows)
        for i in range(length):
            d = get(x, at + i) - mean
            own += d
            own_squares += d * d
        total += own
        squares += own_squares
    return total, squares


@summed_called
def _deviations_by_fours(x, start, rows, stride, length, mean):
    """Return what `_deviations` does, of four rows or more, four at a time.

    The processor reads them at once, and what vector registers hold is added up once for all four.
    """
    total, squares = wide(0, x), wide(0, x)
    fours = rows // 4 * 4
    for row in range(0, fours, 4):
        at, own, own_squares = start + row * stride, wide(0, x), wide(0, x)
        for i in range(at, at + length):
            d0, d1 = get(x, i) - mean, get(x, i + stride) - mean
            d2, d3 = get(x, i + 2 * stride) - mean, get(x, i + 3 * stride) - mean
            own += (d0 + d1) + (d2 + d3)
            own_squares += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        total += own
        squares += own_squares
    own, own_squares = _deviations(x, start + fours * stride, rows - fours, stride, length, mean)
    return total + own, squares + own_squares


@summed_inlined
def _deviations_of_block(x, start, rows, stride, length, mean):
    if rows >= 4:
        return _deviations_by_fours(x, start, rows, stride, length, mean)
    return _deviations(x, start, rows, stride, length, mean)


@summed_called
def _squares(x, start, rows, stride, length):
    squares = wide(0, x)
    for row in range(rows):
        at, own = start + row * stride, wide(0, x)
        ask_for(x, at, stride, length, row + 1 < rows)
        for i in range(length):
            value = get(x, at + i)
            own += value * value
        squares += own
    return squares


@summed_inlined
def _guess(x, start, rows, stride, length, sampled):
    """Return the mean of a few elements of the block: of all its rows, and of up to `sampled` numbers of each."""
    total, span = wide(0, x), min(length, sampled)
    for sample in range(_SAMPLES):
        total += load(x, start + (sample * rows // _SAMPLES) * stride + sample * span // _SAMPLES)
    return total * wide(1 / _SAMPLES, x)


@summed_inlined
def _moments_of_block(x, start, rows, stride, length, pivot):
    """Return mean and Σ(x − mean)² of a block, from `pivot`, a guess of the mean."""
    count = float(rows * length)
    total, squares = _deviations_of_block(x, start, rows, stride, length, pivot)
    if not off_by_little(total, squares, count):
        pivot = wide(pivot + total / count, x)
        total, squares = _deviations_of_block(x, start, rows, stride, length, pivot)
    off = total / count
    return pivot + off, squares - total * off


@called
def _moments(a, x, start, shape, first, last):
    """Return n, mean and Σ(x − mean)² of those blocks of the statistic at `start`.

    Where the norm does not centre: n, 0 and Σx².
    """
    n, mean, m2 = 0.0, 0.0, 0.0
    for index in range(first, last):
        offset, _, rows, _, length = block_at(a, shape, index)
        count, at, stride = float(rows * length), start + offset, a.stride_row_inner
        if stride == length:  # rows one after the other
            rows, length = 1, rows * length
        if a.centred:
            pivot = _guess(x, at, rows, stride, length, a.sampled) if n == 0 else wide(mean, x)
            here, here_m2 = _moments_of_block(x, at, rows, stride, length, pivot)
            if n == 0:
                n, mean, m2 = count, here, here_m2
            else:
                n, mean, m2 = merge(n, mean, m2, count, here, here_m2)
        else:
            n += count
            m2 += _squares(x, at, rows, stride, length)
    return n, mean, m2


@called
def _moments_of_short_rows(a, x, first, last, means, m2s):
    """Store mean and Σ(x − mean)² of statistics that are one short row each."""
    length, centres, inner, turns = a.length, a.centred, a.stride_inner, a.inner
    outer, place = divmod(first, turns)
    for i in range(last - first):
        at = outer * a.stride_outer + place * inner
        if centres:
            mean, m2 = _moments_of_block(x, at, 1, 0, length, _guess(x, at, 1, 0, length, a.sampled))
        else:
            mean, m2 = 0.0, float(_squares(x, at, 1, 0, length))
        store(means, i, mean)
        store(m2s, i, m2)
        place += 1
        if place == turns:
            outer, place = outer + 1, 0


@inlined
def find_statistics(a, data, first, last, shape, blocks, short):
    """Compute the statistics of those tasks: finalized where a task has all of one, else stored as partial ones."""
    x, room = elements(a.x, data), buffer(doubles(0))
    means, m2s = room, behind(room, MOST)
    if short:
        _moments_of_short_rows(a, x, first, last, means, m2s)
    for task in range(last if short else first, last):
        statistic, part = part_of(a, task)
        start = statistic_at(a, statistic)[0]
        begin, end = blocks_of(a, part, blocks)
        n, mean, m2 = _moments(a, x, start, shape, begin, end)
        if a.parts == 1:
            store(means, task - first, mean)
            store(m2s, task - first, m2)
        else:
            store_part(a, data, statistic, part, n, mean, m2)
    if a.parts == 1:
        finalize_all(a, data, first, last - first, float(a.row_outer * a.row_inner * a.length), means, m2s)
