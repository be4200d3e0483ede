"""Numbers, units and intervals as text: the one place where values become words for people."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..statistics import Interval

ABSENT = "–"
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
BYTE_UNITS = {"MiB": 2.0**20, "KiB": 2.0**10, "B": 1.0}


def unit_for(value: float, units: Mapping[str, float]) -> tuple[str, float]:
    """Return the largest unit of which a value has at least one, and its size; the smallest for smaller values."""
    return next(((unit, size) for unit, size in units.items() if abs(value) >= size), list(units.items())[-1])


def _in_units(value: float, units: Mapping[str, float]) -> str:
    unit, size = unit_for(value, units)
    shown = value / size
    return f"{shown:.0f} {unit}" if abs(shown) >= 999.5 else f"{shown:.3g} {unit}"


def seconds(value: float) -> str:
    """Return a duration in s, ms, µs or ns, with three digits."""
    return _in_units(value, TIME_UNITS)


def data_size(value: float) -> str:
    """Return a number of bytes in MiB, KiB or B, with three digits."""
    return _in_units(value, BYTE_UNITS)


def percent(share: float) -> str:
    """Return a share in per cent, with two decimals."""
    return f"{share:.2%}"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points; what rounds to nothing has no minus."""
    return f"{round(difference * 100, 2) + 0.0:+.2f} pp"


def relative(error: float) -> str:
    """Return a relative error as a power of ten, with two digits."""
    return f"{error:.1e}"


def loss(value: float) -> str:
    """Return a loss with four decimals."""
    return f"{value:.4f}"


def change(difference: float) -> str:
    """Return a difference with its sign and four decimals."""
    return f"{difference:+.4f}"


def p_value(p: float) -> str:
    """Return a p value with two digits, a dash where there is none."""
    return ABSENT if math.isnan(p) else f"{p:.2g}"


def ratio(value: float) -> str:
    """Return a ratio with three digits."""
    if math.isnan(value):
        return ABSENT
    return "∞" if value == math.inf else f"{value:.3g}"


def end_of_ratio(value: float) -> str:
    """Return an end of a ratio's interval: 0 below a thousandth, ∞ above a thousand."""
    return "0" if 0 <= value < 1e-3 else "∞" if value > 1e3 else ratio(value)


def ratio_of_times(value: float) -> str:
    """Return a ratio with three decimals, for those that lie close to 1."""
    return f"{value:.3f}"


WRITERS: dict[str, Callable[[float], str]] = {
    "s": seconds,
    "seconds": seconds,
    "bytes": data_size,
    "share": percent,
    "": relative,
    "relative error": relative,
}
"""How a value of a unit is written, by the names that metrics and asv have for units."""


def writer(unit: str) -> Callable[[float], str]:
    """Return what writes values of a unit; four digits and its name for one that is not known."""
    return WRITERS.get(unit, lambda value: f"{value:.4g} {unit}")


def value(found: float | None, unit: str) -> str:
    """Return a value in its unit, a dash where there is none."""
    return ABSENT if found is None or math.isnan(found) else writer(unit)(found)


def interval(found: "Interval", write: Callable[[float], str] = ratio, unit: str = "") -> str:
    """Return "value [low, high]", or the value alone where there is no interval.

    Args:
        found: the interval.
        write: of each of the three numbers.
        unit: behind the value alone, where `write` gives none.
    """
    shown = f"{write(found.value)}{unit}"
    end = end_of_ratio if write is ratio else write
    return shown if math.isnan(found.low) else f"{shown} [{end(found.low)}, {end(found.high)}]"


def listed(names: list[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def counted(number: int, noun: str) -> str:
    """Return "1 case" or "2 cases"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
