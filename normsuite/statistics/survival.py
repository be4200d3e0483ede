"""Epochs until an accuracy is reached, where some runs never got there. Thin over scipy; imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

_ROUNDING = 1e-9
"""Rounding error of a product of shares, such as 0.8 · 0.75 · 5/6, which is a half and not more."""

TARGETS = (0.98, 0.99)
"""Test accuracies whose epochs are counted."""


@dataclass(frozen=True)
class Reached:
    """The epochs in which runs reached a target.

    Attributes:
        epochs: the first epoch in which each run did, in the order of the runs; None where it never did.
        censored_after: how many epochs each run had: a run that never did would have needed more.
    """

    epochs: tuple[int | None, ...]
    censored_after: tuple[int, ...]

    @property
    def count(self) -> int:
        """Return how many runs reached the target."""
        return sum(epoch is not None for epoch in self.epochs)

    @property
    def median(self) -> float | None:
        """Return the first epoch by which half of the runs are there, or None where that is not so.

        By the estimate of Kaplan and Meier (1958).
        """
        if not self.count:
            return None
        found = stats.ecdf(self._censored()).sf
        there = found.quantiles[found.probabilities <= 0.5 + _ROUNDING]
        return float(there[0]) if len(there) else None

    def _censored(self) -> "stats.CensoredData":  # a name, which loads nothing
        right = [after for epoch, after in zip(self.epochs, self.censored_after, strict=True) if epoch is None]
        return stats.CensoredData(uncensored=[epoch for epoch in self.epochs if epoch is not None], right=right)


def reached(runs: Sequence[Sequence[float]], target: float) -> Reached:
    """Return when each run reached the target, from its accuracies epoch by epoch."""
    firsts = [next((e for e, value in enumerate(of_run, start=1) if value >= target), None) for of_run in runs]
    return Reached(tuple(firsts), tuple(len(of_run) for of_run in runs))


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
    sooner = [_sooner(*ends) for ends in zip(_ends(left), _ends(right), strict=True)]
    k, n = sooner.count(1), len(sooner) - sooner.count(0)
    return float(stats.binomtest(k, n).pvalue) if n else 1.0


def _ends(of: Reached) -> list[tuple[int, bool]]:
    """Return when each run got there or ended, and whether it got there."""
    pairs = zip(of.epochs, of.censored_after, strict=True)
    return [(after, False) if epoch is None else (epoch, True) for epoch, after in pairs]


def _sooner(left: tuple[int, bool], right: tuple[int, bool]) -> int:
    """Return 1 where the left run got there while the right one was under way, −1 the other way round, else 0."""
    (at, there), (other_at, other_there) = left, right
    if there and (at < other_at or (at == other_at and not other_there)):
        return 1
    return -1 if other_there and (other_at < at or (at == other_at and not there)) else 0
