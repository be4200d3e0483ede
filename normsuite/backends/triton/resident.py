"""Norms whose statistics fit into registers: the tensor is read once, any norm in either layout.

A statistic is TILES tiles, next to each other along its columns or its rows, so that sizes that are no powers of two
waste little.
"""

import triton
import triton.language as tl

from .merging import inverse_root, not_negative, read_statistics, update_running, write_statistics
from .tiling import (
    activated,
    activated_backward,
    affine,
    along,
    channels_of,
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
def forward_resident(
    x, y, weight, bias, statistics, running_mean, running_var,
    eps, momentum, count,
    units, blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr, SAVE: tl.constexpr,
    EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Write y; SAVE: and the statistics; move the running statistics where there are any."""
    if STAGES == 1:  # not as a loop of one round, which takes a tenth longer
        _forward_unit(
            x, y, weight, bias, statistics, running_mean, running_var, eps, momentum, count, tl.program_id(0),
            blocks, middle, inner, rows, row, cols, channels, number, outer_stride, middle_stride, inner_stride,
            row_outer_stride, row_stride, col_stride, C_OUTER, C_MIDDLE, C_INNER, C_ROW_OUTER, C_ROW, C_COL,
            TWO_LEVELS, CENTRED, ACTIVATION, SAVE, EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, TILES,
            ALONG_ROWS,
        )  # fmt: skip
    else:
        for unit in tl.range(tl.program_id(0), units, tl.num_programs(0), num_stages=STAGES):
            _forward_unit(
                x, y, weight, bias, statistics, running_mean, running_var, eps, momentum, count, unit, blocks,
                middle, inner, rows, row, cols, channels, number, outer_stride, middle_stride, inner_stride,
                row_outer_stride, row_stride, col_stride, C_OUTER, C_MIDDLE, C_INNER, C_ROW_OUTER, C_ROW, C_COL,
                TWO_LEVELS, CENTRED, ACTIVATION, SAVE, EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, TILES,
                ALONG_ROWS,
            )  # fmt: skip


@triton.jit
def _forward_unit(
    x, y, weight, bias, statistics, running_mean, running_var,
    eps, momentum, count,
    unit, blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr, SAVE: tl.constexpr,
    EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
):  # fmt: skip
    """Write y of one block of statistics."""
    outer, mid, block = split_unit(unit, blocks, middle)
    first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
    base = outer * C_OUTER + mid * C_MIDDLE
    i = along(block, A, WIDE)
    statistic = statistic_of(outer, mid, middle, inner, i, 1, WIDE)
    exists = i < inner
    tiles = ()
    sums = tl.zeros((A, R, L), tl.float32)
    for tile in tl.static_range(TILES):
        r = along(tile if ALONG_ROWS else 0, R, WIDE)
        c = along(0 if ALONG_ROWS else tile, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        v = read(x + first + offsets, mask, EVEN, "evict_first")
        tiles = tiles + (v,)
        sums += v if CENTRED else v * v
    if CENTRED:
        m = tl.div_rn(total(sums), count)
        is_coarse: tl.constexpr = x.dtype.element_ty == tl.bfloat16  # too coarse for m to be off by much
        delta, var = _deviations(
            tiles, m, count, i, inner, rows, cols, is_coarse, EVEN, WIDE, INNER_ALIGN, COL_ALIGN, A, R, L, TILES,
            ALONG_ROWS,
        )  # fmt: skip
    else:
        m = tl.zeros((A, 1, 1), tl.float32)
        delta = m
        var = tl.div_rn(total(sums), count)
    rstd = inverse_root(var, eps)
    if SAVE:
        write_statistics(statistics, statistic, number, exists, m, delta, rstd, var)
    if running_mean is not None:
        update_running(running_mean, running_var, i, exists, m, delta, var, count, momentum)
    for tile in tl.static_range(TILES):
        r = along(tile if ALONG_ROWS else 0, R, WIDE)
        c = along(0 if ALONG_ROWS else tile, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
        w, b = affine(weight, bias, channel, channels)
        x_hat = ((tiles[tile] - m) - delta) * rstd if CENTRED else tiles[tile] * rstd
        z = scaled(x_hat, w, b, weight is not None, bias is not None)
        write(y + first + offsets, activated(z, ACTIVATION), mask, EVEN)


@triton.jit
def _deviations(
    tiles, m, count, i, inner, rows, cols,
    COARSE: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
):  # fmt: skip
    """Return the distance from m to the mean, 0 if COARSE, and the biased variance."""
    sums = tl.zeros((A, R, L), tl.float32)
    squares = tl.zeros((A, R, L), tl.float32)
    for tile in tl.static_range(TILES):
        r = along(tile if ALONG_ROWS else 0, R, WIDE)
        c = along(0 if ALONG_ROWS else tile, L, WIDE)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        d = kept(tiles[tile] - m, mask, EVEN)
        sums += d
        squares += d * d
    if COARSE:
        delta = tl.zeros((A, 1, 1), tl.float32)
        var = tl.div_rn(total(squares), count)
    else:
        apart, squared = totals(sums, squares)
        delta = tl.div_rn(apart, count)
        var = not_negative(tl.div_rn(squared, count) - delta * delta)
    return delta, var


@triton.jit
def backward_resident(
    x, dy, dx, weight, bias, statistics, partial,
    count,
    units, blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    slots_row, width,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr,
    SHARED: tl.constexpr, APART: tl.constexpr, SHIFTS: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
    OWN: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write dx = rstd · (g·w − mean(g·w) − x_hat · mean(g·w·x_hat)), and this program's part of dweight and dbias.

    SHARED: the units that a program takes have the same channels, and it has one sum for each channel.
    APART: tiles have channels, and so sums, of their own. OWN: how many of the tiles a program writes; if not all, it
    reads the others for their sums, at about the time when those who write them read them too.
    """
    shift = tl.program_id(1) * OWN
    weights = ()
    if OWN < TILES:  # once: in the loop they would take the shared memory that the tensors need
        for tile in tl.static_range(TILES):
            i = along(0, A, WIDE)
            r = along((shift + OWN + tile) % TILES if ALONG_ROWS else 0, R, WIDE)
            c = along(0 if ALONG_ROWS else (shift + OWN + tile) % TILES, L, WIDE)
            channel = channels_of(0, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
            w, b = affine(weight, bias, channel, channels)
            weights = weights + (w, b)
    shares = ()
    for _ in tl.static_range(OWN if SHARED else 1):
        shares = shares + (tl.zeros((A, R, L), tl.float32), tl.zeros((A, R, L), tl.float32))
    if STAGES == 1 and not SHARED:
        shares = _backward_unit(
            x, dy, dx, weight, bias, statistics, partial, count, shift, shares, weights, tl.program_id(0), blocks,
            middle, inner, rows, row, cols, channels, number, outer_stride, middle_stride, inner_stride,
            row_outer_stride, row_stride, col_stride, slots_row, width, C_OUTER, C_MIDDLE, C_INNER, C_ROW_OUTER,
            C_ROW, C_COL, TWO_LEVELS, CENTRED, ACTIVATION, SHARED, APART, SHIFTS, EVEN, WIDE, ALIGN, INNER_ALIGN,
            COL_ALIGN, A, R, L, TILES, ALONG_ROWS, OWN,
        )  # fmt: skip
    else:
        for unit in tl.range(tl.program_id(0), units, tl.num_programs(0), num_stages=STAGES):
            shares = _backward_unit(
                x, dy, dx, weight, bias, statistics, partial, count, shift, shares, weights, unit, blocks, middle,
                inner, rows, row, cols, channels, number, outer_stride, middle_stride, inner_stride,
                row_outer_stride, row_stride, col_stride, slots_row, width, C_OUTER, C_MIDDLE, C_INNER, C_ROW_OUTER,
                C_ROW, C_COL, TWO_LEVELS, CENTRED, ACTIVATION, SHARED, APART, SHIFTS, EVEN, WIDE, ALIGN,
                INNER_ALIGN, COL_ALIGN, A, R, L, TILES, ALONG_ROWS, OWN,
            )  # fmt: skip
    if partial is not None and SHARED:
        outer, mid, block = split_unit(tl.program_id(0), blocks, middle)
        slot = slot_of(outer, mid, block, middle, blocks, C_OUTER, C_MIDDLE, C_INNER)
        for tile in tl.static_range(OWN):
            i = along(block, A, WIDE)
            r = along(shift + tile if ALONG_ROWS else 0, R, WIDE)
            c = along(0 if ALONG_ROWS else shift + tile, L, WIDE)
            write_share(
                partial, shares[2 * tile], shares[2 * tile + 1], slot, mid * C_MIDDLE,
                i, r, c, inner, rows, row, cols, channels,
                slots_row, width, C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, SHIFTS,
            )  # fmt: skip


@triton.jit
def _backward_unit(
    x, dy, dx, weight, bias, statistics, partial,
    count, shift, shares, weights,
    unit, blocks, middle, inner, rows, row, cols, channels, number,
    outer_stride, middle_stride, inner_stride, row_outer_stride, row_stride, col_stride,
    slots_row, width,
    C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr,
    C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr,
    SHARED: tl.constexpr, APART: tl.constexpr, SHIFTS: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
    OWN: tl.constexpr,
):  # fmt: skip
    """Write dx of one block of statistics, and the sums of its channels; return those instead if they are SHARED."""
    outer, mid, block = split_unit(unit, blocks, middle)
    first = start_of(outer, mid, outer_stride, middle_stride, ALIGN)
    base = outer * C_OUTER + mid * C_MIDDLE
    i = along(block, A, WIDE)
    statistic = statistic_of(outer, mid, middle, inner, i, 1, WIDE)
    m, delta, rstd = read_statistics(statistics, statistic, number, i < inner, CENTRED)
    values, gradients, sums, products = _normalised(
        x, dy, weight, bias, m, delta, rstd, shift, weights, first, base, i, inner, rows, row, cols, channels,
        inner_stride, row_outer_stride, row_stride, col_stride, C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS,
        CENTRED, ACTIVATION, EVEN, WIDE, ALIGN, INNER_ALIGN, COL_ALIGN, A, R, L, TILES, ALONG_ROWS, OWN,
    )  # fmt: skip
    if CENTRED:
        c1, c2 = totals(sums, products)
        c1 = c1 / count
        c2 = c2 / count
    else:
        c1 = tl.zeros((A, 1, 1), tl.float32)
        c2 = total(products) / count
    new = ()
    for tile in tl.static_range(OWN):
        place = tile if OWN == TILES else shift + tile
        r = along(place if ALONG_ROWS else 0, R, WIDE)
        c = along(0 if ALONG_ROWS else place, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        g = gradients[tile]
        x_hat = values[tile]
        if dx is not None:
            if OWN < TILES:
                w = weights[2 * (TILES - OWN + tile)]
            else:
                channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
                w, _ = affine(weight, bias, channel, channels)
            result = (g * w - c1 - x_hat * c2) * rstd if CENTRED else (g * w - x_hat * c2) * rstd
            write(dx + first + offsets, result, mask, EVEN)
        if SHARED:
            new = new + (shares[2 * tile] + g, shares[2 * tile + 1] + g * x_hat)
    if partial is not None and not SHARED:
        slot = slot_of(outer, mid, block, middle, blocks, C_OUTER, C_MIDDLE, C_INNER)
        _write_shares(
            partial, values, gradients, slot, base, i, inner, rows, row, cols, channels, slots_row, width,
            C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, APART, SHIFTS, WIDE, A, R, L, TILES, ALONG_ROWS,
        )  # fmt: skip
    return new if SHARED else shares


@triton.jit
def _normalised(
    x, dy, weight, bias, m, delta, rstd, shift, weights, first, base, i, inner, rows, row, cols, channels,
    inner_stride, row_outer_stride, row_stride, col_stride,
    C_INNER: tl.constexpr, C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, CENTRED: tl.constexpr, ACTIVATION: tl.constexpr, EVEN: tl.constexpr, WIDE: tl.constexpr,
    ALIGN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
    OWN: tl.constexpr,
):  # fmt: skip
    """Return x_hat and the gradient of the norm's output, of the tiles that are written, and two sums over all tiles.

    The sums are those of g·weight, which is added up only where the norm centres, and of g·weight·x_hat.
    """
    values = ()
    gradients = ()
    sums = tl.zeros((A, R, L), tl.float32)
    products = tl.zeros((A, R, L), tl.float32)
    for tile in tl.static_range(TILES):  # its own tiles last, so that they are kept for a shorter time
        place = tile if OWN == TILES else (shift + OWN + tile) % TILES
        r = along(place if ALONG_ROWS else 0, R, WIDE)
        c = along(0 if ALONG_ROWS else place, L, WIDE)
        offsets = offsets_of(i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride, TWO_LEVELS, ALIGN)
        mask = inside(i, r, c, inner, rows, cols, EVEN, INNER_ALIGN, COL_ALIGN)
        if OWN < TILES:
            w, b = weights[2 * tile], weights[2 * tile + 1]
        else:
            channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
            w, b = affine(weight, bias, channel, channels)
        v = read(x + first + offsets, mask, EVEN, "evict_first")
        g = read(dy + first + offsets, mask, EVEN, "evict_first")
        x_hat = ((v - m) - delta) * rstd if CENTRED else v * rstd
        z = scaled(x_hat, w, b, weight is not None, bias is not None)
        g = kept(activated_backward(g, z, ACTIVATION), mask, EVEN)
        if tile >= TILES - OWN:
            values = values + (x_hat,)
            gradients = gradients + (g,)
        gw = g * w
        if CENTRED:
            sums += gw
        products += gw * x_hat
    return values, gradients, sums, products


@triton.jit
def _write_shares(
    partial, values, gradients, slot, base, i, inner, rows, row, cols, channels, slots_row, width,
    C_INNER: tl.constexpr, C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, APART: tl.constexpr, SHIFTS: tl.constexpr, WIDE: tl.constexpr,
    A: tl.constexpr, R: tl.constexpr, L: tl.constexpr, TILES: tl.constexpr, ALONG_ROWS: tl.constexpr,
):  # fmt: skip
    """Store the sums of one block of statistics: of each of its tiles if they are APART, else of all."""
    g_sums = tl.zeros((A, R, L), tl.float32)
    gx_sums = tl.zeros((A, R, L), tl.float32)
    for tile in tl.static_range(TILES):
        g_sums += gradients[tile]
        gx_sums += gradients[tile] * values[tile]
        if APART or tile == TILES - 1:
            r = along(tile if ALONG_ROWS else 0, R, WIDE)
            c = along(0 if ALONG_ROWS else tile, L, WIDE)
            write_share(
                partial, g_sums, gx_sums, slot, base, i, r, c, inner, rows, row, cols, channels,
                slots_row, width, C_INNER, C_ROW_OUTER, C_ROW, C_COL, TWO_LEVELS, SHIFTS,
            )  # fmt: skip
            g_sums = tl.zeros((A, R, L), tl.float32)
            gx_sums = tl.zeros((A, R, L), tl.float32)
