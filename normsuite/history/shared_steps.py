"""Steps that the series of one machine share: the machine became slower or faster, not the code.

A step is shared where `SHARE` of the series that were measured on both sides, with the same versions, moved in its
direction by half of its size or more, over the few commits before and after it. The median of these moves is the
machine's. What is left of a step when that is taken off is judged again: a regression that is larger than the machine's
step stays one.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..machine.helpers import ALONE, Helpers
from ..statistics import CONFIDENCE, Interval
from . import steps
from .segments import Segment
from .steps import IMPROVEMENT, MACHINE, MARGIN, REGRESSION, Step, Trend, judge

LEAST_SERIES = 5
"""Fewer may move together by chance, or because they measure the same code."""

SHARE = 0.8
NEAR = 10
"""Commits before and after a step whose means are compared."""


def trends(found: Sequence[Segment], *, alpha: float = 1 - CONFIDENCE, helpers: Helpers = ALONE) -> list[Trend]:
    """Find the steps of every series and judge them (`steps.trends`); those of the machine are named so."""
    return named(steps.trends(found, alpha=alpha, helpers=helpers))


def named(found: Sequence[Trend]) -> list[Trend]:
    """Return the trends with the verdict of shared steps changed to the machine's."""
    alike: dict[tuple[str, str], list[Trend]] = {}
    for trend in found:
        if _has_noise(trend):
            alike.setdefault((trend.segment.machine, trend.segment.versions), []).append(trend)
    machines = {key: _Machine(of) for key, of in alike.items() if len(of) >= LEAST_SERIES}
    judged = []
    for trend in found:
        machine = machines.get((trend.segment.machine, trend.segment.versions))
        if machine is not None and _has_noise(trend):
            trend = replace(trend, steps=tuple(_judged(step, machine) for step in trend.steps))
        judged.append(trend)
    return judged


def _has_noise(trend: Trend) -> bool:
    return trend.relative and not trend.segment.exact


class _Machine:
    """The logarithms of all of a machine's series, a column for each commit that any of them was measured at."""

    def __init__(self, of: Sequence[Trend]):
        places = sorted({result.place for trend in of for result in trend.segment.results})
        self._columns = {place: column for column, place in enumerate(places)}
        self._logs = np.full((len(of), len(places)), math.nan)
        for row, trend in enumerate(of):
            values = np.log(np.asarray(trend.segment.values, dtype=float))
            values[~np.isfinite(values)] = math.nan
            self._logs[row, [self._columns[result.place] for result in trend.segment.results]] = values

    def moved(self, step: Step) -> float:
        """Return by which ratio the series moved together where that step is; 1 where they did not."""
        size = math.log(step.ratio.value)
        at = self._columns[step.segment.results[step.after.places[0]].place]
        sides = self._logs[:, max(0, at - NEAR) : at], self._logs[:, at : at + NEAR]
        there = np.all([np.isfinite(side).any(axis=1) for side in sides], axis=0)
        if there.sum() < LEAST_SERIES:
            return 1.0
        before, after = (np.nanmean(side[there], axis=1) for side in sides)
        alike = (after - before) / size >= 0.5
        return math.exp(float(np.median((after - before)[alike]))) if alike.mean() >= SHARE else 1.0


def _judged(step: Step, machine: _Machine) -> Step:
    value = step.ratio.value
    if step.verdict not in (REGRESSION, IMPROVEMENT) or not 0 < value < math.inf:
        return step
    moved = machine.moved(step)
    if moved == 1.0:
        return step
    rest = Interval(*(end / moved for end in (value, step.ratio.low, step.ratio.high)))
    verdict = judge(rest, step.floor, MARGIN, lower_is_worse=step.segment.lower_is_worse, relative=True)
    return step if verdict == step.verdict else replace(step, verdict=MACHINE, recovered=False)
