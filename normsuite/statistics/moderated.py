"""Intervals for many groups of few samples, whose variances inform each other."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from .intervals import CLIP, Interval, clipped, mean_interval

_PRIOR_DEGREES = 12
_PRIOR_DEVIATIONS = np.linspace(-2.4, 2.4, 7)
_HALVINGS = 30
_UNLIKELY = 1e-5


def _priors(variances: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the groups' true variances may have in common: degrees d₀, variances s₀² and how likely each pair is.

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


def moderated_intervals(samples: Sequence[Sequence[float]], *, alpha: float, clip: float = CLIP) -> list[Interval]:
    """Return the mean of each of many groups of few samples, with an interval at confidence 1 − alpha.

    Samples are clipped first (`clipped`). Each group's variance is drawn towards what all have in common: with d₀
    degrees of freedom about s₀², its own s² on d degrees becomes (d₀ s₀² + d s²) / (d₀ + d) on d₀ + d, and the interval
    is Student's. Since d₀ and s₀ come from the groups too, and at small alpha it matters that they are not known, the
    interval is the one that Student's t mixed over all likely d₀ and s₀ leaves alpha outside of. With fewer than three
    groups each keeps its own variance.

    Assumes roughly normal samples, independent within a group. Groups of fewer than two samples have no interval; nor
    has one without any spread, and neither takes part in what is common.

    Args:
        samples: of each group, perhaps of different numbers.
        alpha: of each interval; divide by the number of groups for all of them to hold together.
        clip: median absolute deviations; infinite to leave samples as they are.

    Source:
        Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression, sections 3 and 6,
        with d₀ and s₀ integrated over instead of estimated.
    """
    groups = [clipped(x, clip=clip) for x in samples]
    means = [float(x.mean()) if len(x) else math.nan for x in groups]
    found = [Interval(mean, math.nan, math.nan) for mean in means]
    able = [i for i, x in enumerate(groups) if _has_spread(x)]
    if len(able) < 3:
        for i in able:
            found[i] = mean_interval(groups[i], 1 - alpha)
        return found
    n = np.array([len(groups[i]) for i in able])
    degrees, variances = n - 1.0, np.array([groups[i].var(ddof=1) for i in able])
    d0, s0, weights = _priors(variances, degrees)
    likely = weights > _UNLIKELY * alpha  # the others together add less than a thousandth of alpha
    d0, s0, weights = (x[likely, None] for x in (d0, s0, weights))
    df = d0 + degrees
    error = np.sqrt((d0 * s0 + degrees * variances) / df / n)
    low, high = np.zeros(len(able)), error.max(axis=0) * -special.stdtrit(df.min(axis=0), alpha / 2)
    for _ in range(_HALVINGS):
        half = (low + high) / 2
        outside = 2 * (weights * special.stdtr(df, -half / error)).sum(axis=0)
        low, high = np.where(outside > alpha, half, low), np.where(outside > alpha, high, half)
    for i, half in zip(able, high.tolist(), strict=True):
        found[i] = Interval(means[i], means[i] - half, means[i] + half)
    return found


def _has_spread(x: np.ndarray) -> bool:
    """Return whether there is the spread that `mean_interval` asks for before it gives an interval."""
    if len(x) < 2 or not np.isfinite(x).all():
        return False
    return float(x.std(ddof=1)) / math.sqrt(len(x)) > 1e-12 * abs(float(x.mean()))
