"""Times as people write them, such as "90s" or "2m". Imports no torch."""

import math
import re

from ..errors import ArgumentError

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def seconds(argument: str, value: object) -> float:
    """Return a positive time, such as 90, "90s", "2m", "2min" or "1h", in seconds.

    Raises:
        ArgumentError: anything else, under that name.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if isinstance(value, str) and (found := _WRITTEN.fullmatch(value.strip())):
        number = float(found[1]) * _SECONDS[found[2]]
    if number is None or not 0 < number < math.inf:
        raise ArgumentError(argument, value, "must be a positive time, such as 90s or 2m")
    return float(number)
