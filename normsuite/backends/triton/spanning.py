"""Norms whose statistics do not fit into registers, and those that are given: any norm, in either layout.

Where the statistics come from is a kernel's SOURCE:

    "program"  one program reads a statistic twice, the second time, if all goes well, from a cache
    "memory"   several programs share a statistic: `partial_statistics` and `finalize`, or `partial_sums` and `add_up`,
               have stored it
    "running"  they are the running statistics

No kernel uses atomics, so results have the same bits in every run.
"""

import triton
import triton.language as tl

from .merging import inverse_root, read_statistics, rounded, update_running, write_statistics
from .tiling import (
    activated,
    activated_backward,
    affine,
    along,
    channels_of,
    elements_of,
    inside,
    kept,
    offsets_of,
    read,
    scaled,
    slot_of,
    split_unit,
    start_of,
    statistic_of,
    total,
    totals,
    write,
    write_share,
)


@triton.jit
def program_of(SOURCE: tl.constexpr):
    """Return which unit and which part a program takes.

    A kernel that reads a tensor after another has read it goes from its end to its beginning: programs start in their
    order, and what was read last still lies in the second-level cache.
    """
    unit, part = tl.program_id(0), tl.program_id(1)
    if SOURCE == "memory":
        unit, part = tl.num_programs(0) - 1 - unit, tl.num_programs(1) - 1 - part
    return unit, part


@triton.jit
def forward(
    x, y, weight, bias, statistics, running_mean, running_var,
    eps, momentum, count,
    blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    tiles, tiles_per_part,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, PIECES: tl.constexpr, ACTIVATION: tl.constexpr,
    SOURCE: tl.constexpr, SAVE: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write y; SAVE: and the statistics; move the running statistics, or (SOURCE "running") normalise by them."""
    unit, part = program_of(SOURCE)
    outer, mid, block = split_unit(unit, blocks, middle)
    first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
    base = outer * C_OUTER + mid * C_MIDDLE
    i = along(block, A, WIDE)
    statistic = statistic_of(outer, mid, middle, inner, i, PIECES, WIDE)
    exists = i < inner
    col_tiles = tl.cdiv(cols, L)
    begin = part * tiles_per_part
    end = tl.minimum(begin + tiles_per_part, tiles)
    if SOURCE == "program":
        n, mean, m2 = statistics_of_part(
            x, first, i, inner, rows, row, cols,
            inner_stride, row_outer_stride, row_stride, col_stride, begin, end, col_tiles,
            TWO_LEVELS, CENTRED, EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, STAGES,
        )  # fmt: skip
        m, delta, var = rounded(mean, m2, n)
    if SOURCE == "running":
        m = tl.load(running_mean + i, mask=exists, other=0.0).to(tl.float32)[:, None, None]
        var = tl.load(running_var + i, mask=exists, other=0.0).to(tl.float32)[:, None, None]
        delta = tl.zeros_like(m)
    if SOURCE == "program" or SOURCE == "running":
        rstd = inverse_root(var, eps)
        if SAVE:
            write_statistics(statistics, statistic, number, exists, m, delta, rstd, var)
        if SOURCE == "program" and running_mean is not None:
            update_running(running_mean, running_var, i, exists, m, delta, var, count, momentum)
    if SOURCE == "memory":
        m, delta, rstd = read_statistics(statistics, statistic, number, exists, CENTRED)
    for tile in tl.range(begin, end, num_stages=STAGES):
        r = along(tile // col_tiles, R, WIDE)
        c = along(tile % col_tiles, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        v = read(x + first + offsets, mask, EVEN, "evict_first")
        d = (v - m) - delta if CENTRED else v
        channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
        w, b = affine(weight, bias, channel, channels)
        z = scaled(d * rstd, w, b, weight is not None, bias is not None)
        write(y + first + offsets, activated(z, ACTIVATION), mask, EVEN)


@triton.jit
def statistics_of_part(
    x, first, i, inner, rows, row, cols,
    inner_stride, row_outer_stride, row_stride, col_stride, begin, end, col_tiles,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Return n (a scalar), and mean and M2 as (A, 1, 1), in float64, of the tiles from `begin` to `end`.

    Deviations are taken from the mean of the first tile, which is near enough to the mean of all for their squares to
    keep their digits.
    """
    pivot = tl.zeros((A, 1, 1), tl.float32)
    if CENTRED:
        r = along(begin // col_tiles, R, WIDE)
        c = along(begin % col_tiles, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        here = elements_of(begin // col_tiles, begin % col_tiles, rows, cols, WIDE, R, L)
        pivot = total(read(x + first + offsets, mask, EVEN, "evict_last")) / here.to(tl.float32)
    sums = tl.zeros((A, R, L), tl.float32)
    squares = tl.zeros((A, R, L), tl.float32)
    n = tl.zeros((), tl.int64)
    for tile in tl.range(begin, end, num_stages=STAGES):
        r = along(tile // col_tiles, R, WIDE)
        c = along(tile % col_tiles, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        d = kept(read(x + first + offsets, mask, EVEN, "evict_last") - pivot, mask, EVEN)
        if CENTRED:
            sums += d
        squares += d * d
        n += elements_of(tile // col_tiles, tile % col_tiles, rows, cols, WIDE, R, L)
    of_n = n.to(tl.float64)
    if CENTRED:
        apart, squares = totals(sums, squares)
        shift = apart.to(tl.float64) / of_n
        mean = pivot.to(tl.float64) + shift
        m2 = squares.to(tl.float64) - shift * shift * of_n
    else:
        mean = tl.zeros((A, 1, 1), tl.float64)
        m2 = total(squares).to(tl.float64)
    return of_n, mean, m2


@triton.jit
def partial_statistics(
    x, partial,
    blocks, middle, inner, rows, row, cols, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    tiles, tiles_per_part,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, PIECES: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Store (n, mean, M2) of one part of each statistic as float64, in `partial` (3, parts, statistics)."""
    outer, mid, block = split_unit(tl.program_id(0), blocks, middle)
    first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
    i = along(block, A, WIDE)
    part = tl.program_id(1)
    begin = part * tiles_per_part
    n, mean, m2 = statistics_of_part(
        x, first, i, inner, rows, row, cols,
        inner_stride, row_outer_stride, row_stride, col_stride,
        begin, tl.minimum(begin + tiles_per_part, tiles), tl.cdiv(cols, L),
        TWO_LEVELS, CENTRED, EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, STAGES,
    )  # fmt: skip
    exists = i < inner
    place = statistic_of(outer, mid, middle, inner, i, 1, WIDE)
    here = partial + part.to(tl.int64) * number * PIECES + place
    step = tl.num_programs(1).to(tl.int64) * number * PIECES
    tl.store(here, tl.zeros((A,), tl.float64) + n, mask=exists)
    tl.store(here + step, tl.reshape(mean, (A,)), mask=exists)
    tl.store(here + 2 * step, tl.reshape(m2, (A,)), mask=exists)


@triton.jit
def sums_of_part(
    x, dy, weight, bias, m, delta, rstd, first, base, i, inner, rows, row, cols, channels,
    inner_stride, row_outer_stride, row_stride, col_stride, begin, end, col_tiles,
    C_INNER: tl.constexpr, C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr,
    EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Return Σ g·weight and Σ g·weight·x_hat of the tiles from `begin` to `end`, (A, 1, 1) each."""
    sums = tl.zeros((A, R, L), tl.float32)
    products = tl.zeros((A, R, L), tl.float32)
    for tile in tl.range(begin, end, num_stages=STAGES):
        r = along(tile // col_tiles, R, WIDE)
        c = along(tile % col_tiles, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        v = read(x + first + offsets, mask, EVEN, "evict_last")
        g = read(dy + first + offsets, mask, EVEN, "evict_last")
        x_hat = ((v - m) - delta) * rstd if CENTRED else v * rstd
        channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
        w, b = affine(weight, bias, channel, channels)
        z = scaled(x_hat, w, b, weight is not None, bias is not None)
        gw = kept(activated_backward(g, z, ACTIVATION) * w, mask, EVEN)
        if CENTRED:
            sums += gw
        products += gw * x_hat
    if CENTRED:
        return totals(sums, products)
    else:
        return tl.zeros((A, 1, 1), tl.float32), total(products)


@triton.jit
def partial_sums(
    x, dy, weight, bias, statistics, partial,
    blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    tiles, tiles_per_part,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, PIECES: tl.constexpr, ACTIVATION: tl.constexpr,
    EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Store Σ g·weight and Σ g·weight·x_hat of one part of each statistic, in `partial` (parts, 2, statistics)."""
    outer, mid, block = split_unit(tl.program_id(0), blocks, middle)
    first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
    i = along(block, A, WIDE)
    exists = i < inner
    statistic = statistic_of(outer, mid, middle, inner, i, PIECES, WIDE)
    m, delta, rstd = read_statistics(statistics, statistic, number, exists, CENTRED)
    part = tl.program_id(1)
    begin = part * tiles_per_part
    sums, products = sums_of_part(
        x, dy, weight, bias, m, delta, rstd, first, outer * C_OUTER + mid * C_MIDDLE, i,
        inner, rows, row, cols, channels, inner_stride, row_outer_stride, row_stride, col_stride,
        begin, tl.minimum(begin + tiles_per_part, tiles), tl.cdiv(cols, L),
        C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, CENTRED, ACTIVATION,
        EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, STAGES,
    )  # fmt: skip
    step = (tl.zeros((), tl.int64) + number) * PIECES
    here = partial + part * 2 * step + statistic_of(outer, mid, middle, inner, i, 1, WIDE)
    tl.store(here, tl.reshape(sums, (A,)), mask=exists)
    tl.store(here + step, tl.reshape(products, (A,)), mask=exists)


@triton.jit
def backward(
    x, dy, dx, weight, bias, statistics, sums, partial,
    count,
    units, blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    row_tiles, col_tiles, fixed_tiles, walks, tiles_per_walk, slots_row, width,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, PIECES: tl.constexpr, ACTIVATION: tl.constexpr,
    SOURCE: tl.constexpr, WALK: tl.constexpr, SHIFTS: tl.constexpr,
    EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write dx = rstd · (g·w − mean(g·w) − x_hat · mean(g·w·x_hat)), and this program's part of dweight and dbias.

    WALK: the axis along which a program takes tile after tile: "both", "cols" or "rows", so that all of them have the
    same channels, and it has one sum for each. Where there are more units than programs, those that a program takes
    have the same channels, too.
    """
    program, part = program_of(SOURCE)
    here = (part % walks) * tiles_per_walk
    walked = row_tiles * col_tiles if WALK == "both" else col_tiles if WALK == "cols" else row_tiles
    steps = tl.minimum(tiles_per_walk, walked - here)
    outer, mid, block = split_unit(program, blocks, middle)
    slot = slot_of(outer, mid, block, middle, blocks, C_OUTER, C_MIDDLE, C_INNER) * walks + part % walks
    base = outer * C_OUTER + mid * C_MIDDLE
    i = along(block, A, WIDE)
    fixed_begin = part // walks
    fixed_end = fixed_begin + 1
    if SOURCE == "program":
        fixed_end = fixed_tiles
        first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
        statistic = statistic_of(outer, mid, middle, inner, i, 1, WIDE)
        m, delta, rstd = read_statistics(statistics, statistic, number, i < inner, CENTRED)
        all_sums, all_products = sums_of_part(
            x, dy, weight, bias, m, delta, rstd, first, base, i,
            inner, rows, row, cols, channels, inner_stride, row_outer_stride, row_stride, col_stride,
            0, row_tiles * col_tiles, col_tiles,
            C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, CENTRED, ACTIVATION,
            EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, STAGES,
        )  # fmt: skip
        c1, c2 = all_sums / count, all_products / count
    for fixed in range(fixed_begin, fixed_end):
        r = along(0 if WALK == "both" or WALK == "rows" else fixed, R, WIDE)
        c = along(fixed if WALK == "rows" else 0, L, WIDE)
        g_sums = tl.zeros((A, R, L), tl.float32)
        gx_sums = tl.zeros((A, R, L), tl.float32)
        for unit in range(program, units, tl.num_programs(0)):
            outer, mid, block = split_unit(unit, blocks, middle)
            first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
            base = outer * C_OUTER + mid * C_MIDDLE
            i = along(block, A, WIDE)
            statistic = i if SOURCE == "running" else statistic_of(outer, mid, middle, inner, i, PIECES, WIDE)
            m, delta, rstd = read_statistics(statistics, statistic, number, i < inner, CENTRED)
            if SOURCE == "memory":
                c1 = tl.load(sums + statistic, mask=i < inner, other=0.0)[:, None, None]
                c2 = tl.load(sums + number + statistic, mask=i < inner, other=0.0)[:, None, None]
            if SOURCE == "running":  # the statistics are given: no sums are needed
                c1, c2 = None, None
            g_sums, gx_sums = _walk(
                x, dy, dx, weight, bias, partial, m, delta, rstd, c1, c2, g_sums, gx_sums, r, c, first, base, i, here,
                steps, col_tiles, inner, rows, row, cols, channels, inner_stride, row_outer_stride, row_stride,
                col_stride, C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, CENTRED, ACTIVATION, SOURCE, WALK, SHIFTS,
                EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, R, L, STAGES,
            )  # fmt: skip
        if partial is not None:
            write_share(
                partial, g_sums, gx_sums, slot, base, i, r, c, inner, rows, row, cols, channels, slots_row, width,
                C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, SHIFTS,
            )  # fmt: skip


@triton.jit
def _walk(
    x, dy, dx, weight, bias, partial, m, delta, rstd, c1, c2, g_sums, gx_sums, r, c, first, base, i, here,
    steps, col_tiles, inner, rows, row, cols, channels,
    inner_stride, row_outer_stride, row_stride, col_stride,
    C_INNER: tl.constexpr, C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr,
    SOURCE: tl.constexpr, WALK: tl.constexpr, SHIFTS: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    R: tl.constexpr, L: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write dx of one tile after the other, and return the sums of g and g·x_hat with those of these tiles added."""
    for step in tl.range(0, steps, num_stages=STAGES):
        if WALK == "both":
            r = along((here + step) // col_tiles, R, WIDE)
            c = along((here + step) % col_tiles, L, WIDE)
        elif WALK == "cols":
            c = along(here + step, L, WIDE)
        else:
            r = along(here + step, R, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
        w, b = affine(weight, bias, channel, channels)
        v = read(x + first + offsets, mask, EVEN, "evict_first")
        g = read(dy + first + offsets, mask, EVEN, "evict_first")
        x_hat = ((v - m) - delta) * rstd if CENTRED else v * rstd
        g = activated_backward(g, scaled(x_hat, w, b, weight is not None, bias is not None), ACTIVATION)
        g = kept(g, mask, EVEN)
        gw = g * w
        if dx is not None:
            if SOURCE == "running":
                result = gw * rstd
            elif CENTRED:
                result = (gw - c1 - x_hat * c2) * rstd
            else:
                result = (gw - x_hat * c2) * rstd
            write(dx + first + offsets, result, mask, EVEN)
        if partial is not None:
            if SHIFTS:
                g_sums += g
            gx_sums += g * x_hat
    return g_sums, gx_sums
