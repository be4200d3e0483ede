"""Slowdowns of a known size, for the gate to find: a copy of this file goes into the versions that it is tried on.

Extra work is a loop of so many additions. No additions take the same path, so that two versions which differ in their
numbers of additions differ in nothing else.
"""

from itertools import repeat


def slower(normalize, additions):
    """`functional.normalize` that takes longer where it is told to.

    Args:
        normalize: the function.
        additions: how many, by `key`.
    """

    def slowed(spec, input, *args, **kwargs):
        y = normalize(spec, input, *args, **kwargs)
        add(additions.get(key(spec.name, kwargs["backend"], input.shape, y.requires_grad), 0))
        return y

    return slowed


def key(norm, backend, shape, gradient):
    """Of a call: the norm's and the backend's name, the input's shape, and whether a gradient is wanted."""
    return norm, backend, tuple(shape), gradient


def add(count):
    """As long for each, however many there are: small integers, which are kept, would be quicker than large ones."""
    total = 0.0
    for _ in repeat(None, count):
        total += 1.0
