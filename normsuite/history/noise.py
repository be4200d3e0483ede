"""The certainty of a segment's levels: the spread of commits about them, and how they are correlated."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from ..statistics import CONFIDENCE, Interval
from .contrast import NORMAL_MAD

LEAST_COMMITS = 2
"""A level of fewer cannot be told from a disturbed measurement, but where values have no noise."""

LEAST_PAIRS = 3
"""Fewer pairs of measurements give no noise floor."""

_LARGEST_LOG = 709.0  # of what a float can be
_MOST_CORRELATED = 0.9


def is_relative(values: Sequence[float]) -> bool:
    """Return whether changes of these values are ratios, which needs all of them to be above 0."""
    return min(values) > 0


def _correlation(runs: Sequence[np.ndarray]) -> float:
    """Return the correlation of neighbouring values about their levels, at least 0 and below 1, of an AR(1).

    That of residuals about a mean of n values is too small by (1 + 3 φ) / n (Kendall 1954), which is made up for.
    """
    runs = [of - of.mean() for of in runs if len(of) > 2]
    total = sum(float((of**2).sum()) for of in runs)
    if not total > 0:
        return 0.0
    one, two = (sum(float((of[lag:] * of[:-lag]).sum()) for of in runs) / total for lag in (1, 2))
    # φ and φ² of an AR(1); of noise that swings to and fro, whose means are no less certain, the second is smaller.
    found = min(one, math.sqrt(max(0.0, two)))
    lacking = len(runs) / sum(map(len, runs))
    return min(_MOST_CORRELATED, max(0.0, (found + lacking) / (1 - 3 * min(lacking, 0.2))))


class Exact:
    """Values without noise."""

    repeats = 0

    def __init__(self, values: Sequence[float]):
        self._values = values
        self.relative = is_relative(values)
        self.floor = 1.0 if self.relative else 0.0

    def floor_of(self, before: Sequence[int], after: Sequence[int]) -> float:
        """Return the noise floor of two levels: a ratio of 1, or a difference of 0."""
        return self.floor

    def level(self, run: Sequence[int]) -> Interval:
        """Return the median of the values at those places, as an interval without width."""
        value = float(np.median([self._values[i] for i in run]))
        return Interval(value, value, value)

    def change(self, before: Sequence[int], after: Sequence[int], alpha: float) -> Interval:
        """Return the ratio or difference of the second level to the first, as an interval without width."""
        old, new = self.level(before).value, self.level(after).value
        found = (0.0 if old == new else new - old) if not self.relative else new / old
        return Interval(found, found, found)


class Noise:
    """The noise of logarithms about their levels, where all values are above 0, else of the values themselves."""

    def __init__(self, values: Sequence[float], runs: Sequence[Sequence[int]], repeats: Sequence[Sequence[float]]):
        self.relative = is_relative(values)
        scale = np.log if self.relative else np.asarray
        self._values = np.asarray(values, dtype=float)
        with np.errstate(divide="ignore"):
            self._scaled = scale(self._values)
            again = [scale(np.asarray(of, dtype=float)) for of in repeats if len(of) > 1]
        again = [of for of in again if np.isfinite(of).all()]
        of_runs = [of[np.isfinite(of)] for run in runs if len(of := self._scaled[list(run)])]
        of_runs = [of for of in of_runs if len(of)]
        self._df = sum(map(len, of_runs)) - len(of_runs)
        squares = sum(float(((of - of.mean()) ** 2).sum()) for of in of_runs)
        deviation = math.sqrt(squares / self._df) if self._df > 0 else math.nan
        # Equal values say how coarse the scale is, not how certain a step.
        largest = 1.0 if self.relative else max((float(abs(of).max()) for of in of_runs), default=0.0)
        self._deviation = deviation if deviation > 1e-12 * largest else math.nan
        self._correlation = _correlation(of_runs)
        self.repeats = len(again) if sum(len(of) - 1 for of in again) >= LEAST_PAIRS else 0
        # What was measured again tells more than neighbours, which may differ by a little that is no noise.
        differences = np.abs(np.concatenate([np.diff(of) for of in (again if self.repeats else of_runs)] or [[]]))
        are_enough = len(differences) >= LEAST_PAIRS
        spread = special.ndtri(0.975) * NORMAL_MAD * np.median(differences) if are_enough else math.nan
        with np.errstate(over="ignore"):  # of values that are powers of each other everything is within the noise
            self.floor = float(np.exp(spread) if self.relative else spread)

    def floor_of(self, before: Sequence[int], after: Sequence[int]) -> float:
        """Return how far apart the means of two such levels lie in 95 of 100 cases, by noise alone; NaN if unknown.

        The floor is that of two single measurements, whose variances are 1 and 1 in place of 1 / n and 1 / m.
        """
        scale = math.sqrt((self._share(before) + self._share(after)) / 2)
        if not self.relative or math.isnan(self.floor):
            return self.floor * scale
        return math.exp(math.log(self.floor) * scale) if self.floor < math.inf else math.inf

    def _share(self, run: Sequence[int]) -> float:
        """Return 1 / the effective number of independent values, of which there is at least one."""
        return min(1.0, (1 + self._correlation) / (1 - self._correlation) / len(run))

    def level(self, run: Sequence[int]) -> Interval:
        """Return the mean of the values at those places, with its interval."""
        return self._interval(self._mean(run), self._share(run), 1 - CONFIDENCE)

    def change(self, before: Sequence[int], after: Sequence[int], alpha: float) -> Interval:
        """Return the ratio or difference of the second level to the first, with its interval at level `alpha`."""
        old, new = self._mean(before), self._mean(after)
        difference = 0.0 if old == new else new - old
        if min(len(before), len(after)) < LEAST_COMMITS:
            return Interval(self._unscaled(difference), math.nan, math.nan)
        if math.isinf(difference):  # no noise makes anything infinite
            return Interval(*[self._unscaled(difference)] * 3)
        return self._interval(difference, self._share(before) + self._share(after), alpha)

    def _mean(self, run: Sequence[int]) -> float:
        of = self._scaled[list(run)]
        # Some infinite values among finite ones, of either sign, have no mean.
        return float(of.mean() if np.isfinite(of).all() else np.median(of))

    def _unscaled(self, value: float) -> float:
        if not self.relative:
            return value
        return math.exp(value) if value < _LARGEST_LOG else math.inf

    def _interval(self, mean: float, share: float, alpha: float) -> Interval:
        """Return mean ± t · s · √share, or exp of it."""
        if math.isnan(self._deviation) or math.isinf(mean):
            return Interval(self._unscaled(mean), math.nan, math.nan)
        df = max(1.0, self._df * (1 - self._correlation) / (1 + self._correlation))
        half = -float(special.stdtrit(df, alpha / 2)) * self._deviation * math.sqrt(share)
        return Interval(*map(self._unscaled, (mean, mean - half, mean + half)))
