"""Paired comparisons of two sets of runs with the same seeds, and corrections for many of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from .intervals import Interval, mean_interval

_QUANTILES = 4096


@dataclass(frozen=True)
class Comparison:
    """A paired difference left − right and what it decides.

    Attributes:
        difference: its mean with the interval at `confidence`.
        confidence: of the interval, after correction for how many comparisons are made together.
        margin: how far apart two means may lie and still count as similar.
    """

    difference: Interval
    confidence: float
    margin: float

    @property
    def higher(self) -> bool:
        """The whole interval lies above zero."""
        return self.difference.low > 0

    @property
    def lower(self) -> bool:
        """The whole interval lies below zero."""
        return self.difference.high < 0

    @property
    def similar(self) -> bool:
        """The whole interval lies within ± margin: two one-sided tests, each at half of the interval's level."""
        return -self.margin <= self.difference.low and self.difference.high <= self.margin

    @property
    def different(self) -> bool:
        """The whole interval lies beyond the margin, on one side."""
        return self.difference.low > self.margin or self.difference.high < -self.margin


def compare(
    left: Sequence[float], right: Sequence[float], *, margin: float, comparisons: int = 1, alpha: float = 0.05
) -> Comparison:
    """Compare paired samples: the same seeds in the same order on both sides.

    The interval of the mean difference has confidence 1 − alpha / comparisons (Bonferroni), so that with probability
    1 − alpha every interval of the whole table holds its true difference. Without an interval nothing is decided.

    Args:
        left, right: equally many samples.
        margin: positive, in the samples' unit.
        comparisons: how many are made together.
        alpha: probability of any false interval among them.
    """
    confidence = 1 - alpha / comparisons
    return Comparison(mean_interval(np.subtract(left, right), confidence), confidence, margin)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted so that the chance of any false rejection among them is at most the level (Holm 1979).

    The k-th smallest of m is multiplied by m − k + 1, and none is smaller than one before it. A NaN decides nothing and
    stays one, but counts.
    """
    m, adjusted, largest = len(p_values), [math.nan] * len(p_values), 0.0
    for rank, place in enumerate(
        sorted((i for i in range(m) if not math.isnan(p_values[i])), key=p_values.__getitem__)
    ):
        largest = max(largest, min(1.0, (m - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


@dataclass(frozen=True)
class Paired:
    """What paired samples say of the difference left − right.

    Attributes:
        difference: its mean with a 95 % interval, not corrected.
        deviation: of the differences.
        effect: Hedges' g of paired differences: mean over deviation, times 1 − 3/(4n − 5) against the bias of few.
        p: of the t test that there is none.
        p_equivalent: of the two one-sided t tests (Schuirmann 1987) that it is not within ± margin.
        margin: in the samples' unit.
    """

    difference: Interval
    deviation: float
    effect: float
    p: float
    p_equivalent: float
    margin: float


def paired(left: Sequence[float], right: Sequence[float], *, margin: float) -> Paired:
    """Compare paired samples: the same seeds in the same order on both sides.

    Differences that are all equal, not finite, or fewer than two decide nothing: their p values are NaN.
    """
    d = np.subtract(left, right).astype(float)
    difference = mean_interval(d)
    if math.isnan(difference.low):
        return Paired(difference, math.nan, math.nan, math.nan, math.nan, margin)
    n, deviation = len(d), float(d.std(ddof=1))
    effect = difference.value / deviation * (1 - 3 / (4 * n - 5))
    above = stats.ttest_1samp(d, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(d, margin, alternative="less").pvalue
    return Paired(
        difference, deviation, effect, float(stats.ttest_1samp(d, 0.0).pvalue), float(max(above, below)), margin
    )


def detectable_effect(samples: int, *, comparisons: int = 1, alpha: float = 0.05, power: float = 0.8) -> float:
    """The least true difference, in deviations of the paired differences, that so many of them find with that power.

    Of a two-sided t test at level alpha / comparisons. The power is the mean of the normal test's over the distribution
    of the deviation, which is the noncentral t distribution without its numerical troubles. NaN for fewer than two.
    """
    if samples < 2:
        return math.nan
    df = samples - 1
    critical = stats.t.ppf(1 - alpha / comparisons / 2, df)
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    least = critical * np.sqrt(stats.chi2.ppf(quantiles, df) / df)

    def lacking(effect: float) -> float:
        shift = effect * math.sqrt(samples)
        return float(np.mean(stats.norm.sf(least - shift) + stats.norm.cdf(-least - shift))) - power

    highest = 1.0
    while lacking(highest) < 0:
        highest *= 2
    return float(optimize.brentq(lacking, 0.0, highest))
