"""Steps that `columns` and `segments` share: finalize and read statistics, and merge partial results of several tasks.

Expressions that have to round alike are here too. Blocks are merged in float64 (Chan, Golub and LeVeque 1983).
"""

import math

from .activations import pull
from .decorators import called, fused_inlined, inlined
from .elements import (
    add,
    behind,
    doubles,
    get,
    load,
    put,
    put_fourth,
    put_second,
    put_third,
    store,
    wide,
    wides,
)

STATISTICS, WRITE = 1, 2
"""Steps of a kernel, which run as one where one task has a whole statistic."""


@fused_inlined
def centred(value, m, delta):
    """Return (x − m) − δ in this order, also within a sum that may be reordered: m + δ would be rounded."""
    return (value - m) - delta


@fused_inlined
def scaled(d, scale, shift):
    """Return d · scale + shift, rounded in the backward kernel as it was in the forward one."""
    return d * scale + shift


@fused_inlined
def pull_one(x, dy, at, m, delta, scale, shift, code):
    """Return g and g·((x − m) − δ) of one number, with g the gradient of the activation's input."""
    d = centred(get(x, at), m, delta)
    g = pull(get(dy, at), scaled(d, scale, shift), code)
    return g, g * d


@inlined
def less(product, number):
    """Return a rounded product less a number, so that a sum of a single product less itself is 0."""
    return product - number


@fused_inlined
def affine(a, data, channel):
    """Return the weight and the bias of a channel."""
    weight = load(wides(a.weight, data), channel) if a.weight else wide(1, data)
    bias = load(wides(a.bias, data), channel) if a.bias else wide(0, data)
    return weight, bias


@inlined
def merge(n, mean, m2, other_n, other_mean, other_m2):
    """Return (n, mean, Σ(x − mean)²) of two sets of elements together."""
    total = n + other_n
    difference = other_mean - mean
    share = other_n / total
    return total, mean + difference * share, m2 + other_m2 + difference * difference * n * share


@inlined
def off_by_little(total, squares, count):
    """Return whether the pivot was at most one standard deviation from the mean: (Σd)²/n ≤ Σd²/2.

    d is the deviation of an element from the pivot. The correction then costs Σd² no more than a bit.
    """
    return 2.0 * total * total <= squares * count


@fused_inlined
def _rounded(mean, var, eps, like):
    """Return m, its correction δ, and rstd."""
    m = wide(mean, like)
    return m, wide(mean - m, like), wide(1 / math.sqrt(var + eps), like)


@fused_inlined
def _move(a, data, statistic, n, mean, m2):
    """Update the running statistics of one channel, so that an infinite one stays infinite, as in torch.nn."""
    running_mean, running_var = wides(a.running_mean, data), wides(a.running_var, data)
    old = load(running_mean, statistic)
    store(running_mean, statistic, wide((1 - a.momentum) * old + a.momentum * mean, data))
    old = load(running_var, statistic)
    store(running_var, statistic, wide((1 - a.momentum) * old + a.momentum * (m2 / (n - 1)), data))


@fused_inlined
def finalize(a, data, statistic, n, mean, m2):
    """Finalize a statistic: store m, δ, rstd and var for the backward kernel, and update the running statistics."""
    stored, count, var = wides(a.statistics, data), a.outer * a.inner, m2 / n
    m, delta, rstd = _rounded(mean, var, a.eps, data)
    store(stored, statistic, m)
    store(stored, count + statistic, delta)
    store(stored, 2 * count + statistic, rstd)
    store(stored, 3 * count + statistic, wide(var, data))
    if a.running_mean and not a.frozen:
        _move(a, data, statistic, n, mean, m2)


@called
def finalize_all(a, data, first, number, n, means, m2s):
    """Finalize adjacent statistics of n elements each, computing several square roots and quotients at a time."""
    count, eps = a.outer * a.inner, a.eps
    stored = behind(wides(a.statistics, data), first)
    for i in range(number):
        var = get(m2s, i) / n
        m, delta, rstd = _rounded(get(means, i), var, eps, data)
        put(stored, i, m)
        put_second(stored, count + i, delta)
        put_third(stored, 2 * count + i, rstd)
        put_fourth(stored, 3 * count + i, wide(var, data))
    if a.running_mean and not a.frozen:
        for i in range(number):
            _move(a, data, first + i, n, load(means, i), load(m2s, i))


@inlined
def recall(a, data, statistic):
    """Return m, δ and rstd of a statistic."""
    stored, count = wides(a.statistics, data), a.outer * a.inner
    if a.frozen:  # as many as channels, however many rows are walked through
        count, statistic = a.channels, statistic % a.channels
    return load(stored, statistic), load(stored, count + statistic), load(stored, 2 * count + statistic)


# `scratch` is ordered by part, then by statistic, so that several statistics are merged at a time and a task writes its
# numbers side by side.


@inlined
def store_part(a, data, statistic, part, n, mean, m2):
    """Store a part's (n, mean, Σ(x − mean)²), to be merged with the other parts; n is alike for all statistics."""
    count = a.outer * a.inner
    here = behind(doubles(a.scratch), part * (2 * count + 1))
    store(here, 0, n)
    store(here, 1 + statistic, mean)
    store(here, 1 + count + statistic, m2)


@called
def merge_parts(a, data):
    """Merge the partial statistics of all parts (Chan), and finalize every statistic."""
    count = a.outer * a.inner
    first = doubles(a.scratch)
    n, means, m2s = load(first, 0), behind(first, 1), behind(first, 1 + count)
    for part in range(1, a.parts):
        other = behind(first, part * (2 * count + 1))
        here, other_means, other_m2s = load(other, 0), behind(other, 1), behind(other, 1 + count)
        if here:
            share = here / (n + here)
            for i in range(count):
                difference = get(other_means, i) - load(means, i)
                # Not `add`: what it writes `get` would promise not to read, as `finalize_all` then does.
                store(means, i, load(means, i) + difference * share)
                store(m2s, i, load(m2s, i) + (get(other_m2s, i) + difference * difference * n * share))
        n += here
    finalize_all(a, data, 0, count, n, means, m2s)


@inlined
def store_sums(a, data, statistic, part, all_g, all_gx):
    """Store a part's Σ weight·g and Σ weight·g·x̂, to be added to those of the other parts."""
    here = behind(doubles(a.scratch), 2 * (part * a.outer * a.inner + statistic))
    store(here, 0, all_g)
    store(here, 1, all_gx)


@called
def merge_sums(a, data, first, last):
    """Add up the partial sums of all parts for those statistics."""
    sums = behind(doubles(a.scratch), 2 * first)
    for part in range(1, a.parts):
        further = behind(sums, part * 2 * a.outer * a.inner)
        for i in range(2 * (last - first)):
            add(sums, i, get(further, i), True)


@inlined
def all_sums(a, data, statistic):
    """Return Σ weight·g and Σ weight·g·x̂ over all parts."""
    scratch = doubles(a.scratch)
    return load(scratch, 2 * statistic), load(scratch, 2 * statistic + 1)


@inlined
def end_forward(a, data, last):
    """Finalize the statistics from their parts, after the last task of a forward pass."""
    if last and a.phase == STATISTICS:
        merge_parts(a, data)


@fused_inlined
def end_backward(a, data, last, slots):
    """Merge the partial sums after the last task of a backward pass.

    The slots of `sums` are added up to dweight and dbias.
    """
    if last and a.phase & STATISTICS:
        if a.parts > 1:
            merge_sums(a, data, 0, a.outer * a.inner)
        if a.sums:
            fold(a, data, slots)


@called
def fold(a, data, slots):
    """Add up dweight and dbias of each channel from the slots of `sums`, in a fixed order, in the first slot."""
    sums, length = doubles(a.sums), 2 * a.channels
    dweight, dbias = wides(a.dweight, data), wides(a.dbias, data)
    for slot in range(1, slots):
        further = behind(sums, slot * length)
        for i in range(length):
            add(sums, i, get(further, i), True)
    for channel in range(a.channels):
        store(dweight, channel, wide(load(sums, 2 * channel), data))
        store(dbias, channel, wide(load(sums, 2 * channel + 1), data))
