"""The backward pass with a weight for each number: one row is one statistic."""

from numba import carray

from ..activations import pull
from ..arguments import arguments
from ..decorators import called, fused_inlined, inlined, summed_inlined
from ..elements import add, add_other, behind, elements, get, put, put_fourth, put_second, put_third, wide, wides
from ..finalizing import STATISTICS, WRITE, all_sums, centred, less, merge_sums, recall, store_sums
from ..streaming import BUFFER, buffer, stream
from ..tasks import loop, nothing
from .blocks import BLOCK


@summed_inlined
def _pulls_of_elements(x, dy, weight, bias, start, column, length, m, delta, rstd, code):
    """Return Σ weight·g and Σ weight·g·x̂ of a piece of a row."""
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


@fused_inlined
def _pull_row(a, data, row, first, last, code):
    """Return Σ weight·g and Σ weight·g·x̂ of the elements first to last of a row."""
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


@inlined
def _means(a, data, row):
    """Return the means of weight·g and weight·g·x̂ of a row."""
    all_g, all_gx = all_sums(a, data, row)
    return wide(all_g / a.length, data) if a.centred else wide(0, data), wide(all_gx / a.length, data)


@fused_inlined
def _back(x, dy, i, w, shift, m, delta, rstd, mean_g, mean_gx, code):
    """Return dx, g·x̂ and g of one number."""
    x_hat = centred(get(x, i), m, delta) * rstd
    g = pull(get(dy, i), x_hat * w + shift, code)
    return rstd * (less(w * g, mean_g) - x_hat * mean_gx), g * x_hat, g


@fused_inlined
def _write_dx_of_row(a, data, row, column, length, dx, dweight, dbias, begun, code):
    """Write dx of a piece of a row; add g·x̂ to dweight and g to dbias, or write them there where `begun` is false."""
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


@fused_inlined
def _write_dx_of_four_rows(a, data, row, column, length, dx, dx_stride, dweight, dbias, begun, code):
    """Write dx of a piece of four rows at once, so that weights and sums are read and written once.

    The rows of dx begin `dx_stride` elements from each other. dweight and dbias are as in `_write_dx_of_row`.
    """
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
        put_second(dx, dx_stride + i, d)
        d, gx2, g2 = _back(x, dy, 2 * stride + i, w, shift, m2, delta2, rstd2, mean_g2, mean_gx2, code)
        put_third(dx, 2 * dx_stride + i, d)
        d, gx3, g3 = _back(x, dy, 3 * stride + i, w, shift, m3, delta3, rstd3, mean_g3, mean_gx3, code)
        put_fourth(dx, 3 * dx_stride + i, d)
        add(dweight, i, (gx0 + gx1) + (gx2 + gx3), begun)
        add_other(dbias, i, (g0 + g1) + (g2 + g3), begun)


@fused_inlined
def _pull_rows_back(a, data, row, rows, column, length, dweight, dbias, begun, code, streamed):
    """Write dx of those columns of several rows; add to dweight and dbias, or begin these sums."""
    dx = elements(a.y, data)
    here = buffer(dx)
    last = row + rows
    while row < last:
        together = 4 if last - row >= 4 else 1
        piece = BUFFER if streamed else max(length, 1)
        for first in range(0, length, piece):
            count, at = min(piece, length - first), row * a.length + column + first
            to, dx_stride = (here, BUFFER) if streamed else (behind(dx, at), a.length)
            sums, other_sums = behind(dweight, first), behind(dbias, first)
            if together == 4:
                _write_dx_of_four_rows(
                    a, data, row, column + first, count, to, dx_stride, sums, other_sums, begun, code
                )
            else:
                _write_dx_of_row(a, data, row, column + first, count, to, sums, other_sums, begun, code)
            if streamed:
                for each in range(together):
                    stream(behind(dx, at + each * a.length), behind(here, each * BUFFER), count)
        row, begun = row + together, True


@fused_inlined
def _some_rows(a, data, task, code, streamed):
    """Differentiate the rows of a task, a cached group at a time, each read from memory once.

    The gradients of weight and bias go into the task's own sums.
    """
    sums = behind(wides(a.sums, data), 2 * task * a.length)
    rows = a.outer * a.inner
    fours = (rows + 3) // 4  # rounded up, so that no single row is left
    begin, last = 4 * (fours * task // a.tasks), min(rows, 4 * (fours * (task + 1) // a.tasks))
    for first in range(begin, last, a.grain):
        count = min(a.grain, last - first)
        for row in range(first, first + count):
            all_g, all_gx = _pull_row(a, data, row, 0, a.length, code)
            store_sums(a, data, row, 0, all_g, all_gx)
        begun = first > begin
        _pull_rows_back(a, data, first, count, 0, a.length, sums, behind(sums, a.length), begun, code, streamed)


@fused_inlined
def _part_of_a_row(a, data, task, code):
    """Store the partial sums of a part of a long row."""
    row, part = divmod(task, a.parts)
    row += a.row
    all_g, all_gx = _pull_row(a, data, row, a.length * part // a.parts, a.length * (part + 1) // a.parts, code)
    store_sums(a, data, row, part, all_g, all_gx)


@fused_inlined
def _some_columns(a, data, task, code):
    """Write dx of the same columns of all rows of the step, so that the sums over rows stay in the cache."""
    first, last = a.length * task // a.tasks, a.length * (task + 1) // a.tasks
    dweight, dbias = behind(wides(a.dweight, data), first), behind(wides(a.dbias, data), first)
    _pull_rows_back(a, data, a.row, a.rows, first, last - first, dweight, dbias, a.row > 0, code, False)


@called
def _fold_elements(a, data):
    """Add up dweight and dbias of each element from the sums of the tasks, in a fixed order."""
    sums, dweight, dbias = wides(a.sums, data), wides(a.dweight, data), wides(a.dbias, data)
    for task in range(a.tasks):
        at = 2 * task * a.length
        for i in range(a.length):
            add(dweight, i, get(sums, at + i), task > 0)
            add_other(dbias, i, get(sums, at + a.length + i), task > 0)


@fused_inlined
def _do(a, data, here, task, last, code, streamed):
    if a.phase == STATISTICS | WRITE:
        _some_rows(a, data, task, code, streamed)
    elif a.phase == STATISTICS:
        _part_of_a_row(a, data, task, code)
    else:
        _some_columns(a, data, task, code)


@inlined
def _end(a, data, last):
    if last and a.phase & STATISTICS:
        if a.parts > 1:
            merge_sums(a, data, a.row, a.row + a.rows)
        else:
            _fold_elements(a, data)


_tasks = loop(nothing, _do, _end, grained=False)


def backward_elements(code, streamed):
    """Return the kernel of `backward` with a weight and a bias for each element of a statistic, which is one row."""

    def segments_backward_elements(data):
        _tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_backward_elements
