"""Slowdowns of a known size, for the gate to find: a copy of this file goes into the versions that it is tried on.

Extra work is a loop of additions. A version with none runs the same loop, so that two versions differ in the number of
additions alone; and `ALWAYS` more are made in every version, so that what the first ones take longer cancels.
"""

from functools import wraps
from itertools import repeat

DEFAULT_BACKEND = "torch"
ALWAYS = 12
"""Additions of every call: the slope of a large number says nothing of what the first ones take. What was injected as
0.5 % and 1 % was measured as 0.59 % [0.43, 0.75] and 1.12 % [0.97, 1.28] without them (AMD EPYC 25-1), and as 0.45 %
[0.34, 0.57] and 1.03 % [0.91, 1.15] with them (25-17): intervals that overlap, of two processors."""

_within = []
"""Modules whose forward pass is running: functions called within it are not slowed again."""


def slow_down(home, functions, modules, additions):
    """Make functions and modules take longer where they are told to.

    Args:
        home: the globals of the package's `functional` or `modules`.
        functions, modules: names; those that this version has are changed.
        additions: how many, by `key`.
    """
    for name in functions:
        if name in home:
            home[name] = slower(home[name], name, additions)
    for name in modules:
        if name in home:
            home[name].forward = slower_module(home[name].forward, name, additions)


def slower(function, entry, additions):
    """Return a function that takes longer where it is told to."""

    @wraps(function)
    def slowed(*args, **kwargs):
        y = function(*args, **kwargs)
        if not _within:
            input = args[1] if entry == "normalize" else args[0]
            add(additions.get(key(entry, kwargs.get("backend", DEFAULT_BACKEND), input.shape, y.requires_grad), 0))
        return y

    return slowed


def slower_module(forward, entry, additions):
    """Return the forward pass of a module that takes longer where it is told to."""

    @wraps(forward)
    def slowed(self, input):
        if type(self).__name__ != entry:  # of a class derived from it, which has one of its own
            return forward(self, input)
        _within.append(self)
        try:
            y = forward(self, input)
        finally:
            _within.pop()
        add(additions.get(key(entry, self.backend, input.shape, y.requires_grad), 0))
        return y

    return slowed


def key(entry, backend, shape, gradient):
    """Return a key that tells calls apart.

    It holds the function or module, the backend, the shape of the input, and whether a gradient is wanted.
    """
    return entry, backend, tuple(shape), gradient


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
