"""Intervals, tests, survival and corrections for many comparisons, thin over scipy. Imports no torch."""

from .differences import POWER, TESTS, Paired, decisive, detectable_effect, holm, p_values, paired
from .intervals import (
    CLIP,
    CONFIDENCE,
    Interval,
    clipped,
    exponential,
    geometric_mean_interval,
    mean_interval,
    paired_log_ratio,
    positive_interval,
    ratio_interval,
    share_interval,
)
from .moderated import moderated_intervals
from .regions import ABOVE, AT_MOST, BELOW, NOWHERE, OPEN, not_worse

__all__ = [
    "ABOVE",
    "AT_MOST",
    "BELOW",
    "CLIP",
    "CONFIDENCE",
    "NOWHERE",
    "OPEN",
    "POWER",
    "TESTS",
    "Interval",
    "Paired",
    "clipped",
    "decisive",
    "detectable_effect",
    "exponential",
    "geometric_mean_interval",
    "holm",
    "mean_interval",
    "moderated_intervals",
    "not_worse",
    "p_values",
    "paired",
    "paired_log_ratio",
    "positive_interval",
    "ratio_interval",
    "share_interval",
]
