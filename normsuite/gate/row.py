"""One row of a gate's table: a metric of a cell, with its verdict. Imports no torch."""

import math
from dataclasses import dataclass

from ..presentation import text
from ..statistics import Interval
from .decide import FAILS, NOT_AVAILABLE, UNDECIDED

TIME, MEAN_TIME, ERROR_RATE = "time", "mean time", "error rate"


@dataclass(frozen=True)
class CellRow:
    """One metric of one cell.

    Attributes:
        cell: its name; of a mean the group of cells, of an error rate the norm or the target.
        metric: "time", "mean time", "peak bytes", "saved bytes", "output error at mean …", "gradient error at mean …",
            "error rate".
        unit: of `base` and `head`: "s", "bytes", "" or "share".
        base, head: what was measured in the two versions; None where nothing was.
        ratio: head / base with its interval, which is a point for numbers without noise; None where there is none. For
            the error rate the difference head − base.
        verdict: one of `VERDICTS`.
        values: how many processes or seeds the interval is made from; None for numbers without noise.
        note: why, where there is more to say.
    """

    cell: str
    metric: str
    unit: str
    base: float | None
    head: float | None
    ratio: Interval | None
    verdict: str
    values: int | None = None
    note: str = ""

    @property
    def bound(self) -> float | None:
        """Return the largest slowdown that the interval leaves possible, as a share; infinite without an interval.

        None for what is not available, and for what is no time.
        """
        if self.metric not in (TIME, MEAN_TIME) or self.verdict in (NOT_AVAILABLE, FAILS):
            return None
        return math.inf if self.ratio is None or math.isnan(self.ratio.high) else self.ratio.high - 1

    @property
    def remark(self) -> str:
        """Return the note; of an undecided time how much slower it is at most."""
        if self.verdict != UNDECIDED or self.bound is None or math.isinf(self.bound):
            return self.note
        said = f"not more than {percent(self.bound)} slower" if self.bound > 0 else "not slower"
        return "; ".join(filter(None, [said, self.note]))

    @property
    def comparison(self) -> str:
        """Return the ratio in per cent, or the difference in percentage points, with the interval, for people."""
        if self.ratio is None or math.isnan(self.ratio.value):
            return ""
        if self.metric == ERROR_RATE:
            return text.interval(self.ratio, lambda share: f"{100 * share:+.2f}") + " points"
        if self.ratio.low == self.ratio.high:
            return f"× {self.ratio.value:.3g}" if self.ratio.value >= 2 else f"{self.ratio.value - 1:+.1%}"
        return text.interval(self.ratio, lambda ratio: f"{100 * (ratio - 1):+.2f}", " %")


def percent(share: float) -> str:
    """Return a share in per cent, rounded up, since it is a bound."""
    digits = 2 if share < 0.1 else 0
    return f"{math.ceil(100 * share * 10**digits - 1e-9) / 10**digits:.{digits}f} %"
