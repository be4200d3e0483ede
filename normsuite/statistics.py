"""Intervals and paired comparisons, thin over scipy. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with the interval around it at the stated confidence; NaN to NaN where none can be given."""

    value: float
    low: float
    high: float


def mean_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean of independent, roughly normal samples with Student's t interval: mean ± t · s / √n.

    One sample, samples that are not finite, or samples without any spread give no interval: equal values say how coarse
    the scale is, not how certain the mean.
    """
    x = np.asarray(samples, dtype=float)
    mean = float(x.mean())
    if len(x) < 2 or not np.isfinite(x).all():
        return Interval(mean, math.nan, math.nan)
    error = float(stats.sem(x))
    if error <= 1e-12 * abs(mean):
        return Interval(mean, math.nan, math.nan)
    low, high = stats.t.interval(confidence, len(x) - 1, loc=mean, scale=error)
    return Interval(mean, float(low), float(high))


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Median with the distribution-free interval between two order statistics (scipy's `quantile_test`).

    Too few samples for that confidence give no interval.
    """
    x = np.asarray(samples, dtype=float)
    found = stats.quantile_test(x, q=float(np.median(x)), p=0.5).confidence_interval(confidence)
    return Interval(float(np.median(x)), float(found.low), float(found.high))


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
