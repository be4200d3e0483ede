"""The backward pass with a weight for each channel."""

from numba import carray

from ..activations import pull
from ..arguments import arguments
from ..decorators import fused_inlined, inlined, summed_inlined
from ..elements import behind, doubles, elements, get, load, put, store, wide
from ..finalizing import (
    STATISTICS,
    WRITE,
    affine,
    all_sums,
    centred,
    end_backward,
    less,
    pull_one,
    recall,
    scaled,
    store_sums,
)
from ..sizes import SIZES
from ..streaming import BUFFER, buffer, stream
from ..tasks import loop
from .blocks import ask_for, block_at, blocks_of, blocks_of_all, part_of, statistic_at

_FOURS = SIZES.fours


@summed_inlined
def _pulls(x, dy, start, rows, stride, length, m, delta, scale, shift, code):
    """Return Σg and Σg·((x − m) − δ), with g the gradient of the activation's input."""
    total, weighted = wide(0, x), wide(0, x)
    for row in range(rows):
        at, own, own_weighted = start + row * stride, wide(0, x), wide(0, x)
        ask_for(x, at, stride, length, row + 1 < rows)
        ask_for(dy, at, stride, length, row + 1 < rows)
        for i in range(length):
            d = centred(get(x, at + i), m, delta)
            g = pull(get(dy, at + i), scaled(d, scale, shift), code)
            own += g
            own_weighted += g * d
        total += own
        weighted += own_weighted
    return total, weighted


@summed_inlined
def _pulls_by_fours(x, dy, start, rows, stride, length, m, delta, scale, shift, code):
    """Return what `_pulls` does, of four rows or more, four at a time (`statistics`)."""
    total, weighted = wide(0, x), wide(0, x)
    fours = rows // 4 * 4
    for row in range(0, fours, 4):
        at, own, own_weighted = start + row * stride, wide(0, x), wide(0, x)
        for i in range(at, at + length):
            g0, w0 = pull_one(x, dy, i, m, delta, scale, shift, code)
            g1, w1 = pull_one(x, dy, i + stride, m, delta, scale, shift, code)
            g2, w2 = pull_one(x, dy, i + 2 * stride, m, delta, scale, shift, code)
            g3, w3 = pull_one(x, dy, i + 3 * stride, m, delta, scale, shift, code)
            own += (g0 + g1) + (g2 + g3)
            own_weighted += (w0 + w1) + (w2 + w3)
        total += own
        weighted += own_weighted
    at, rest = start + fours * stride, rows - fours
    own, own_weighted = _pulls(x, dy, at, rest, stride, length, m, delta, scale, shift, code)
    return total + own, weighted + own_weighted


@fused_inlined
def _write_dx_row(x, dy, dx, length, m, delta, rstd, weight, shift, mean_g, mean_gx, code):
    """Write dx = rstd · ((weight·g − mean_g) − x̂·mean_gx).

    Frozen statistics have means of 0, and x̂ may be infinite there.
    """
    scale = rstd * weight
    for i in range(length):
        d = centred(get(x, i), m, delta)
        g = pull(get(dy, i), scaled(d, scale, shift), code)
        own = less(weight * g, mean_g)
        put(dx, i, rstd * (own if mean_gx == 0 else own - (d * rstd) * mean_gx))


@fused_inlined
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


@fused_inlined
def _pull_part(a, data, task, shape, blocks, code):
    """Return Σ weight·g and Σ weight·g·x̂ of one part of a statistic; store its part of dweight and dbias in `sums`."""
    statistic, part = part_of(a, task)
    start, channel, outer = statistic_at(a, statistic)
    x, dy, sums = elements(a.x, data), elements(a.dy, data), doubles(a.sums)
    m, delta, rstd = recall(a, data, statistic)
    slots = (part * a.outer + outer) * a.channels
    if a.sums:
        for here in range(channel, channel + (a.row_inner if a.channel_row_inner else 1)):
            store(sums, 2 * (slots + here), 0.0)
            store(sums, 2 * (slots + here) + 1, 0.0)
    all_g, all_gx = 0.0, 0.0
    first, last = blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, _, length = block_at(a, shape, index)
        at_once = rows if a.channel_row_inner == 0 else 1
        for row in range(0, rows, at_once):
            at = start + offset + row * a.stride_row_inner
            here = channel + further + row * a.channel_row_inner
            weight, bias = affine(a, data, here)
            if at_once >= 4 and length >= _FOURS:
                g, gd = _pulls_by_fours(
                    x, dy, at, at_once, a.stride_row_inner, length, m, delta, rstd * weight, bias, code
                )
            else:
                g, gd = _pulls(x, dy, at, at_once, a.stride_row_inner, length, m, delta, rstd * weight, bias, code)
            g64, gx = float(g), float(gd) * float(rstd)
            all_g += weight * g64
            all_gx += weight * gx
            if a.sums:
                slot = 2 * (slots + here)
                store(sums, slot, load(sums, slot) + gx)
                store(sums, slot + 1, load(sums, slot + 1) + g64)
    return all_g, all_gx


@fused_inlined
def _pull_back(a, data, task, shape, blocks, code, all_g, all_gx, streamed):
    statistic, part = part_of(a, task)
    start, channel, _ = statistic_at(a, statistic)
    x, dy, dx = elements(a.x, data), elements(a.dy, data), elements(a.y, data)
    m, delta, rstd = recall(a, data, statistic)
    n = a.row_outer * a.row_inner * a.length
    mean_g = wide(all_g / n, data) if a.centred and not a.frozen else wide(0, data)
    mean_gx = wide(all_gx / n, data) if not a.frozen else wide(0, data)
    first, last = blocks_of(a, part, blocks)
    for index in range(first, last):
        offset, further, rows, _, length = block_at(a, shape, index)
        at_once = rows if a.channel_row_inner == 0 else 1
        for row in range(0, rows, at_once):
            at = start + offset + row * a.stride_row_inner
            weight, bias = affine(a, data, channel + further + row * a.channel_row_inner)
            _write_dx(
                x, dy, dx, at, at_once, a.stride_row_inner, length,
                m, delta, rstd, weight, bias, mean_g, mean_gx, code, streamed,
            )  # fmt: skip


@fused_inlined
def _pull_short_rows(a, data, first, last, code):
    """Compute the sums of `_pull_part` for statistics that are one short row each; they go into `scratch`."""
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
        store_sums(a, data, task, 0, weight * g64, weight * gx)
        if summed:
            slot = 2 * (outer * a.channels + channel)
            store(sums, slot, gx)
            store(sums, slot + 1, g64)
        inner += 1
        if inner == a.inner:
            outer, inner = outer + 1, 0


@fused_inlined
def _pull_short_rows_back(a, data, first, last, code):
    """Write dx, as `_pull_back` does, for statistics that are one short row each."""
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


@fused_inlined
def _do(a, data, here, first, last, code, streamed):
    shape, blocks, short = here
    if a.phase & STATISTICS and short:
        _pull_short_rows(a, data, first, last, code)
    elif a.phase & STATISTICS:
        for task in range(first, last):
            all_g, all_gx = _pull_part(a, data, task, shape, blocks, code)
            statistic, part = part_of(a, task)
            store_sums(a, data, statistic, part, all_g, all_gx)
    if a.phase & WRITE and short and not streamed:
        _pull_short_rows_back(a, data, first, last, code)
    elif a.phase & WRITE:
        for task in range(first, last):
            all_g, all_gx = 0.0, 0.0
            if not a.frozen:
                all_g, all_gx = all_sums(a, data, part_of(a, task)[0])
            _pull_back(a, data, task, shape, blocks, code, all_g, all_gx, streamed)


@inlined
def _end(a, data, last):
    end_backward(a, data, last, a.parts * a.outer)


_tasks = loop(blocks_of_all, _do, _end, grained=True)


def backward(code, streamed):
    """Return the kernel of dx, dweight and dbias, with a weight for each channel.

    dx = rstd · (weight·g − mean(weight·g) − x̂ · mean(weight·g·x̂)); dweight = Σ g·x̂ and dbias = Σ g of each channel.
    """

    def segments_backward(data):
        _tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return segments_backward
