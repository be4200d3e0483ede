"""Users' norms as something to check, time and guard: a `Target` says what it is, `build` makes it ready to call."""

from .target import Target

__all__ = ["Target"]
