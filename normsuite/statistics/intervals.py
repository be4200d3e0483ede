"""Student's intervals for means and for ratios of times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

LEAST_CLIPPED = 6
"""Samples. Of fewer, the median absolute deviation says too little of what is far."""

CLIP = 5.0
"""Median absolute deviations; 3.4 standard deviations of normal samples. At 3 (two deviations) so many normal samples
are clipped that a 95 % interval holds the mean in 91 to 93 % (`tools/simulate_gate.py`)."""


@dataclass(frozen=True)
class Interval:
    """A value with the interval around it at the stated confidence; NaN to NaN where none can be given."""

    value: float
    low: float
    high: float


def clipped(samples: Sequence[float], *, clip: float = CLIP) -> np.ndarray:
    """Return the samples with those further than `clip` median absolute deviations from the median moved to there.

    Fewer than `LEAST_CLIPPED` samples, or more than half of them equal, are returned as they are.
    """
    x = np.asarray(samples, dtype=float)
    if len(x) < LEAST_CLIPPED:
        return x
    middle = np.median(x)
    spread = np.median(np.abs(x - middle))
    return np.clip(x, middle - clip * spread, middle + clip * spread) if spread > 0 else x


def mean_interval(samples: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of independent, roughly normal samples with Student's t interval: mean ± t · s / √n.

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


def positive_interval(values: Sequence[float]) -> Interval:
    """Return the mean of losses or times with Student's t interval, cut off at 0, where no mean of them can be."""
    mean = mean_interval(values)
    return Interval(mean.value, max(mean.low, 0.0) if not math.isnan(mean.low) else mean.low, mean.high)


def share_interval(shares: Sequence[float]) -> Interval:
    """Return the mean of accuracies or error rates with Student's t interval, cut off where no share can be.

    The true mean lies in [0, 1], so that the part that is cut off never held it.
    """
    mean = mean_interval(shares)
    return Interval(mean.value, *np.clip([mean.low, mean.high], 0.0, 1.0).tolist())


def paired_log_ratio(candidate: Sequence[float | None], baseline: Sequence[float | None]) -> float:
    """Return the median over rounds of log(candidate / baseline), of two times measured in turn in one process.

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


def exponential(logs: Interval) -> Interval:
    """Return the interval of a ratio from that of its logarithm; an end beyond any number is infinite."""
    with np.errstate(over="ignore"):
        return Interval(*np.exp([logs.value, logs.low, logs.high]).tolist())


def ratio_interval(logs: Sequence[float] | np.ndarray, *, comparisons: int = 1, alpha: float = 0.05) -> Interval:
    """Return exp(mean ± t · s / √n) of log ratios, one a process, at confidence 1 − alpha / comparisons (Bonferroni).

    Assumes that the processes are independent and their log ratios roughly normal; rounds within a process need not be
    independent, since only their median is used. One process gives no interval.

    Args:
        logs: one log ratio for each process.
        comparisons: how many intervals are to hold together with probability 1 − alpha.
    """
    return exponential(mean_interval(logs, 1 - alpha / comparisons))


def geometric_mean_interval(logs: Sequence[Sequence[float]]) -> Interval:
    """Return the geometric mean over tasks of ratios, with an interval over processes as in `ratio_interval`.

    A process that lies far from the others in this mean is clipped (`clipped`).

    The tasks are taken as they are, not as a sample of all tasks: the interval says how far the mean over these tasks
    would move if the processes were run again.

    Args:
        logs: for each task, one log ratio for each process, the same processes in the same order.
    """
    of_processes = np.mean(np.asarray(logs, dtype=float), axis=0)
    return ratio_interval(clipped(of_processes))
