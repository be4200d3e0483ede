"""The place of an interval beside thresholds, which verdicts of several tables share."""

import math

from .intervals import Interval

ABOVE, BELOW, AT_MOST, OPEN = "above", "below", "at most", "open"

NOWHERE = Interval(math.nan, math.nan, math.nan)
"""The interval of what was not measured."""


def not_worse(found: Interval, *, better_below: float, worse_above: float) -> str:
    """Return where an interval lies in a test of non-inferiority, of something of which less is better.

    Returns:
        `ABOVE` if all of it is above `worse_above`, `BELOW` if all is below `better_below`, `AT_MOST` if it ends by
        `worse_above`; otherwise, and without an interval, `OPEN`.
    """
    if found.low > worse_above:
        return ABOVE
    if found.high < better_below:
        return BELOW
    return AT_MOST if found.high <= worse_above else OPEN
