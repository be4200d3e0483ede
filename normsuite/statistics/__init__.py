"""Intervals, tests, survival and corrections for many comparisons, thin over scipy. Imports no torch."""

from .differences import Comparison, Paired, compare, detectable_effect, holm, paired
from .intervals import (
    CONFIDENCE,
    Interval,
    clipped,
    geometric_mean_interval,
    mean_interval,
    paired_log_ratio,
    ratio_interval,
)
from .moderated import moderated_intervals

__all__ = [
    "CONFIDENCE",
    "Comparison",
    "Interval",
    "Paired",
    "clipped",
    "compare",
    "detectable_effect",
    "geometric_mean_interval",
    "holm",
    "mean_interval",
    "moderated_intervals",
    "paired",
    "paired_log_ratio",
    "ratio_interval",
]
