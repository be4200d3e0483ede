"""Slowdowns of a known size, for the gate to find.

Extra work is a loop of additions. A call with none runs the same loop, so that two versions differ in the number of
additions alone; and `ALWAYS` more are made in every version, so that what the first ones take longer cancels.
"""

from itertools import repeat

ALWAYS = 12
"""Additions of every call: the slope of a large number says nothing of what the first ones take. What was injected as
0.5 % and 1 % was measured as 0.59 % [0.43, 0.75] and 1.12 % [0.97, 1.28] without them (AMD EPYC 25-1), and as 0.45 %
[0.34, 0.57] and 1.03 % [0.91, 1.15] with them (25-17): intervals that overlap, of two processors."""


def beside(call, count):
    """Return a call that makes so many additions behind its own work."""

    def slowed():
        value = call()
        add(count)
        return value

    return slowed


def add(count):
    """Make that many additions of equal time each, and `ALWAYS` more.

    Of floats, since small integers are cached and would take less.
    """
    total = 0.0
    for _ in repeat(None, ALWAYS + count):
        total += 1.0
