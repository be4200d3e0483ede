"""Put parts together: partial statistics into statistics, partial sums into gradients; and keep what is computed.

(n, mean, M2) of parts are merged in float64, and everything in a fixed order.
"""

import triton
import triton.language as tl


@triton.jit
def not_negative(var):
    """Return a variance with 0 in place of what rounding made negative; NaN stays NaN."""
    return tl.maximum(var, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def inverse_root(var, eps):
    """Return 1 / √(var + eps), correctly rounded in both steps."""
    return tl.div_rn(tl.full(var.shape, 1.0, tl.float32), tl.sqrt_rn(var + eps))


@triton.jit
def rounded(mean, m2, n):
    """Return m, its correction and the biased variance as float32, of float64."""
    m = mean.to(tl.float32)
    return m, (mean - m.to(tl.float64)).to(tl.float32), not_negative(m2 / n).to(tl.float32)


@triton.jit
def write_statistics(statistics, statistic, number, exists, m, delta, rstd, var):
    """Store m, its correction and rstd for the backward kernels, and the biased variance."""
    tl.store(statistics + statistic, tl.reshape(m, statistic.shape), mask=exists)
    of_delta = statistics + number + statistic
    tl.store(of_delta, tl.reshape(delta, statistic.shape), mask=exists)
    tl.store(of_delta + number, tl.reshape(rstd, statistic.shape), mask=exists)
    tl.store(of_delta + number + number, tl.reshape(var, statistic.shape), mask=exists)


@triton.jit
def read_statistics(statistics, statistic, number, exists, CENTRED: tl.constexpr):
    """Return m, its correction and rstd, (A, 1, 1) each."""
    rstd = tl.load(statistics + number + number + statistic, mask=exists, other=0.0)[:, None, None]
    if CENTRED:
        m = tl.load(statistics + statistic, mask=exists, other=0.0)[:, None, None]
        delta = tl.load(statistics + number + statistic, mask=exists, other=0.0)[:, None, None]
    else:
        m = tl.zeros_like(rstd)
        delta = m
    return m, delta, rstd


@triton.jit
def update_running(running_mean, running_var, i, exists, m, delta, var, count, momentum):
    """Update the running statistics of one channel each: running ← (1 − momentum) · running + momentum · new."""
    mean = tl.reshape(m + delta, i.shape)
    unbiased = tl.reshape(var, i.shape) * (count / (count - 1.0))
    old_mean = tl.load(running_mean + i, mask=exists, other=0.0)
    old_var = tl.load(running_var + i, mask=exists, other=0.0)
    moved_mean = (1 - momentum) * old_mean.to(tl.float32) + momentum * mean
    moved_var = (1 - momentum) * old_var.to(tl.float32) + momentum * unbiased
    tl.store(running_mean + i, moved_mean.to(old_mean.dtype), mask=exists)
    tl.store(running_var + i, moved_var.to(old_var.dtype), mask=exists)


@triton.jit
def finalize(
    partial, statistics, running_mean, running_var, eps, momentum, parts, number,
    PIECES: tl.constexpr, P: tl.constexpr, A: tl.constexpr,
):  # fmt: skip
    """Merge partial statistics (Chan, Golub and LeVeque 1983) of PIECES neighbours each, and move the running ones."""
    i = tl.program_id(0).to(tl.int64) * A + tl.arange(0, A)
    exists = i < number
    pieces = parts * PIECES
    step = (tl.zeros((), tl.int64) + pieces) * number
    n = tl.zeros((P, A), tl.float64)
    sums = tl.zeros((P, A), tl.float64)
    squares = tl.zeros((P, A), tl.float64)
    pivot = tl.load(partial + step + i * PIECES, mask=exists, other=0.0)
    for begin in range(0, pieces, P):
        p = begin + tl.arange(0, P)
        mask = (p < pieces)[:, None] & exists[None, :]
        here = partial + piece_offsets(p, i, number, PIECES)
        of_part = tl.load(here, mask=mask, other=0.0)
        apart = tl.load(here + step, mask=mask, other=0.0) - pivot[None, :]
        n += of_part
        sums += of_part * apart
        squares += tl.load(here + 2 * step, mask=mask, other=0.0) + of_part * apart * apart
    count = tl.where(exists, tl.sum(n, axis=0), 2.0)
    shift = tl.sum(sums, axis=0) / count
    mean = pivot + shift
    m2 = tl.sum(squares, axis=0) - shift * shift * count
    m, delta, var = rounded(mean, m2, count)
    write_statistics(statistics, i, number, exists, m, delta, inverse_root(var, eps), var)
    if running_mean is not None:
        update_running(running_mean, running_var, i, exists, m, delta, var, count.to(tl.float32), momentum)


@triton.jit
def piece_offsets(p, i, number, PIECES: tl.constexpr):
    """Return where piece p of entry i lies in (parts, number, PIECES)."""
    return (p // PIECES).to(tl.int64)[:, None] * number * PIECES + (i * PIECES)[None, :] + (p % PIECES)[:, None]


@triton.jit
def add_up(
    partial, result, second, slots, width, half, scale,
    PIECES: tl.constexpr, S: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Store scale · Σ over slots and PIECES of `partial`, of shape (slots, width, PIECES).

    The first `half` entries of the sum go to `result`, the others to `second`.
    """
    c = tl.program_id(0).to(tl.int64) * W + tl.arange(0, W)
    sums = tl.zeros((S, W), tl.float32)
    for begin in range(0, slots * PIECES, S):
        s = begin + tl.arange(0, S)
        mask = (s < slots * PIECES)[:, None] & (c < width)[None, :]
        sums += tl.load(partial + piece_offsets(s, c, width, PIECES), mask=mask, other=0.0)
    found = tl.sum(sums, axis=0) * scale
    tl.store(result + c, found.to(result.dtype.element_ty), mask=c < half)
    if second is not None:
        tl.store(second + c - half, found.to(second.dtype.element_ty), mask=(c >= half) & (c < width))
