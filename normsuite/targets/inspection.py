"""Guess which norm a user's class or function is, by its bases and its name."""

import inspect

from ..errors import ArgumentError
from ..spec import NORMS, NormSpec
from .target import Target


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
        key = name.lower().replace("_", "")
        fitting = [spec for spec in NORMS.values() if spec.name.lower() in key]
        if fitting:
            return max(fitting, key=lambda spec: len(spec.name))
    raise ArgumentError("like", None, f"{target.title} does not show which norm it is: say --like {next(iter(NORMS))}")
