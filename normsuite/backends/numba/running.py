"""Statistics of evaluation: computed from the running ones once, before any thread writes.

If each task computed them, threads would write the same numbers to the same cache lines.
"""

import math

from numba import carray

from .arguments import arguments
from .decorators import fused_called
from .elements import get, put, put_fourth, put_second, put_third, wide, wides


@fused_called
def _store(a, data):
    stored, count, eps = wides(a.statistics, data), a.channels, a.eps
    running_mean, running_var = wides(a.running_mean, data), wides(a.running_var, data)
    for channel in range(count):
        var = get(running_var, channel)
        put(stored, channel, get(running_mean, channel))
        put_second(stored, count + channel, wide(0, data))
        put_third(stored, 2 * count + channel, wide(1 / math.sqrt(var + eps), data))
        put_fourth(stored, 3 * count + channel, var)


def statistics(code, streamed):
    """Return the kernel that stores m, δ, rstd and variance of every channel; it has one task."""

    def running_statistics(data):
        _store(carray(arguments(data), 1)[0], data)

    return running_statistics
