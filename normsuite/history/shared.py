"""Steps that the series of one machine share: the machine became slower or faster, not the code.

A step is shared where `SHARE` of the series that were measured on both sides, with the same versions, have one in the
same direction, within `NEAR` commits. The median ratio of these is the machine's. What is left of a step when that is
taken off is judged again: a regression that is larger than the machine's step stays one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..helpers import ALONE, Helpers
from ..statistics import CONFIDENCE, Interval
from . import steps
from .segments import Segment
from .steps import IMPROVEMENT, MACHINE, MARGIN, REGRESSION, Step, Trend, judge

LEAST_SERIES = 5
"""Fewer may share a step by chance, or because they measure the same code."""

SHARE = 0.8
NEAR = 2
_SETTLED = 2
"""Commits that a series needs on either side before it can have a step there."""


def trends(found: Sequence[Segment], *, alpha: float = 1 - CONFIDENCE, helpers: Helpers = ALONE) -> list[Trend]:
    """Find the steps of every series and judge them (`steps.trends`); those of the machine are named so."""
    return named(steps.trends(found, alpha=alpha, helpers=helpers))


def named(trends: Sequence[Trend]) -> list[Trend]:
    """Return the trends with the verdict of shared steps changed to the machine's."""
    alike: dict[tuple[str, str], list[Trend]] = {}
    for trend in trends:
        if trend.relative and not trend.segment.exact:
            alike.setdefault((trend.segment.machine, trend.segment.versions), []).append(trend)
    factors = {key: _Shared(of) for key, of in alike.items() if len(of) >= LEAST_SERIES}
    found = []
    for trend in trends:
        of = factors.get((trend.segment.machine, trend.segment.versions))
        if of is not None and trend.steps and trend.relative and not trend.segment.exact:
            trend = replace(trend, steps=tuple(_judged(step, of.factor(step)) for step in trend.steps))
        found.append(trend)
    return found


class _Shared:
    """Steps of several series in the order of commits."""

    def __init__(self, trends: Iterable[Trend]):
        series, places, logs = [], [], []
        self._first, self._last = [], []
        for number, trend in enumerate(trends):
            at = [result.place for result in trend.segment.results]
            self._first.append(at[min(_SETTLED, len(at)) - 1])
            self._last.append(at[-min(_SETTLED, len(at))])
            for step in trend.steps:
                if step.ratio.value > 0 and math.isfinite(step.ratio.value):
                    series.append(number)
                    places.append(_place(step))
                    logs.append(math.log(step.ratio.value))
        self._first, self._last = np.array(self._first), np.array(self._last)
        self._series, self._places, self._logs = np.array(series, dtype=int), np.array(places), np.array(logs)

    def factor(self, step: Step) -> float:
        """Return the ratio that the series share where that step is, or 1."""
        value = step.ratio.value
        if not (value > 0 and math.isfinite(value)) or value == 1:
            return 1.0
        place = _place(step)
        covering = int(((self._first < place) & (place <= self._last)).sum())
        near = (np.abs(self._places - place) <= NEAR) & (np.sign(self._logs) == np.sign(math.log(value)))
        if covering < LEAST_SERIES or len(np.unique(self._series[near])) < SHARE * covering:
            return 1.0
        return math.exp(float(np.median(self._logs[near])))


def _place(step: Step) -> int:
    return step.segment.results[step.after.places[0]].place


def _judged(step: Step, factor: float) -> Step:
    if factor == 1.0 or step.verdict not in (REGRESSION, IMPROVEMENT):
        return step
    rest = Interval(*(end / factor for end in (step.ratio.value, step.ratio.low, step.ratio.high)))
    verdict = judge(rest, step.floor, MARGIN, step.segment.lower_is_worse, True)
    if verdict in (REGRESSION, IMPROVEMENT):
        return replace(step, verdict=verdict)
    return replace(step, verdict=MACHINE, made_up=False)
