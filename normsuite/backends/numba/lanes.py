"""Kernels for a norm whose means run across memory: channels_last, where the channels of one place lie side by side.

A lane is a channel of one of several places that lie side by side, so that few channels still fill a vector register.
Lanes are summed next to each other, row after row, and folded into statistics at the end. Of short rows four are summed
at a time and two written, so that what belongs to the lanes is read less often; long ones are taken one by one, since a
processor foresees what comes next (of 128 channels and more that took 0.55 to 0.75 of the time). The sums are those of
`segments`: deviations from a guess, corrected, and taken again where the guess was far off; blocks joined in float64.
"""

from numba import carray, njit

from .activations import activate, pull
from .arguments import NEXT, THREADS, arguments, take
from .elements import (
    add,
    add_other,
    behind,
    doubles,
    elements,
    get,
    load,
    prefetch,
    put,
    put_second,
    store,
    wide,
    wides,
)
from .settling import (
    STATISTICS,
    WRITE,
    affine,
    all_sums,
    centred,
    finished_all,
    fold,
    join_parts,
    join_sums,
    leave,
    leave_sums,
    less,
    off_by_little,
    recall,
    scaled,
    settle,
    settle_all,
)
from .streaming import BUFFER, BUFFERS, arrived, buffer, stream

BLOCK = 8192
"""Numbers in a block."""

_SAMPLES = 8
"""Rows that means are guessed from."""

_NARROW = 64
"""Lanes up to which several rows are read at a time: longer rows are read faster one behind the other."""

_AHEAD = 2048
"""Numbers ahead of the sums that are asked for where rows are read by fours."""

_LEAST_ROWS = 32
"""Rows in a block at least: what is done once for each block and lane takes as long as a few rows."""

AREAS = 10
"""Arrays as wide as the lanes that a thread works with, of float64 or narrower."""

_lanes = njit(error_model="numpy", forceinline=True, fastmath={"contract"})
_plain = njit(error_model="numpy", forceinline=True)
_called = njit(error_model="numpy", fastmath={"contract"})


@_plain
def _clear(sums, start, count):
    for i in range(count):
        store(sums, start + i, wide(0, sums))


@_plain
def _rows_of(a, task):
    """Which outer ones, and which of their rows, a task has: all rows of some, or a part of the rows of one."""
    if a.parts > 1:
        outer, part = divmod(task, a.parts)
        return outer, outer + 1, a.row_inner * part // a.parts, a.row_inner * (part + 1) // a.parts
    return a.outer * task // a.tasks, a.outer * (task + 1) // a.tasks, 0, a.row_inner


# ---- statistics ----


@_called
def _add_fours(x, middles, totals, squares, start, rows, stride, width):
    """Each lane's Σ(x − middle) and Σ(x − middle)² over fours of rows."""
    for row in range(0, rows, 4):
        at = start + row * stride
        for i in range(0, 4 * width, 16):
            prefetch(x, at + _AHEAD + i)
        for i in range(width):
            middle = get(middles, i)
            d, e = get(x, at + i) - middle, get(x, at + stride + i) - middle
            f, g = get(x, at + 2 * stride + i) - middle, get(x, at + 3 * stride + i) - middle
            add(totals, i, (d + e) + (f + g), True)
            add_other(squares, i, (d * d + e * e) + (f * f + g * g), True)


@_called
def _add_rows(x, middles, totals, squares, start, rows, stride, width):
    """The same, row by row."""
    for row in range(rows):
        at = start + row * stride
        for i in range(width):
            d = get(x, at + i) - get(middles, i)
            add(totals, i, d, True)
            add_other(squares, i, d * d, True)


@_plain
def _add_deviations(x, middles, totals, squares, start, rows, stride, width):
    fours = rows // 4 * 4 if width <= _NARROW else 0
    if fours:
        _add_fours(x, middles, totals, squares, start, fours, stride, width)
    _add_rows(x, middles, totals, squares, start + fours * stride, rows - fours, stride, width)


@_plain
def _guess(x, middles, start, rows, stride, width):
    """Each lane's mean over some rows, from all over the block."""
    _clear(middles, 0, width)
    for sample in range(_SAMPLES):
        at = start + (sample * rows) // _SAMPLES * stride
        for i in range(width):
            add(middles, i, get(x, at + i), True)
    share = wide(1.0 / _SAMPLES, x)
    for i in range(width):
        store(middles, i, load(middles, i) * share)


@_called
def _correct(middles, totals, squares, count, width):
    """Whether each lane's middle was close enough to its mean; where one was not, all are replaced by the means."""
    close = True
    for i in range(width):
        close &= off_by_little(float(load(totals, i)), float(load(squares, i)), count)
    if not close:
        for i in range(width):
            store(middles, i, wide(load(middles, i) + load(totals, i) / count, middles))
    return close


@_called
def _join(means, m2s, n, middles, totals, squares, count, width):
    """Join each lane's sums over `count` rows to its mean and Σ(x − mean)² over n rows."""
    share, per_row = count / (n + count), 1.0 / count
    for i in range(width):
        total, mean = float(load(totals, i)), load(means, i)
        off = total * per_row
        apart = load(middles, i) + off - mean
        store(means, i, mean + apart * share)
        store(m2s, i, load(m2s, i) + (load(squares, i) - total * off) + apart * apart * n * share)


@_called
def _moments(a, data, area, outer, first, last):
    """Mean and Σ(x − mean)² of every lane over those rows, into the first two areas; of Σx² where the norm does not
    centre."""
    x, width, stride = elements(a.x, data), a.length, a.stride_row_inner
    means, m2s = doubles(area), doubles(area + 8 * width)
    middles, totals, squares = (
        wides(area + 16 * width, data),
        wides(area + 24 * width, data),
        wides(area + 32 * width, data),
    )
    _clear(means, 0, width)
    _clear(m2s, 0, width)
    _clear(middles, 0, width)
    step = max(_LEAST_ROWS, BLOCK // width)
    n = 0.0
    for row in range(first, last, step):
        rows = min(step, last - row)
        at = outer * a.stride_outer + row * stride
        if a.centred and n == 0:
            _guess(x, middles, at, rows, stride, width)
        elif a.centred:
            for i in range(width):
                store(middles, i, wide(load(means, i), data))
        for again in range(2):
            _clear(totals, 0, width)
            _clear(squares, 0, width)
            _add_deviations(x, middles, totals, squares, at, rows, stride, width)
            if again or not a.centred or _correct(middles, totals, squares, float(rows), width):
                break
        if a.centred:
            _join(means, m2s, n, middles, totals, squares, float(rows), width)
        else:
            for i in range(width):
                store(m2s, i, load(m2s, i) + load(squares, i))
        n += rows
    return n


@_called
def _join_places(means, m2s, rows, width, channels):
    """Join the lanes of each channel, which are over so many rows, into its first one; how many numbers that is."""
    n = float(rows)
    for place in range(channels, width, channels):
        share = rows / (n + rows)
        for channel in range(channels):
            apart = get(means, place + channel) - load(means, channel)
            store(means, channel, load(means, channel) + apart * share)
            store(m2s, channel, load(m2s, channel) + get(m2s, place + channel) + apart * apart * n * share)
        n += rows
    return n


@_plain
def _fold(means, m2s, rows, first, width, channels, per_statistic):
    """n, mean and Σ(x − mean)² of all lanes of one statistic, each over so many rows."""
    if width == channels and per_statistic == 1:
        return rows, load(means, first), load(m2s, first)
    lanes = (width // channels) * per_statistic
    mean, m2 = 0.0, 0.0
    for place in range(first, width, channels):
        for lane in range(place, place + per_statistic):
            mean += load(means, lane)
            m2 += load(m2s, lane)
    mean /= lanes
    for place in range(first, width, channels):
        for lane in range(place, place + per_statistic):
            apart = load(means, lane) - mean
            m2 += rows * apart * apart
    return rows * lanes, mean, m2


@_called
def _statistics(a, data, task, area):
    """Lanes folded into statistics: settled where the task has all of their rows, else left for the other parts."""
    first_outer, last_outer, first, last = _rows_of(a, task)
    means, m2s = doubles(area), doubles(area + 8 * a.length)
    per_statistic, part = a.channels // a.inner, task % a.parts
    for outer in range(first_outer, last_outer):
        rows = _moments(a, data, area, outer, first, last)
        alone = per_statistic == 1 and a.parts == 1  # each channel is a statistic, and this task has all of it
        if alone:
            n = _join_places(means, m2s, rows, a.length, a.channels)
            settle_all(a, data, outer * a.inner, a.inner, n, means, m2s)
        for inner in range(a.inner if alone else 0, a.inner):
            n, mean, m2 = _fold(means, m2s, rows, inner * per_statistic, a.length, a.channels, per_statistic)
            if a.parts == 1:
                settle(a, data, outer * a.inner + inner, n, mean, m2)
            else:
                leave(a, data, outer * a.inner + inner, part, n, mean, m2)


# ---- forward ----


@_lanes
def _spread_affine(a, data, area):
    """Every lane's bias and weight, from areas 5 and 7 where they are not there as they are: once for all that a task
    has."""
    shifts, weights = wides(area + 40 * a.length, data), wides(area + 56 * a.length, data)
    if a.length == a.channels and a.weight and a.bias:
        return wides(a.bias, data), wides(a.weight, data)
    for channel in range(a.channels):
        weight, bias = affine(a, data, channel)
        for lane in range(channel, a.length, a.channels):
            store(shifts, lane, bias)
            store(weights, lane, weight)
    return shifts, weights


@_called
def _repeat(values, width, channels):
    """What the first lanes of all channels have, in their other lanes too."""
    for place in range(channels, width, channels):
        for channel in range(channels):
            put(values, place + channel, get(values, channel))


@_lanes
def _spread(a, data, outer, area, shifts, weights):
    """For every lane m, δ, rstd · weight, bias, rstd and weight: as they are where a lane is a statistic, else in areas
    2 to 7."""
    ms, deltas, scales, rstds = (
        wides(area + 16 * a.length, data),
        wides(area + 24 * a.length, data),
        wides(area + 32 * a.length, data),
        wides(area + 48 * a.length, data),
    )
    if a.length == a.inner and not a.frozen:
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
            for lane in range(inner * per_statistic, (inner + 1) * per_statistic):
                store(ms, lane, m)
                store(deltas, lane, delta)
                store(rstds, lane, rstd)
        _repeat(ms, a.length, a.channels)
        _repeat(deltas, a.length, a.channels)
        _repeat(rstds, a.length, a.channels)
    for lane in range(a.length):
        store(scales, lane, load(rstds, lane) * load(weights, lane))
    return ms, deltas, scales, shifts, rstds, weights


@_called
def _write_pairs(x, y, ms, deltas, scales, shifts, rows, stride, apart, width, code):
    """Pairs of rows, so that what belongs to the lanes is read half as often; they are written so far apart."""
    for row in range(0, rows, 2):
        at, to = row * stride, row * apart
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            d, e = centred(get(x, at + i), m, delta), centred(get(x, at + stride + i), m, delta)
            put(y, to + i, activate(scaled(d, scale, shift), code))
            put_second(y, to + apart + i, activate(scaled(e, scale, shift), code))


@_called
def _write_each(x, y, ms, deltas, scales, shifts, rows, stride, apart, width, code):
    """The same, row by row."""
    for row in range(rows):
        at, to = row * stride, row * apart
        for i in range(width):
            d = centred(get(x, at + i), get(ms, i), get(deltas, i))
            put(y, to + i, activate(scaled(d, get(scales, i), get(shifts, i)), code))


@_lanes
def _write_some_rows(x, y, ms, deltas, scales, shifts, rows, stride, apart, width, code):
    pairs = rows // 2 * 2 if width <= _NARROW else 0
    if pairs:
        _write_pairs(x, y, ms, deltas, scales, shifts, pairs, stride, apart, width, code)
    x, y = behind(x, pairs * stride), behind(y, pairs * apart)
    _write_each(x, y, ms, deltas, scales, shifts, rows - pairs, stride, apart, width, code)


@_lanes
def _stream_rows(y, here, rows, stride, width):
    if stride == width:
        stream(y, here, rows * width)
    else:
        for row in range(rows):
            stream(behind(y, row * stride), behind(here, row * width), width)


@_lanes
def _write_rows(x, y, ms, deltas, scales, shifts, start, rows, stride, width, code, streamed):
    here = buffer(y)
    group = BUFFERS * (BUFFER // width) if streamed else rows
    for first in range(0, rows, group):
        count, at = min(group, rows - first), start + first * stride
        to, apart = (here, width) if streamed else (behind(y, at), stride)
        _write_some_rows(behind(x, at), to, ms, deltas, scales, shifts, count, stride, apart, width, code)
        if streamed:
            _stream_rows(behind(y, at), here, count, stride, width)


@_lanes
def _write(a, data, task, area, code, streamed):
    x, y = elements(a.x, data), elements(a.y, data)
    first_outer, last_outer, first, last = _rows_of(a, task)
    shifts, weights = _spread_affine(a, data, area)
    for outer in range(first_outer, last_outer):
        ms, deltas, scales, _, _, _ = _spread(a, data, outer, area, shifts, weights)
        _write_rows(
            x, y, ms, deltas, scales, shifts, outer * a.stride_outer + first * a.stride_row_inner, last - first,
            a.stride_row_inner, a.length, code, streamed,
        )  # fmt: skip


def forward(code, streamed):
    """y = act(((x − m) − δ) · rstd · weight + bias)."""

    def lanes_forward(data):
        a = carray(arguments(data), 1)[0]
        area = a.areas + take(data, THREADS, 1) * AREAS * 8 * a.length
        finished = 0
        while True:
            task = take(data, NEXT, 1)
            if task >= a.tasks:
                break
            if a.phase & STATISTICS:
                _statistics(a, data, task, area)
            if a.phase & WRITE:
                _write(a, data, task, area, code, streamed)
            finished += 1
        if streamed:
            arrived(data)
        if a.phase == STATISTICS and finished_all(a, data, finished):
            join_parts(a, data)

    return lanes_forward


# ---- backward ----


@_lanes
def _pull_one(x, dy, at, m, delta, scale, shift, code):
    """g and g·((x − m) − δ) of one number."""
    d = centred(get(x, at), m, delta)
    g = pull(get(dy, at), scaled(d, scale, shift), code)
    return g, g * d


@_called
def _pull_fours(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    """Each lane's Σg and Σg·((x − m) − δ) over fours of rows."""
    for row in range(0, rows, 4):
        at = start + row * stride
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            g0, gd0 = _pull_one(x, dy, at + i, m, delta, scale, shift, code)
            g1, gd1 = _pull_one(x, dy, at + stride + i, m, delta, scale, shift, code)
            g2, gd2 = _pull_one(x, dy, at + 2 * stride + i, m, delta, scale, shift, code)
            g3, gd3 = _pull_one(x, dy, at + 3 * stride + i, m, delta, scale, shift, code)
            add(totals, i, (g0 + g1) + (g2 + g3), True)
            add_other(weighted, i, (gd0 + gd1) + (gd2 + gd3), True)


@_called
def _pull_each(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    """The same, row by row."""
    for row in range(rows):
        at = start + row * stride
        for i in range(width):
            g, gd = _pull_one(x, dy, at + i, get(ms, i), get(deltas, i), get(scales, i), get(shifts, i), code)
            add(totals, i, g, True)
            add_other(weighted, i, gd, True)


@_lanes
def _pull_rows(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows, stride, width, code):
    fours = rows // 4 * 4 if width <= _NARROW else 0
    if fours:
        _pull_fours(x, dy, ms, deltas, scales, shifts, totals, weighted, start, fours, stride, width, code)
    start += fours * stride
    _pull_each(x, dy, ms, deltas, scales, shifts, totals, weighted, start, rows - fours, stride, width, code)


@_called
def _add_places(sums, width, channels):
    """Add what the other lanes of each channel have to its first one."""
    for place in range(channels, width, channels):
        for channel in range(channels):
            add(sums, channel, get(sums, place + channel), True)


@_lanes
def _pull_part(a, data, task, outer, area, spread, first, last, code):
    """Σg·x̂ and Σg of every channel over those rows, into the task's slot of `sums`; what they come to for each
    statistic is left for the other parts."""
    x, dy, sums = elements(a.x, data), elements(a.dy, data), doubles(a.sums)
    width = a.length
    ms, deltas, scales, shifts, rstds, _ = spread
    totals64, weighted64 = doubles(area), doubles(area + 8 * width)
    # The areas of m and so on hold float64 or narrower; what they leave free in float32 is not used.
    totals, weighted = wides(area + 64 * width, data), wides(area + 72 * width, data)
    _clear(totals64, 0, width)
    _clear(weighted64, 0, width)
    step = max(_LEAST_ROWS, BLOCK // width)
    for row in range(first, last, step):
        rows = min(step, last - row)
        _clear(totals, 0, width)
        _clear(weighted, 0, width)
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
        leave_sums(a, data, outer * a.inner + inner, part, all_g, all_gx)


@_lanes
def _dx(x, dy, at, of_lane, code):
    """rstd · ((weight·g − mean_g) − x̂·mean_gx) of one number."""
    m, delta, scale, shift, rstd, weight, mean_g, mean_gx = of_lane
    d = centred(get(x, at), m, delta)
    g = pull(get(dy, at), scaled(d, scale, shift), code)
    return rstd * (less(weight * g, mean_g) - (d * rstd) * mean_gx)


@_called
def _write_dx_pairs(x, dy, dx, lanes, rows, stride, apart, width, code):
    """Pairs of rows, which are written so far apart."""
    ms, deltas, scales, shifts, rstds, weights, means_g, means_gx = lanes
    for row in range(0, rows, 2):
        at, to = row * stride, row * apart
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            rstd, weight, mean_g, mean_gx = get(rstds, i), get(weights, i), get(means_g, i), get(means_gx, i)
            of_lane = m, delta, scale, shift, rstd, weight, mean_g, mean_gx
            put(dx, to + i, _dx(x, dy, at + i, of_lane, code))
            put_second(dx, to + apart + i, _dx(x, dy, at + stride + i, of_lane, code))


@_called
def _write_dx_each(x, dy, dx, lanes, rows, stride, apart, width, code):
    """The same, row by row."""
    ms, deltas, scales, shifts, rstds, weights, means_g, means_gx = lanes
    for row in range(rows):
        at, to = row * stride, row * apart
        for i in range(width):
            m, delta, scale, shift = get(ms, i), get(deltas, i), get(scales, i), get(shifts, i)
            rstd, weight, mean_g, mean_gx = get(rstds, i), get(weights, i), get(means_g, i), get(means_gx, i)
            put(dx, to + i, _dx(x, dy, at + i, (m, delta, scale, shift, rstd, weight, mean_g, mean_gx), code))


@_lanes
def _write_some_dx(x, dy, dx, lanes, rows, stride, apart, width, code):
    pairs = rows // 2 * 2 if width <= _NARROW else 0
    if pairs:
        _write_dx_pairs(x, dy, dx, lanes, pairs, stride, apart, width, code)
    x, dy, dx = behind(x, pairs * stride), behind(dy, pairs * stride), behind(dx, pairs * apart)
    _write_dx_each(x, dy, dx, lanes, rows - pairs, stride, apart, width, code)


@_lanes
def _write_dx(x, dy, dx, lanes, start, rows, stride, width, code, streamed):
    here = buffer(dx)
    group = BUFFERS * (BUFFER // width) if streamed else rows
    for first in range(0, rows, group):
        count, at = min(group, rows - first), start + first * stride
        to, apart = (here, width) if streamed else (behind(dx, at), stride)
        _write_some_dx(behind(x, at), behind(dy, at), to, lanes, count, stride, apart, width, code)
        if streamed:
            _stream_rows(behind(dx, at), here, count, stride, width)


@_lanes
def _pull_back(a, data, outer, area, spread, first, last, code, streamed):
    """dx = rstd · ((weight·g − mean_g) − x̂·mean_gx)."""
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
        for lane in range(inner * per_statistic, (inner + 1) * per_statistic):
            store(means_g, lane, mean_g)
            store(means_gx, lane, mean_gx)
    _repeat(means_g, width, a.channels)
    _repeat(means_gx, width, a.channels)
    lanes = (*spread, means_g, means_gx)
    start, rows = outer * a.stride_outer + first * a.stride_row_inner, last - first
    _write_dx(x, dy, dx, lanes, start, rows, a.stride_row_inner, width, code, streamed)


def backward(code, streamed):
    """dx = rstd · (weight·g − mean(weight·g) − x̂ · mean(weight·g·x̂)); dweight = Σ g·x̂, dbias = Σ g of each channel."""

    def lanes_backward(data):
        a = carray(arguments(data), 1)[0]
        area = a.areas + take(data, THREADS, 1) * AREAS * 8 * a.length
        finished = 0
        while True:
            task = take(data, NEXT, 1)
            if task >= a.tasks:
                break
            if a.phase & STATISTICS and a.sums:
                _clear(doubles(a.sums), 2 * task * a.channels, 2 * a.channels)
            first_outer, last_outer, first, last = _rows_of(a, task)
            shifts, weights = _spread_affine(a, data, area)
            for outer in range(first_outer, last_outer):
                spread = _spread(a, data, outer, area, shifts, weights)
                if a.phase & STATISTICS:
                    _pull_part(a, data, task, outer, area, spread, first, last, code)
                if a.phase & WRITE:
                    _pull_back(a, data, outer, area, spread, first, last, code, streamed)
            finished += 1
        if streamed:
            arrived(data)
        if a.phase & STATISTICS and (a.sums or a.parts > 1) and finished_all(a, data, finished):
            if a.parts > 1:
                join_sums(a, data, 0, a.outer * a.inner)
            if a.sums:
                fold(a, data, a.tasks)

    return lanes_backward
