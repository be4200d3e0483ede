"""Epochs until an accuracy is reached, where some runs never got there. Thin over scipy; imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

TARGETS = (0.98, 0.99)
"""Test accuracies whose epochs are counted."""


@dataclass(frozen=True)
class Reached:
    """The epochs in which runs of equally many epochs reached a target.

    Attributes:
        epochs: the first epoch in which each run did, in the order of the runs; None where it never did.
    """

    epochs: tuple[int | None, ...]

    @property
    def count(self) -> int:
        """Return how many runs reached the target."""
        return sum(epoch is not None for epoch in self.epochs)

    @property
    def median(self) -> float | None:
        """Return the first epoch by which half of the runs are there, or None where that is not so.

        It is the estimate of Kaplan and Meier (1958), since no run ends before another.
        """
        if not self.count:
            return None
        half = sorted(_ends(self))[(len(self.epochs) - 1) // 2]
        return half if math.isfinite(half) else None


def reached(runs: Sequence[Sequence[float]], target: float) -> Reached:
    """Return when each run reached the target, from its accuracies epoch by epoch."""
    return Reached(
        tuple(next((e for e, value in enumerate(of_run, start=1) if value >= target), None) for of_run in runs)
    )


def logrank(left: Reached, right: Reached) -> float:
    """Return the p value of the log-rank test that both get there alike, stratified by pairs of runs.

    In a stratum of two runs the statistic is + or − a half where one of them gets there while the other is still under
    way, and 0 where both do at once; so that the test is that of signs, which is exact. NaN where no run got there, 1
    where no pair has one that was sooner.

    Args:
        left, right: runs of the same seeds, in the same order.
    """
    if not left.count + right.count:
        return math.nan
    pairs = list(zip(_ends(left), _ends(right), strict=True))
    sooner, later = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    return float(stats.binomtest(sooner, sooner + later).pvalue) if sooner + later else 1.0


def _ends(of: Reached) -> list[float]:
    """Return when each run got there, infinity where it never did."""
    return [math.inf if epoch is None else float(epoch) for epoch in of.epochs]
