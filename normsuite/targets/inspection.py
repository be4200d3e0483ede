"""Guess which norm a user's class or function is, by its bases and its name."""

import inspect

from ..errors import ArgumentError
from ..spec import NORMS, NormSpec
from .target import Target


def norm_in(name: str) -> NormSpec | None:
    """Return the norm whose name is a part of a class's or function's name, the longest of several; or None."""
    key = name.lower().replace("_", "")
    return max((s for s in NORMS.values() if s.name.lower() in key), key=lambda s: len(s.name), default=None)


def norm_of(target: Target) -> NormSpec:
    """Return the norm that a target is like: as it says, or as its bases and its name say.

    Raises:
        ArgumentError: neither says it; the message tells how the user does.
    """
    if target.spec is not None:
        return target.spec
    made = target.loaded()
    names = [cls.__name__ for cls in inspect.getmro(made)] if isinstance(made, type) else []
    names = names or [getattr(made, "__name__", type(made).__name__)]
    for name in names:
        if (spec := norm_in(name)) is not None:
            return spec
    raise ArgumentError("like", None, f"{target.title} does not show which norm it is: say --like {next(iter(NORMS))}")
