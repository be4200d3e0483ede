"""Functions and modules that take longer where they are told to: a copy of this file goes into the commits that do.

`gate/slowdowns.py`, which makes the extra work, goes with it.
"""

from functools import wraps

DEFAULT_BACKEND = "torch"

_within = []
"""Modules whose forward pass is running: functions called within it are not slowed again."""


def slow_down(home, functions, modules, additions, add):
    """Make functions and modules take longer where they are told to.

    Args:
        home: the globals of the package's `functional` or `modules`.
        functions, modules: names; those that this version has are changed.
        additions: how many, by `key`.
        add: makes so many.
    """
    for name in functions:
        if name in home:
            home[name] = slower(home[name], name, additions, add)
    for name in modules:
        if name in home:
            home[name].forward = slower_module(home[name].forward, name, additions, add)


def slower(function, entry, additions, add):
    """Return a function that takes longer where it is told to."""

    @wraps(function)
    def slowed(*args, **kwargs):
        y = function(*args, **kwargs)
        if not _within:
            input = args[1] if entry == "normalize" else args[0]
            add(additions.get(key(entry, kwargs.get("backend", DEFAULT_BACKEND), input.shape, y.requires_grad), 0))
        return y

    return slowed


def slower_module(forward, entry, additions, add):
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
