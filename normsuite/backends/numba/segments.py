"""Kernels for a norm whose means run along memory: (N, C, *S) as it lies, and trailing dimensions.

The rows of a statistic are cut into blocks that a first-level cache holds. In each block the deviations from a guess of
the mean are summed, and their squares, and corrected by how far the guess was off; a guess that was far off is replaced
and the cached block read again. So memory is read once for the statistics, and they are as exact as in two passes.
"""

from numba import carray, njit

from .activations import activate, pull
from .arguments import NEXT, arguments, take
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
    put_fourth,
    put_second,
    put_third,
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
    join,
    join_parts,
    join_sums,
    leave,
    leave_sums,
    less,
    off_by_little,
    recall,
    scaled,
    settle_all,
)
from .streaming import BUFFER, BUFFERS, arrived, buffer, stream

BLOCK = 4096
"""Numbers in a block."""

MOST = BUFFERS * BUFFER // 2
"""Statistics that a thread takes at a time at most: their means and sums of squares lie in a buffer."""

_AHEAD = 256
"""Numbers of the next row that are asked for early."""

_SAMPLES = 8
"""Numbers that a mean is guessed from."""

# Sums may be taken in any order. What is written rounds as it stands, alike in forward and backward kernels.
_summing = njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
_summing_inlined = njit(error_model="numpy", forceinline=True, fastmath={"reassoc", "nsz", "contract"})
_writing = njit(error_model="numpy", forceinline=True, fastmath={"contract"})
_plain = njit(error_model="numpy", forceinline=True)
_called = njit(error_model="numpy")


@_plain
def _ask_for(x, start, stride, length, more):
    """The beginning of the row behind this one, where there is one and it does not lie right behind: the processor
    guesses the rest."""
    if more and stride != length:
        for i in range(0, min(length, _AHEAD), 16):
            prefetch(x, start + stride + i)


# ---- where a block lies ----


@_plain
def _block_shape(a):
    """Rows in a block, numbers of a row in a block, blocks along the rows, blocks along a row."""
    if a.length >= BLOCK:
        pieces = (a.length + BLOCK - 1) // BLOCK
        piece = (a.length + pieces - 1) // pieces
        return 1, piece, a.row_inner, (a.length + piece - 1) // piece
    rows = min(a.row_inner, BLOCK // a.length)
    return rows, a.length, (a.row_inner + rows - 1) // rows, 1


@_plain
def _block(a, shape, index):
    """Of that block: its offset, its first channel, its rows, its place in the row and the numbers of a row."""
    rows, piece, along_rows, along_row = shape
    outer, block, place = index, 0, 0
    if along_rows * along_row > 1:
        outer, rest = divmod(index, along_rows * along_row)
        block, place = divmod(rest, along_row)
    first, column = block * rows, place * piece
    return (
        outer * a.stride_row_outer + first * a.stride_row_inner + column,
        outer * a.channel_row_outer + first * a.channel_row_inner,
        min(rows, a.row_inner - first),
        column,
        min(piece, a.length - column),
    )


@_plain
def _are_short_rows(a):
    """Whether each statistic is one row, and one block. To look for where its blocks begin and end would take longer
    than the sums of few numbers."""
    return a.row_outer * a.row_inner == 1 and a.length <= BLOCK and a.parts == 1


@_plain
def _part_of(a, task):
    """The statistic of a task, and which part of it."""
    if a.parts == 1:
        return task, 0
    return divmod(task, a.parts)


@_plain
def _blocks_of(a, part, blocks):
    """The first block of a part of a statistic, and the one behind its last."""
    if a.parts == 1:  # the divisions would show where statistics are small
        return 0, blocks
    return blocks * part // a.parts, blocks * (part + 1) // a.parts


# ---- statistics ----

# Each row is summed for itself, so that the processor can begin the next one before this one's sum is there.


@_summing
def _deviations(x, start, rows, stride, length, mean):
    """Σ(x − mean) and Σ(x − mean)²."""
    total, squares = wide(0, x), wide(0, x)
    for row in range(rows):
        at, own, own_squares = start + row * stride, wide(0, x), wide(0, x)
        _ask_for(x, at, stride, length, row + 1 < rows)
        for i in range(length):
            d = get(x, at + i) - mean
            own += d
            own_squares += d * d
        total += own
        squares += own_squares
    return total, squares


@_summing
def _squares(x, start, rows, stride, length):
    squares = wide(0, x)
    for row in range(rows):
        at, own = start + row * stride, wide(0, x)
        _ask_for(x, at, stride, length, row + 1 < rows)
        for i in range(length):
            value = get(x, at + i)
            own += value * value
        squares += own
    return squares


@_summing_inlined
def _guess(x, start, rows, stride, length):
    """The mean of some of the numbers, from all over the block."""
    total = wide(0, x)
    for sample in range(_SAMPLES):
        total += load(x, start + (sample * rows // _SAMPLES) * stride + sample * length // _SAMPLES)
    return total * wide(1 / _SAMPLES, x)


@_summing_inlined
def _moments_of_block(x, start, rows, stride, length, middle):
    """Mean and Σ(x − mean)² of a block, from a guess of the mean."""
    count = float(rows * length)
    total, squares = _deviations(x, start, rows, stride, length, middle)
    if not off_by_little(total, squares, count):
        middle = wide(middle + total / count, x)
        total, squares = _deviations(x, start, rows, stride, length, middle)
    off = total / count
    return middle + off, squares - total * off


@_called
def _moments(a, x, start, shape, first, last):
    """n, mean and Σ(x − mean)² of those blocks of the statistic at `start`; of Σx² where the norm does not centre."""
    n, mean, m2 = 0.0, 0.0, 0.0
    for index in range(first, last):
        offset, _, rows, _, length = _block(a, shape, index)
        count, at, stride = float(rows * length), start + offset, a.stride_row_inner
        if stride == length:  # rows one behind the other
            rows, length = 1, rows * length
        if a.centred:
            middle = _guess(x, at, rows, stride, length) if n == 0 else wide(mean, x)
            here, here_m2 = _moments_of_block(x, at, rows, stride, length, middle)
            if n == 0:
                n, mean, m2 = count, here, here_m2
            else:
                n, mean, m2 = join(n, mean, m2, count, here, here_m2)
        else:
            n += count
            m2 += _squares(x, at, rows, stride, length)
    return n, mean, m2


@_plain
def _statistic_at(a, statistic):
    """The offset of its first row, and its first channel."""
    outer, inner = divmod(statistic, a.inner)
    return (
        outer * a.stride_outer + inner * a.stride_inner,
        outer * a.channel_outer + inner * a.channel_inner,
        outer,
    )


@_plain
def _apart(a, turn, turns):
    """Which grain a turn takes. The turns are as many shares as there are threads, taken from in turn: what two threads
    have at the same time lies far apart. Neighbouring rows share a line of the cache at their ends, which threads that
    write to both would take from each other again and again."""
    if a.workers == 1:
        return turn
    place, share = divmod(turn, a.workers)
    least, longer = divmod(turns, a.workers)
    return place + share * least + min(share, longer)


# ---- forward ----


@_writing
def _write_row(x, y, length, m, delta, scale, shift, code):
    for i in range(length):
        put(y, i, activate(scaled(centred(get(x, i), m, delta), scale, shift), code))


@_writing
def _write_rows(x, y, start, rows, stride, length, m, delta, scale, shift, code, streamed):
    here = buffer(y)
    for row in range(rows):
        at = start + row * stride
        if streamed:
            for first in range(at, at + length, BUFFER):
                count = min(BUFFER, at + length - first)
                _write_row(behind(x, first), here, count, m, delta, scale, shift, code)
                stream(behind(y, first), here, count)
        else:
            _write_row(behind(x, at), behind(y, at), length, m, delta, scale, shift, code)


@_writing
def _write_elements_row(x, y, weight, bias, column, length, m, delta, rstd, code):
    if bias == 0:
        weights = wides(weight, x)
        for i in range(length):
            x_hat = centred(get(x, i), m, delta) * rstd
            put(y, i, activate(x_hat * get(weights, column + i), code))
    else:
        weights, biases = wides(weight, x), wides(bias, x)
        for i in range(length):
            x_hat = centred(get(x, i), m, delta) * rstd
            put(y, i, activate(x_hat * get(weights, column + i) + get(biases, column + i), code))


@_writing
def _write_elements(x, y, weight, bias, start, column, length, m, delta, rstd, code, streamed):
    """With a weight and a bias for each number; an address of 0 stands for no bias."""
    if streamed:
        here = buffer(y)
        for first in range(0, length, BUFFER):
            count = min(BUFFER, length - first)
            _write_elements_row(
                behind(x, start + first), here, weight, bias, column + first, count, m, delta, rstd, code
            )
            stream(behind(y, start + first), here, count)
    else:
        _write_elements_row(behind(x, start), behind(y, start), weight, bias, column, length, m, delta, rstd, code)


@_called
def _moments_of_short_rows(a, x, first, last, means, m2s):
    """Of statistics that are one short row each."""
    length, centres, inner, turns = a.length, a.centred, a.stride_inner, a.inner
    outer, place = divmod(first, turns)
    for i in range(last - first):
        at = outer * a.stride_outer + place * inner
        if centres:
            mean, m2 = _moments_of_block(x, at, 1, 0, length, _guess(x, at, 1, 0, length))
        else:
            mean, m2 = 0.0, float(_squares(x, at, 1, 0, length))
        store(means, i, mean)
        store(m2s, i, m2)
        place += 1
        if place == turns:
            outer, place = outer + 1, 0


@_plain
def _statistics(a, data, first, last, shape, blocks, short):
    """Parts of statistics, one each of those tasks: settled where a part is all of its statistic, else left for the
    other parts."""
    x, room = elements(a.x, data), buffer(doubles(0))
    means, m2s = room, behind(room, MOST)
    if short:
        _moments_of_short_rows(a, x, first, last, means, m2s)
    for task in range(last if short else first, last):
        statistic, part = _part_of(a, task)
        start = _statistic_at(a, statistic)[0]
        begin, end = _blocks_of(a, part, blocks)
        n, mean, m2 = _moments(a, x, start, shape, begin, end)
        if a.parts == 1:
            store(means, task - first, mean)
            store(m2s, task - first, m2)
        else:
            leave(a, data, statistic, part, n, mean, m2)
    if a.parts == 1:
        settle_all(a, data, first, last - first, float(a.row_outer * a.row_inner * a.length), means, m2s)


@_writing
def _write(a, data, task, shape, blocks, code, per_element, streamed):
    statistic, part = _part_of(a, task)
    start, channel, _ = _statistic_at(a, statistic)
    x, y = elements(a.x, data), elements(a.y, data)
    m, delta, rstd = recall(a, data, statistic)
    first, last = _blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, column, length = _block(a, shape, index)
        at, stride = start + offset, a.stride_row_inner
        if per_element:
            _write_elements(x, y, a.weight, a.bias, at, column, length, m, delta, rstd, code, streamed)
        elif a.channel_row_inner == 0:
            weight, bias = affine(a, data, channel + further)
            _write_rows(x, y, at, rows, stride, length, m, delta, rstd * weight, bias, code, streamed)
        else:
            for row in range(rows):
                weight, bias = affine(a, data, channel + further + row * a.channel_row_inner)
                _write_rows(x, y, at + row * stride, 1, stride, length, m, delta, rstd * weight, bias, code, streamed)


@_writing
def _write_short_rows(a, data, first, last, code):
    """Statistics that are one short row each."""
    x, y, length = elements(a.x, data), elements(a.y, data), a.length
    outer, inner = divmod(first, a.inner)
    for task in range(first, last):
        at = outer * a.stride_outer + inner * a.stride_inner
        m, delta, rstd = recall(a, data, task)
        weight, bias = affine(a, data, outer * a.channel_outer + inner * a.channel_inner)
        _write_row(behind(x, at), behind(y, at), length, m, delta, rstd * weight, bias, code)
        inner += 1
        if inner == a.inner:
            outer, inner = outer + 1, 0


@_writing
def _write_columns(a, data, task, code):
    """The same columns of all rows, so that their weights stay in the cache."""
    x, y = elements(a.x, data), elements(a.y, data)
    first, last = a.length * task // a.tasks, a.length * (task + 1) // a.tasks
    for row in range(a.outer * a.inner):
        m, delta, rstd = recall(a, data, row)
        at = row * a.length + first
        _write_elements(x, y, a.weight, a.bias, at, first, last - first, m, delta, rstd, code, False)


@_writing
def _forward_tasks(a, data, code, per_element, streamed):
    shape = _block_shape(a)
    blocks, short = a.row_outer * shape[2] * shape[3], _are_short_rows(a)
    turns = (a.tasks + a.grain - 1) // a.grain
    finished = 0
    while True:
        turn = take(data, NEXT, 1)
        if turn >= turns:
            break
        first = _apart(a, turn, turns) * a.grain
        last = min(first + a.grain, a.tasks)
        # All statistics of the grain before the first is used: a processor works on several at once, since none waits
        # for another's root and quotients.
        if a.phase & STATISTICS:
            _statistics(a, data, first, last, shape, blocks, short)
        if a.phase & WRITE and short and not streamed and not per_element:
            _write_short_rows(a, data, first, last, code)
        elif a.phase & WRITE:
            for task in range(first, last):
                if per_element and a.phase == WRITE:
                    _write_columns(a, data, task, code)
                else:
                    _write(a, data, task, shape, blocks, code, per_element, streamed)
        finished += last - first
    if streamed:
        arrived(data)
    if a.phase == STATISTICS and finished_all(a, data, finished):
        join_parts(a, data)


def forward(code, streamed):
    """y = act(((x − m) − δ) · rstd · weight + bias), a weight and a bias for each row of a channel."""

    def segments_forward(data):
        _forward_tasks(carray(arguments(data), 1)[0], data, code, False, streamed)

    return segments_forward


def forward_elements(code, streamed):
    """The same with a weight and a bias for each number of a statistic, which is one row."""

    def segments_forward_elements(data):
        _forward_tasks(carray(arguments(data), 1)[0], data, code, True, streamed)

    return segments_forward_elements


# ---- backward ----


@_summing_inlined
def _pulls(x, dy, start, rows, stride, length, m, delta, scale, shift, code):
    """Σg and Σg·((x − m) − δ), with g the gradient behind the activation."""
    total, weighted = wide(0, x), wide(0, x)
    for row in range(rows):
        at, own, own_weighted = start + row * stride, wide(0, x), wide(0, x)
        _ask_for(x, at, stride, length, row + 1 < rows)
        _ask_for(dy, at, stride, length, row + 1 < rows)
        for i in range(length):
            d = centred(get(x, at + i), m, delta)
            g = pull(get(dy, at + i), scaled(d, scale, shift), code)
            own += g
            own_weighted += g * d
        total += own
        weighted += own_weighted
    return total, weighted


@_writing
def _write_dx_row(x, dy, dx, length, m, delta, rstd, weight, shift, mean_g, mean_gx, code):
    """dx = rstd · ((weight·g − mean_g) − x̂·mean_gx)."""
    scale = rstd * weight
    for i in range(length):
        d = centred(get(x, i), m, delta)
        g = pull(get(dy, i), scaled(d, scale, shift), code)
        put(dx, i, rstd * (less(weight * g, mean_g) - (d * rstd) * mean_gx))


@_writing
def _write_dx(x, dy, dx, start, rows, stride, length, m, delta, rstd, weight, shift, mean_g, mean_gx, code, streamed):
    here = buffer(dx)
    for row in range(rows):
        at = start + row * stride
        piece = BUFFER if streamed else length
        for first in range(at, at + length, piece):
            count = min(piece, at + length - first)
            to = here if streamed else behind(dx, first)
            _write_dx_row(
                behind(x, first), behind(dy, first), to, count, m, delta, rstd, weight, shift, mean_g, mean_gx, code
            )
            if streamed:
                stream(behind(dx, first), here, count)


@_writing
def _pull_part(a, data, task, shape, blocks, code):
    """Of one part of a statistic: Σ weight·g and Σ weight·g·x̂; its share of the channels' gradients into `sums`."""
    statistic, part = _part_of(a, task)
    start, channel, outer = _statistic_at(a, statistic)
    x, dy, sums = elements(a.x, data), elements(a.dy, data), doubles(a.sums)
    m, delta, rstd = recall(a, data, statistic)
    slots = (part * a.outer + outer) * a.channels
    if a.sums:
        for here in range(channel, channel + (a.row_inner if a.channel_row_inner else 1)):
            store(sums, 2 * (slots + here), 0.0)
            store(sums, 2 * (slots + here) + 1, 0.0)
    all_g, all_gx = 0.0, 0.0
    first, last = _blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, _, length = _block(a, shape, index)
        at_once = rows if a.channel_row_inner == 0 else 1
        for row in range(0, rows, at_once):
            at = start + offset + row * a.stride_row_inner
            here = channel + further + row * a.channel_row_inner
            weight, bias = affine(a, data, here)
            g, gd = _pulls(x, dy, at, at_once, a.stride_row_inner, length, m, delta, rstd * weight, bias, code)
            g64, gx = float(g), float(gd) * float(rstd)
            all_g += weight * g64
            all_gx += weight * gx
            if a.sums:
                slot = 2 * (slots + here)
                store(sums, slot, load(sums, slot) + gx)
                store(sums, slot + 1, load(sums, slot + 1) + g64)
    return all_g, all_gx


@_writing
def _pull_back(a, data, task, shape, blocks, code, all_g, all_gx, streamed):
    statistic, part = _part_of(a, task)
    start, channel, _ = _statistic_at(a, statistic)
    x, dy, dx = elements(a.x, data), elements(a.dy, data), elements(a.y, data)
    m, delta, rstd = recall(a, data, statistic)
    n = a.row_outer * a.row_inner * a.length
    mean_g = wide(all_g / n, data) if a.centred and not a.frozen else wide(0, data)
    mean_gx = wide(all_gx / n, data) if not a.frozen else wide(0, data)
    first, last = _blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, _, length = _block(a, shape, index)
        at_once = rows if a.channel_row_inner == 0 else 1
        for row in range(0, rows, at_once):
            at = start + offset + row * a.stride_row_inner
            weight, bias = affine(a, data, channel + further + row * a.channel_row_inner)
            _write_dx(
                x, dy, dx, at, at_once, a.stride_row_inner, length,
                m, delta, rstd, weight, bias, mean_g, mean_gx, code, streamed,
            )  # fmt: skip


@_writing
def _pull_short_rows(a, data, first, last, code):
    """`_pull_part` of statistics that are one short row each; their sums go into `scratch`."""
    x, dy, sums = elements(a.x, data), elements(a.dy, data), doubles(a.sums)
    length, summed = a.length, a.sums != 0
    outer, inner = divmod(first, a.inner)
    for task in range(first, last):
        at = outer * a.stride_outer + inner * a.stride_inner
        channel = outer * a.channel_outer + inner * a.channel_inner
        m, delta, rstd = recall(a, data, task)
        weight, bias = affine(a, data, channel)
        g, gd = _pulls(x, dy, at, 1, 0, length, m, delta, rstd * weight, bias, code)
        g64, gx = float(g), float(gd) * float(rstd)
        leave_sums(a, data, task, 0, weight * g64, weight * gx)
        if summed:
            slot = 2 * (outer * a.channels + channel)
            store(sums, slot, gx)
            store(sums, slot + 1, g64)
        inner += 1
        if inner == a.inner:
            outer, inner = outer + 1, 0


@_writing
def _pull_short_rows_back(a, data, first, last, code):
    """`_pull_back` of statistics that are one short row each."""
    x, dy, dx = elements(a.x, data), elements(a.dy, data), elements(a.y, data)
    length, centres, frozen = a.length, a.centred and not a.frozen, a.frozen
    outer, inner = divmod(first, a.inner)
    for task in range(first, last):
        at = outer * a.stride_outer + inner * a.stride_inner
        m, delta, rstd = recall(a, data, task)
        weight, bias = affine(a, data, outer * a.channel_outer + inner * a.channel_inner)
        all_g, all_gx = all_sums(a, data, task)
        mean_g = wide(all_g / length, data) if centres else wide(0, data)
        mean_gx = wide(0, data) if frozen else wide(all_gx / length, data)
        _write_dx_row(
            behind(x, at), behind(dy, at), behind(dx, at), length, m, delta, rstd, weight, bias, mean_g, mean_gx, code
        )
        inner += 1
        if inner == a.inner:
            outer, inner = outer + 1, 0


@_writing
def _backward_tasks(a, data, code, streamed):
    shape = _block_shape(a)
    blocks, short = a.row_outer * shape[2] * shape[3], _are_short_rows(a)
    turns = (a.tasks + a.grain - 1) // a.grain
    finished = 0
    while True:
        turn = take(data, NEXT, 1)
        if turn >= turns:
            break
        first = _apart(a, turn, turns) * a.grain
        last = min(first + a.grain, a.tasks)
        if a.phase & STATISTICS and short:
            _pull_short_rows(a, data, first, last, code)
        elif a.phase & STATISTICS:
            for task in range(first, last):
                all_g, all_gx = _pull_part(a, data, task, shape, blocks, code)
                statistic, part = _part_of(a, task)
                leave_sums(a, data, statistic, part, all_g, all_gx)
        if a.phase & WRITE and short and not streamed:
            _pull_short_rows_back(a, data, first, last, code)
        elif a.phase & WRITE:
            for task in range(first, last):
                all_g, all_gx = 0.0, 0.0
                if not a.frozen:
                    all_g, all_gx = all_sums(a, data, _part_of(a, task)[0])
                _pull_back(a, data, task, shape, blocks, code, all_g, all_gx, streamed)
        finished += last - first
    if streamed:
        arrived(data)
    if a.phase & STATISTICS and (a.sums or a.parts > 1) and finished_all(a, data, finished):
        if a.parts > 1:
            join_sums(a, data, 0, a.outer * a.inner)
        if a.sums:
            fold(a, data, a.parts * a.outer)


def backward(code, streamed):
    """dx = rstd · (weight·g − mean(weight·g) − x̂ · mean(weight·g·x̂)); dweight = Σ g·x̂ and
    dbias = Σ g of each channel."""

    def segments_backward(data):
        _backward_tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_backward


# ---- backward with a weight for each number: one row is one statistic ----


@_summing_inlined
def _pulls_of_elements(x, dy, weight, bias, start, column, length, m, delta, rstd, code):
    """Σ weight·g and Σ weight·g·x̂ of a piece of a row."""
    total, weighted = wide(0, x), wide(0, x)
    weights, biases = wides(weight, x), wides(bias, x)
    for i in range(length):
        x_hat = centred(get(x, start + i), m, delta) * rstd
        w = get(weights, column + i)
        z = x_hat * w if bias == 0 else x_hat * w + get(biases, column + i)
        wg = pull(get(dy, start + i), z, code) * w
        total += wg
        weighted += wg * x_hat
    return total, weighted


@_writing
def _pull_row(a, data, row, first, last, code):
    """Sums over the numbers first to last of a row."""
    x, dy = elements(a.x, data), elements(a.dy, data)
    m, delta, rstd = recall(a, data, row)
    all_g, all_gx = 0.0, 0.0
    for column in range(first, last, BLOCK):
        length = min(BLOCK, last - column)
        at = row * a.length + column
        g, gx = _pulls_of_elements(x, dy, a.weight, a.bias, at, column, length, m, delta, rstd, code)
        all_g += g
        all_gx += gx
    return all_g, all_gx


@_plain
def _means(a, data, row):
    """The means of weight·g and weight·g·x̂ of a row."""
    all_g, all_gx = all_sums(a, data, row)
    return wide(all_g / a.length, data) if a.centred else wide(0, data), wide(all_gx / a.length, data)


@_writing
def _back(x, dy, i, w, shift, m, delta, rstd, mean_g, mean_gx, code):
    """Of one number: dx, g·x̂ and g."""
    x_hat = centred(get(x, i), m, delta) * rstd
    g = pull(get(dy, i), x_hat * w + shift, code)
    return rstd * (less(w * g, mean_g) - x_hat * mean_gx), g * x_hat, g


@_writing
def _write_dx_of_row(a, data, row, column, length, dx, dweight, dbias, begun, code):
    """dx of a piece of a row; adds g·x̂ and g to dweight and dbias, where these have begun, or begins them."""
    at, bias = row * a.length + column, a.bias
    x, dy = behind(elements(a.x, data), at), behind(elements(a.dy, data), at)
    weights, biases = behind(wides(a.weight, data), column), behind(wides(bias, data), column)
    m, delta, rstd = recall(a, data, row)
    mean_g, mean_gx = _means(a, data, row)
    for i in range(length):
        shift = wide(0, data) if bias == 0 else get(biases, i)
        d, gx, g = _back(x, dy, i, get(weights, i), shift, m, delta, rstd, mean_g, mean_gx, code)
        put(dx, i, d)
        add(dweight, i, gx, begun)
        add_other(dbias, i, g, begun)


@_writing
def _write_dx_of_four_rows(a, data, row, column, length, dx, apart, dweight, dbias, begun, code):
    """The same of four rows at once, which are written so far apart: weights and sums are read and written once."""
    stride, bias = a.length, a.bias
    at = row * stride + column
    x, dy = behind(elements(a.x, data), at), behind(elements(a.dy, data), at)
    weights, biases = behind(wides(a.weight, data), column), behind(wides(bias, data), column)
    m0, delta0, rstd0 = recall(a, data, row)
    m1, delta1, rstd1 = recall(a, data, row + 1)
    m2, delta2, rstd2 = recall(a, data, row + 2)
    m3, delta3, rstd3 = recall(a, data, row + 3)
    mean_g0, mean_gx0 = _means(a, data, row)
    mean_g1, mean_gx1 = _means(a, data, row + 1)
    mean_g2, mean_gx2 = _means(a, data, row + 2)
    mean_g3, mean_gx3 = _means(a, data, row + 3)
    for i in range(length):
        w, shift = get(weights, i), wide(0, data) if bias == 0 else get(biases, i)
        d, gx0, g0 = _back(x, dy, i, w, shift, m0, delta0, rstd0, mean_g0, mean_gx0, code)
        put(dx, i, d)
        d, gx1, g1 = _back(x, dy, stride + i, w, shift, m1, delta1, rstd1, mean_g1, mean_gx1, code)
        put_second(dx, apart + i, d)
        d, gx2, g2 = _back(x, dy, 2 * stride + i, w, shift, m2, delta2, rstd2, mean_g2, mean_gx2, code)
        put_third(dx, 2 * apart + i, d)
        d, gx3, g3 = _back(x, dy, 3 * stride + i, w, shift, m3, delta3, rstd3, mean_g3, mean_gx3, code)
        put_fourth(dx, 3 * apart + i, d)
        add(dweight, i, (gx0 + gx1) + (gx2 + gx3), begun)
        add_other(dbias, i, (g0 + g1) + (g2 + g3), begun)


@_writing
def _pull_rows_back(a, data, row, rows, column, length, dweight, dbias, begun, code, streamed):
    """dx of those columns of so many rows, and what they add to dweight and dbias, or begin these with."""
    dx = elements(a.y, data)
    here = buffer(dx)
    last = row + rows
    while row < last:
        together = 4 if last - row >= 4 else 1
        piece = BUFFER if streamed else max(length, 1)
        for first in range(0, length, piece):
            count, at = min(piece, length - first), row * a.length + column + first
            to, apart = (here, BUFFER) if streamed else (behind(dx, at), a.length)
            sums, other_sums = behind(dweight, first), behind(dbias, first)
            if together == 4:
                _write_dx_of_four_rows(a, data, row, column + first, count, to, apart, sums, other_sums, begun, code)
            else:
                _write_dx_of_row(a, data, row, column + first, count, to, sums, other_sums, begun, code)
            if streamed:
                for each in range(together):
                    stream(behind(dx, at + each * a.length), behind(here, each * BUFFER), count)
        row, begun = row + together, True


@_writing
def _some_rows(a, data, task, code, streamed):
    """Rows that a cache holds, read once from memory; the gradients of weight and bias go into sums of the task's."""
    sums = behind(wides(a.sums, data), 2 * task * a.length)
    rows = a.outer * a.inner
    fours = (rows + 3) // 4  # that no row is left to be worked on alone
    begin, last = 4 * (fours * task // a.tasks), min(rows, 4 * (fours * (task + 1) // a.tasks))
    for first in range(begin, last, a.grain):
        count = min(a.grain, last - first)
        for row in range(first, first + count):
            all_g, all_gx = _pull_row(a, data, row, 0, a.length, code)
            leave_sums(a, data, row, 0, all_g, all_gx)
        begun = first > begin
        _pull_rows_back(a, data, first, count, 0, a.length, sums, behind(sums, a.length), begun, code, streamed)


@_writing
def _part_of_a_row(a, data, task, code):
    """Sums of a part of a long row."""
    row, part = divmod(task, a.parts)
    row += a.row
    all_g, all_gx = _pull_row(a, data, row, a.length * part // a.parts, a.length * (part + 1) // a.parts, code)
    leave_sums(a, data, row, part, all_g, all_gx)


@_writing
def _some_columns(a, data, task, code):
    """The same columns of all rows of the step, so that the sums over rows stay in the cache."""
    first, last = a.length * task // a.tasks, a.length * (task + 1) // a.tasks
    dweight, dbias = behind(wides(a.dweight, data), first), behind(wides(a.dbias, data), first)
    _pull_rows_back(a, data, a.row, a.rows, first, last - first, dweight, dbias, a.row > 0, code, False)


@_called
def _fold_elements(a, data):
    """dweight and dbias of each number from the sums of the tasks, in a fixed order."""
    sums, dweight, dbias = wides(a.sums, data), wides(a.dweight, data), wides(a.dbias, data)
    for task in range(a.tasks):
        at = 2 * task * a.length
        for i in range(a.length):
            add(dweight, i, get(sums, at + i), task > 0)
            add_other(dbias, i, get(sums, at + a.length + i), task > 0)


@_writing
def _backward_elements_tasks(a, data, code, streamed):
    finished = 0
    while True:
        task = take(data, NEXT, 1)
        if task >= a.tasks:
            break
        if a.phase == STATISTICS | WRITE:
            _some_rows(a, data, task, code, streamed)
        elif a.phase == STATISTICS:
            _part_of_a_row(a, data, task, code)
        else:
            _some_columns(a, data, task, code)
        finished += 1
    if streamed:
        arrived(data)
    if a.phase & STATISTICS and finished_all(a, data, finished):
        if a.parts > 1:
            join_sums(a, data, a.row, a.row + a.rows)
        else:
            _fold_elements(a, data)


def backward_elements(code, streamed):
    """`backward` with a weight and a bias for each number of a statistic, which is one row."""

    def segments_backward_elements(data):
        _backward_elements_tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_backward_elements
