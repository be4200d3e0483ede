"""Guess which norm a user's class or function is, by its bases and its name."""

import inspect
import re

from ..errors import ArgumentError
from ..spec import NORMS, NormSpec
from .target import Target

_OF_MAPS = re.compile("[123]d")


def norm_in(name: str) -> NormSpec | None:
    """Return the norm whose name is a part of a class's or function's name, the longest of several; or None."""
    key = name.lower().replace("_", "")
    if "t5layernorm" in key:  # T5's and its descendants', which centre nothing
        return NORMS.get("RMSNorm")
    return max((s for s in NORMS.values() if s.name.lower() in key), key=lambda s: len(s.name), default=None)


def is_of_maps(name: str, spec: NormSpec) -> bool:
    """Return whether a name says that a norm over trailing sizes is one of maps, as LayerNorm2d does.

    Most of those average over the channels of each place, which none of `NORMS` does.
    """
    return spec.affine == "element" and _OF_MAPS.search(name.lower()) is not None


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
            if is_of_maps(name, spec):
                break
            return spec
    said = f"say --like with one of {', '.join(NORMS)}; `normsuite compare` measures calls that are none of these"
    raise ArgumentError("like", None, f"{target.title} does not show which norm it is: {said}")
