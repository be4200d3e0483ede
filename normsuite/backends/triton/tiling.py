"""Offsets of a tile's elements, masks of those that exist, and the sums over them.

A program works on tiles of three axes: A statistics side by side, R rows and L columns of each. Offsets are sums of one
vector per axis, so that the axis of stride 1, whichever it is, is the one that neighbouring threads walk along.
"""

import triton
import triton.language as tl


@triton.jit
def split_unit(unit, blocks, middle):
    """Return (outer, middle, block of statistics) of a unit of work."""
    rest = unit // blocks
    return rest // middle, rest % middle, unit % blocks


@triton.jit
def begin_of(block, SIZE: tl.constexpr, WIDE: tl.constexpr):
    """Return the first index of one block along one axis; 64 bits wide where offsets of the tensor need that."""
    if WIDE:  # before the product, which may not fit into 32 bits
        block = tl.zeros((), tl.int64) + block
    return block * SIZE


@triton.jit
def along(block, SIZE: tl.constexpr, WIDE: tl.constexpr):
    """Return the indices of one block along one axis."""
    return begin_of(block, SIZE, WIDE) + tl.arange(0, SIZE)


@triton.jit
def elements_of(row_tile, col_tile, rows, cols, WIDE: tl.constexpr, R: tl.constexpr, L: tl.constexpr):
    """Return how many elements of a tile exist, of each statistic."""
    return tl.minimum(rows - begin_of(row_tile, R, WIDE), R) * tl.minimum(cols - begin_of(col_tile, L, WIDE), L)


@triton.jit
def statistic_of(outer, mid, middle, inner, i, PIECES: tl.constexpr, WIDE: tl.constexpr):
    """Return the places of statistics, of which PIECES neighbours are one."""
    if WIDE:
        outer = tl.zeros((), tl.int64) + outer
    return (outer * middle + mid) * (inner // PIECES) + i // PIECES


@triton.jit
def start_of(outer, middle, outer_stride, middle_stride, ALIGN: tl.constexpr):
    """Return where the statistics of one outer and middle index begin."""
    return tl.multiple_of(outer.to(tl.int64) * outer_stride + middle.to(tl.int64) * middle_stride, ALIGN)


@triton.jit
def offsets_of(
    i, r, c, row, inner_stride, row_outer_stride, row_stride, col_stride,
    TWO_LEVELS: tl.constexpr, ALIGN: tl.constexpr,
):  # fmt: skip
    """Return where the elements of a tile lie, from the beginning of their statistics on.

    With two levels of rows, every `row` of them begin at the next step of the outer level.
    """
    of_row = (r // row) * row_outer_stride + (r % row) * row_stride if TWO_LEVELS else r * row_stride
    of_inner = i * inner_stride
    of_col = c * col_stride
    # Said where they are computed: what is said of a function's arguments is lost when it is inlined.
    of_row = tl.multiple_of(of_row, [ALIGN])
    if col_stride == 1:
        of_inner = tl.multiple_of(of_inner, [ALIGN])
    else:
        of_col = tl.multiple_of(of_col, [ALIGN])
    return (of_inner[:, None, None] + of_row[None, :, None]) + of_col[None, None, :]


@triton.jit
def channels_of(base, i, r, c, row, INNER: tl.constexpr, ROW_OUTER: tl.constexpr, ROW: tl.constexpr, COL: tl.constexpr):
    """Return the tile's indices into weight and bias, of size 1 along axes that do not move them."""
    channel = tl.zeros((1, 1, 1), tl.int32) + base
    if INNER:
        channel = channel + (i * INNER)[:, None, None]
    if ROW or ROW_OUTER:
        channel = channel + ((r // row) * ROW_OUTER + (r % row) * ROW)[None, :, None]
    if COL:
        channel = channel + (c * COL)[None, None, :]
    return channel


@triton.jit
def inside(i, r, c, inner, rows, cols, EVEN: tl.constexpr, INNER_ALIGN: tl.constexpr, COL_ALIGN: tl.constexpr):
    """Return which elements of a tile exist.

    EVEN has a bit for each axis whose tiles have no elements outside. Along the axis of stride 1, whole vectors are
    compared.
    """
    mask = tl.full((1, 1, 1), True, tl.int1)
    if EVEN & 4 == 0:
        mask = mask & (i // INNER_ALIGN < inner // INNER_ALIGN)[:, None, None]
    if EVEN & 2 == 0:
        mask = mask & (r < rows)[None, :, None]
    if EVEN & 1 == 0:
        mask = mask & (c // COL_ALIGN < cols // COL_ALIGN)[None, None, :]
    return mask


@triton.jit
def read(pointer, mask, EVEN: tl.constexpr, POLICY: tl.constexpr):
    """Return elements as float32, zeros outside."""
    if EVEN == 7:
        return tl.load(pointer, eviction_policy=POLICY).to(tl.float32)
    return tl.load(pointer, mask=mask, other=0.0, eviction_policy=POLICY).to(tl.float32)


@triton.jit
def write(pointer, value, mask, EVEN: tl.constexpr):
    """Store values in the pointer's type."""
    if EVEN == 7:
        tl.store(pointer, value.to(pointer.dtype.element_ty), eviction_policy="evict_first")
    else:
        tl.store(pointer, value.to(pointer.dtype.element_ty), mask=mask, eviction_policy="evict_first")


@triton.jit
def kept(value, mask, EVEN: tl.constexpr):
    """Return the value where an element exists, and zero elsewhere."""
    if EVEN == 7:
        return value
    return tl.where(mask, value, 0.0)


@triton.jit
def total(value):
    """Return the sums over rows and columns, (A, 1, 1)."""
    if value.shape[0] == 1:
        return tl.zeros((1, 1, 1), value.dtype) + tl.sum(value)
    return tl.sum(tl.sum(value, axis=2, keep_dims=True), axis=1, keep_dims=True)


@triton.jit
def _add_pairs(a, b, c, d):
    """Return the sums of two pairs."""
    return a + c, b + d


@triton.jit
def totals(first, second):
    """Return the sums of two tiles over rows and columns, (A, 1, 1) each, in one exchange between threads."""
    if first.shape[0] == 1:
        size: tl.constexpr = first.shape[1] * first.shape[2]
        first = tl.reshape(first, (size,), can_reorder=True)
        second = tl.reshape(second, (size,), can_reorder=True)
        a, b = tl.reduce((first, second), 0, _add_pairs)
        zeros = tl.zeros((1, 1, 1), first.dtype)
        return zeros + a, zeros + b
    else:
        first, second = tl.reduce((first, second), 2, _add_pairs, keep_dims=True)
        return tl.reduce((first, second), 1, _add_pairs, keep_dims=True)


@triton.jit
def affine(weight, bias, channel, channels):
    """Return weight and bias of those channels as float32, 1 and 0 where there is none."""
    w = tl.full((1, 1, 1), 1.0, tl.float32)
    b = tl.full((1, 1, 1), 0.0, tl.float32)
    if weight is not None:
        w = tl.load(weight + channel, mask=channel < channels, other=0.0).to(tl.float32)
    if bias is not None:
        b = tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
    return w, b


@triton.jit
def scaled(x_hat, w, b, SCALED: tl.constexpr, SHIFTED: tl.constexpr):
    """Return x_hat · weight + bias, rounded once, so that forward and backward kernels agree on its sign."""
    if SHIFTED:
        return tl.fma(x_hat, w, b)
    if SCALED:
        return x_hat * w
    return x_hat


@triton.jit
def activated(z, ACTIVATION: tl.constexpr):
    """Return relu(z), silu(z) or z; a NaN stays one."""
    if ACTIVATION == "relu":
        return tl.where(z <= 0, 0.0, z)
    if ACTIVATION == "silu":
        return tl.div_rn(z, 1.0 + tl.exp(-z))
    return z


@triton.jit
def activated_backward(g, z, ACTIVATION: tl.constexpr):
    """Return the gradient of the activation's input; relu's is 0 at 0, as torch has it."""
    if ACTIVATION == "relu":
        return tl.where(z <= 0, 0.0, g)
    if ACTIVATION == "silu":
        sigma = tl.div_rn(tl.full(z.shape, 1.0, tl.float32), 1.0 + tl.exp(-z))
        return g * (sigma * (1.0 + z * (1.0 - sigma)))
    return g


@triton.jit
def slot_of(
    outer, mid, block, middle, blocks, C_OUTER: tl.constexpr, C_MIDDLE: tl.constexpr, C_INNER: tl.constexpr
):  # fmt: skip
    """Return which of the partial sums of its channels a unit has: they are numbered along what moves no channel."""
    slot = tl.zeros((), tl.int64)
    if C_OUTER == 0:
        slot += outer
    if C_MIDDLE == 0:
        slot = slot * middle + mid
    if C_INNER == 0:
        slot = slot * blocks + block
    return slot


@triton.jit
def write_share(
    partial, g_sums, gx_sums, slot, base, i, r, c, inner, rows, row, cols, channels, slots_row, width,
    C_INNER: tl.constexpr, C_ROW_OUTER: tl.constexpr, C_ROW: tl.constexpr, C_COL: tl.constexpr,
    TWO_LEVELS: tl.constexpr, SHIFTS: tl.constexpr,
):  # fmt: skip
    """Store Σ g·x_hat and, with SHIFTS, Σ g of each channel of a tile, in `partial` (slots, 1 or 2, channels)."""
    if C_COL == 0:
        gx_sums = tl.sum(gx_sums, axis=2, keep_dims=True)
        if SHIFTS:
            g_sums = tl.sum(g_sums, axis=2, keep_dims=True)
    if C_ROW == 0 and C_ROW_OUTER == 0:
        gx_sums = tl.sum(gx_sums, axis=1, keep_dims=True)
        if SHIFTS:
            g_sums = tl.sum(g_sums, axis=1, keep_dims=True)
    if C_INNER == 0:
        gx_sums = tl.sum(gx_sums, axis=0, keep_dims=True)
        if SHIFTS:
            g_sums = tl.sum(g_sums, axis=0, keep_dims=True)
    channel = channels_of(base, i, r, c, row, C_INNER, C_ROW_OUTER, C_ROW, C_COL)
    place = slot * slots_row * width + channel
    valid = channel < channels
    if C_INNER:
        valid = valid & (i < inner)[:, None, None]
    if C_ROW or C_ROW_OUTER:
        valid = valid & (r < rows)[None, :, None]
        if C_ROW_OUTER == 0 and TWO_LEVELS:
            place = place + ((r // row) * width)[None, :, None]
    if C_COL:
        valid = valid & (c < cols)[None, None, :]
    tl.store(partial + place, gx_sums, mask=valid)
    if SHIFTS:
        tl.store(partial + place + channels, g_sums, mask=valid)
