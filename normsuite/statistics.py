"""Intervals and paired comparisons, thin over scipy. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

CONFIDENCE = 0.95
_QUANTILES = 4096
_PRIOR_DEGREES = 12
_PRIOR_DEVIATIONS = np.linspace(-2.4, 2.4, 7)
_HALVINGS = 30


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


def paired_log_ratio(candidate: Sequence[float | None], baseline: Sequence[float | None]) -> float:
    """Median over rounds of log(candidate / baseline): what one process says of two times measured in turn.

    A drift of the machine that is slow against a round cancels, and a disturbed round moves a median little.

    Args:
        candidate, baseline: one time a round, in the same order; None for a round that was sat out.

    Returns:
        NaN where the two share no round.
    """
    pairs = [(c, b) for c, b in zip(candidate, baseline, strict=True) if c is not None and b is not None]
    if not pairs:
        return math.nan
    c, b = np.asarray(pairs, dtype=float).T
    return float(np.median(np.log(c / b)))


def ratio_interval(logs: Sequence[float], *, comparisons: int = 1, alpha: float = 0.05) -> Interval:
    """exp(mean ± t · s / √n) of log ratios, one a process, at confidence 1 − alpha / comparisons (Bonferroni).

    Assumes that the processes are independent and their log ratios roughly normal; rounds within a process need not be
    independent, since only their median is used. One process gives no interval.

    Args:
        logs: one log ratio for each process.
        comparisons: how many intervals are to hold together with probability 1 − alpha.
    """
    found = mean_interval(logs, 1 - alpha / comparisons)
    return Interval(*(float(np.exp(end)) for end in (found.value, found.low, found.high)))


def geometric_mean_interval(logs: Sequence[Sequence[float]], *, comparisons: int = 1, alpha: float = 0.05) -> Interval:
    """Geometric mean over tasks of ratios, with an interval over processes as in `ratio_interval`.

    The tasks are taken as they are, not as a sample of all tasks: the interval says how far the mean over these tasks
    would move if the processes were run again.

    Args:
        logs: for each task, one log ratio for each process, the same processes in the same order.
    """
    return ratio_interval(np.mean(np.asarray(logs, dtype=float), axis=0), comparisons=comparisons, alpha=alpha)


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


def _priors(variances: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the groups' true variances may have in common: degrees d₀, variances s₀² and how likely each pair is.

    A group's s² over s₀² is F distributed with d and d₀ degrees. 1 / d₀ is taken to be anywhere from 0 to 1 alike, so
    that groups that are all alike and groups that share nothing are both allowed for, and s₀ anywhere.
    """
    inverse = (np.arange(_PRIOR_DEGREES) + 0.5) / _PRIOR_DEGREES
    d0 = np.repeat(1 / inverse, len(_PRIOR_DEVIATIONS))
    log_s2 = np.log(variances) - special.digamma(degrees / 2) + np.log(degrees / 2)
    centre = log_s2.mean() + special.digamma(d0 / 2) - np.log(d0 / 2)
    spread = np.sqrt((special.polygamma(1, degrees / 2).mean() + special.polygamma(1, d0 / 2)) / len(variances))
    log_s0 = centre + spread * np.tile(_PRIOR_DEVIATIONS, _PRIOR_DEGREES)
    s0 = np.exp(log_s0)
    likelihood = stats.f.logpdf(variances[:, None] / s0, degrees[:, None], d0).sum(axis=0) - len(variances) * log_s0
    weights = np.exp(likelihood - likelihood.max()) * spread  # the steps in log s₀ are as wide as `spread`
    return d0, s0, weights / weights.sum()


def moderated_intervals(samples: Sequence[Sequence[float]], *, alpha: float) -> list[Interval]:
    """For each of many groups of few samples its mean with an interval at confidence 1 − alpha.

    Each group's variance is drawn towards what all have in common: with d₀ degrees of freedom about s₀², its own s² on
    d degrees becomes (d₀ s₀² + d s²) / (d₀ + d) on d₀ + d, and the interval is Student's. Since d₀ and s₀ come from the
    groups too, and at small alpha it matters that they are not known, the interval is the one that Student's t mixed
    over all likely d₀ and s₀ leaves alpha outside of. With fewer than three groups each keeps its own variance.

    Assumes roughly normal samples, independent within a group. Groups of fewer than two samples have no interval; nor
    has one without any spread, and neither takes part in what is common.

    Args:
        samples: of each group, perhaps of different numbers.
        alpha: of each interval; divide by the number of groups for all of them to hold together.

    Source:
        Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression, sections 3 and 6,
        with d₀ and s₀ integrated over instead of estimated.
    """
    groups = [np.asarray(x, dtype=float) for x in samples]
    found = [mean_interval(x, 1 - alpha) if len(x) else Interval(math.nan, math.nan, math.nan) for x in groups]
    able = [i for i, interval in enumerate(found) if not math.isnan(interval.low)]
    if len(able) < 3:
        return found
    n = np.array([len(groups[i]) for i in able])
    degrees, variances = n - 1.0, np.array([groups[i].var(ddof=1) for i in able])
    d0, s0, weights = (x[:, None] for x in _priors(variances, degrees))
    df = d0 + degrees
    error = np.sqrt((d0 * s0 + degrees * variances) / df / n)
    low, high = np.zeros(len(able)), error.max(axis=0) * stats.t.isf(alpha / 2, df.min(axis=0))
    for _ in range(_HALVINGS):
        half = (low + high) / 2
        outside = 2 * (weights * special.stdtr(df, -half / error)).sum(axis=0)
        low, high = np.where(outside > alpha, half, low), np.where(outside > alpha, high, half)
    for i, half in zip(able, high, strict=True):
        mean = found[i].value
        found[i] = Interval(mean, mean - float(half), mean + float(half))
    return found
