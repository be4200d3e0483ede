"""The forward pass: statistics, and y written row by row."""

from numba import carray

from ..activations import activate
from ..arguments import arguments
from ..decorators import fused_inlined
from ..elements import behind, elements, get, put, put_fourth, put_second, put_third, wide, wides
from ..finalizing import STATISTICS, WRITE, affine, centred, end_forward, recall, scaled
from ..sizes import SIZES
from ..streaming import BUFFER, buffer, stream
from ..tasks import loop
from .blocks import block_at, blocks_of, blocks_of_all, part_of, statistic_at
from .statistics import find_statistics

_LONG = SIZES.long_row


@fused_inlined
def _write_row(x, y, length, m, delta, scale, shift, code):
    for i in range(length):
        put(y, i, activate(scaled(centred(get(x, i), m, delta), scale, shift), code))


@fused_inlined
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


@fused_inlined
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


@fused_inlined
def _write_elements(x, y, weight, bias, start, column, length, m, delta, rstd, code, streamed):
    """Write y with a weight and a bias for each number; an address of 0 stands for no bias."""
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


@fused_inlined
def _number(x, i, m, delta, rstd, w, shift, code):
    return activate((centred(get(x, i), m, delta) * rstd) * w + shift, code)


@fused_inlined
def _write_four_rows(a, data, row, code):
    """Write y of four rows at once, so that weights and biases are read once for all four."""
    stride, biased = a.length, a.bias != 0
    x, y = behind(elements(a.x, data), row * stride), behind(elements(a.y, data), row * stride)
    weights, biases = wides(a.weight, data), wides(a.bias, data)
    m0, delta0, rstd0 = recall(a, data, row)
    m1, delta1, rstd1 = recall(a, data, row + 1)
    m2, delta2, rstd2 = recall(a, data, row + 2)
    m3, delta3, rstd3 = recall(a, data, row + 3)
    for i in range(stride):
        # −0 leaves every number as it is, 0 would turn −0 into 0.
        w, shift = get(weights, i), get(biases, i) if biased else wide(-0.0, data)
        put(y, i, _number(x, i, m0, delta0, rstd0, w, shift, code))
        put_second(y, stride + i, _number(x, stride + i, m1, delta1, rstd1, w, shift, code))
        put_third(y, 2 * stride + i, _number(x, 2 * stride + i, m2, delta2, rstd2, w, shift, code))
        put_fourth(y, 3 * stride + i, _number(x, 3 * stride + i, m3, delta3, rstd3, w, shift, code))


@fused_inlined
def _write(a, data, task, shape, blocks, code, per_element, streamed):
    statistic, part = part_of(a, task)
    start, channel, _ = statistic_at(a, statistic)
    x, y = elements(a.x, data), elements(a.y, data)
    m, delta, rstd = recall(a, data, statistic)
    first, last = blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, column, length = block_at(a, shape, index)
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


@fused_inlined
def _write_short_rows(a, data, first, last, code):
    """Write y for statistics that are one short row each."""
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


@fused_inlined
def _write_columns(a, data, task, code):
    """Write the same columns of all rows, so that their weights stay in the cache."""
    x, y = elements(a.x, data), elements(a.y, data)
    first, last = a.length * task // a.tasks, a.length * (task + 1) // a.tasks
    for row in range(a.outer * a.inner):
        m, delta, rstd = recall(a, data, row)
        at = row * a.length + first
        _write_elements(x, y, a.weight, a.bias, at, first, last - first, m, delta, rstd, code, False)


@fused_inlined
def _do(a, data, here, first, last, code, streamed, per_element):
    shape, blocks, short = here
    # All statistics of the batch are computed first: a processor overlaps their roots and divisions.
    if a.phase & STATISTICS:
        find_statistics(a, data, first, last, shape, blocks, short)
    if a.phase & WRITE and short and not streamed and not per_element:
        _write_short_rows(a, data, first, last, code)
    elif a.phase & WRITE:
        if per_element and not streamed and a.parts == 1 and last - first == 4 and a.length >= _LONG:
            _write_four_rows(a, data, first, code)
            first = last
        for task in range(first, last):
            if per_element and a.phase == WRITE:
                _write_columns(a, data, task, code)
            else:
                _write(a, data, task, shape, blocks, code, per_element, streamed)


@fused_inlined
def _do_channels(a, data, here, first, last, code, streamed):
    _do(a, data, here, first, last, code, streamed, False)


@fused_inlined
def _do_elements(a, data, here, first, last, code, streamed):
    _do(a, data, here, first, last, code, streamed, True)


_of_channels = loop(blocks_of_all, _do_channels, end_forward, grained=True)
_of_elements = loop(blocks_of_all, _do_elements, end_forward, grained=True)


def forward(code, streamed):
    """Return the kernel of y = act(((x − m) − δ) · rstd · weight + bias), with a weight and a bias for each channel."""

    def segments_forward(data):
        _of_channels(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_forward


def forward_elements(code, streamed):
    """Return the same kernel with a weight and a bias for each number of a statistic, which is one row."""

    def segments_forward_elements(data):
        _of_elements(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_forward_elements
