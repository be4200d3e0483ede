"""What a record's values may be: kinds, ranges and lengths, checked when it is read, with the place of what is wrong.

A check takes a value and returns why it is refused, or None. What a record has beside what is asked for is let be, so
that newer ones still read.
"""

import math
from collections.abc import Callable, Mapping

Check = Callable[[object], "str | None"]

_NAMED = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_LONGEST = 60


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"


def number(low: float = -math.inf, high: float = math.inf, *, finite: bool = True) -> Check:
    """Return a check for a number from `low` to `high`; where it need not be finite, also by name, as JSON has it."""

    def check(value: object) -> str | None:
        if not finite and isinstance(value, str) and value in _NAMED:
            value = _NAMED[value]
            return None if math.isnan(value) or low <= value <= high else f"{_shown(value)} is no number from {low:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{_shown(value)} is no number"
        if math.isnan(value) or (finite and math.isinf(value)):
            return f"{_shown(value)} is not finite"
        if not low <= value <= high:
            return f"{_shown(value)} is not from {low:g} to {high:g}"
        return None

    return check


def whole(low: float = -math.inf, high: float = 2.0**63) -> Check:
    """Return a check for a whole number."""
    of_numbers = number(low, high)

    def check(value: object) -> str | None:
        return of_numbers(value) or (None if value == int(value) else f"{_shown(value)} is no whole number")

    return check


def text(value: object) -> str | None:
    """Return why it is no text."""
    return None if isinstance(value, str) else f"{_shown(value)} is no text"


def flag(value: object) -> str | None:
    """Return why it is neither true nor false."""
    return None if isinstance(value, bool) else f"{_shown(value)} is neither true nor false"


def anything(value: object) -> str | None:
    """Return None."""
    return None


def optional(check: Check) -> Check:
    """Return a check that lets null be as well."""
    return lambda value: None if value is None else check(value)


def either(*checks: Check) -> Check:
    """Return a check for what one of these lets be."""

    def check(value: object) -> str | None:
        reasons = [each(value) for each in checks]
        return None if None in reasons else reasons[0]

    return check


def listed(check: Check, least: int = 0, most: float = math.inf) -> Check:
    """Return a check for a list of such values, of that length."""

    def of_list(value: object) -> str | None:
        if not isinstance(value, list):
            return f"{_shown(value)} is no list"
        if not least <= len(value) <= most:
            return f"has {len(value)} values, not {least if most == math.inf else f'{least} to {most}'}"
        reasons = ((place, check(each)) for place, each in enumerate(value))
        return next((f"[{place}]: {reason}" for place, reason in reasons if reason is not None), None)

    return of_list


def mapped(check: Check, names: Check = text) -> Check:
    """Return a check for an object of such values, whatever they are called."""

    def of_object(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"{_shown(value)} is no object"
        for name, each in value.items():
            if (reason := names(name) or check(each)) is not None:
                return f"{name}: {reason}"
        return None

    return of_object


def fields(needed: Mapping[str, Check], further: Mapping[str, Check] | None = None) -> Check:
    """Return a check for an object that has those fields, and may have the further ones."""
    further = further or {}

    def of_object(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"{_shown(value)} is no object"
        if missing := [name for name in needed if name not in value]:
            return f"lacks {', '.join(missing)}"
        for name, check in (*needed.items(), *further.items()):
            if name in value and (reason := check(value[name])) is not None:
                return f"{name}: {reason}"
        return None

    return of_object
