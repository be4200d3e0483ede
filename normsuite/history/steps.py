"""Steps in a segment of a history: where they are, how large, how certain, and which of them are regressions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ..helpers import ALONE, Helpers
from ..statistics import CONFIDENCE, Interval
from .contrast import NORMAL_MAD
from .levels import detect
from .segments import Segment

REGRESSION, IMPROVEMENT, WITHIN_NOISE, UNDECIDED = "regression", "improvement", "within noise", "undecided"
VERDICTS = (REGRESSION, IMPROVEMENT, WITHIN_NOISE, UNDECIDED)

MARGIN = 1.01
"""A ratio nearer to 1 than this is not called a regression, however certain it is."""

LEAST_COMMITS = 2
"""A level of fewer cannot be told from a disturbed measurement, but where values have no noise."""

LEAST_PAIRS = 3
"""Fewer pairs of measurements give no noise floor."""

NOISE = "how far apart two measurements of one commit lie in 95 of 100 cases, or else two commits that do not differ"
"""What a noise floor is, for people."""

_SPIKE = 5  # deviations
_NOWHERE = Interval(math.nan, math.nan, math.nan)
_LARGEST_LOG = 709.0  # of what a float can be


@dataclass(frozen=True)
class Level:
    """Commits between two steps.

    Attributes:
        places: of its commits in the segment, ascending; those that were set aside are not among them.
        value: geometric mean with its 95 % interval, in the segment's unit; arithmetic where a value is not above 0.
    """

    places: tuple[int, ...]
    value: Interval


@dataclass(frozen=True)
class Step:
    """Two levels, one behind the other.

    Attributes:
        segment: in which they are.
        before, after: the levels.
        ratio: after / before, with the interval that holds together with all others of the table; NaN where a value is
            not above 0, and a ratio has no meaning.
        verdict: one of `VERDICTS`.
        made_up: it is a regression, and the segment's last level is as good as the one before it.
        difference: after − before, in the segment's unit, where there is no ratio; else None.
    """

    segment: Segment
    before: Level
    after: Level
    ratio: Interval
    verdict: str
    made_up: bool = False
    difference: Interval | None = None

    @property
    def before_commit(self) -> str:
        """The last that was measured before the step."""
        return self.segment.commits[self.before.places[-1]]

    @property
    def commit(self) -> str:
        """The first that was measured behind it: the step is its, or that of one since `before_commit`."""
        return self.segment.commits[self.after.places[0]]

    @property
    def counts(self) -> bool:
        """A regression that still holds, in the newest segment of its series."""
        return self.verdict == REGRESSION and self.segment.newest and not self.made_up


@dataclass(frozen=True)
class Trend:
    """What one segment says.

    Attributes:
        segment: it.
        levels: oldest first.
        steps: between them, one fewer.
        floor: noise floor as a ratio above 1: so far apart are two measurements of one commit, in 95 of 100 cases, or
            where too few commits were measured again, two neighbouring commits of one level. 1 where values have no
            noise, NaN where there are too few commits of either kind. A difference where a value is not above 0.
        repeats: of how many commits' measurements it was found, 0 where of neighbours.
        set_aside: places of commits that stood alone against both neighbours.
        relative: all values are above 0, so that ratios say how far apart they are; else differences do.
    """

    segment: Segment
    levels: tuple[Level, ...]
    steps: tuple[Step, ...]
    floor: float
    repeats: int
    set_aside: tuple[int, ...]
    relative: bool = True


def trends(found: Sequence[Segment], *, alpha: float = 1 - CONFIDENCE, helpers: Helpers = ALONE) -> list[Trend]:
    """Find the steps of every series and judge them.

    Of values that are all above 0, ratios are judged; of others, such as a count that may be 0, differences, and the
    margin is a hundredth of the larger level. What becomes infinite is a step however large the noise.

    Where steps are is decided by asv's step detection (`levels`). Each ratio is exp of the difference of two levels'
    mean logarithms of commits' values, with Student's interval: the deviation is that of commits about their levels,
    taken over the whole segment, and the confidence 1 − alpha / n, where n counts every place in every segment at which
    a step could have been found (Bonferroni), since the places were chosen by looking. A commit's samples of one
    process count as one value: they are not independent. Assumes that commits are, and that the noise of their
    logarithms is about normal; drift over several commits looks like a step, which is why the noise floor comes in as
    well.

    A regression is a step whose whole interval is worse than `MARGIN` and whose ratio is worse than the noise floor; an
    improvement the same on the other side; within noise, whose whole interval is nearer to 1 than the larger of the
    two. The rest is undecided. Bytes and numerical errors have no noise, and intervals without width.

    Args:
        found: all segments of the table.
        alpha: probability that any interval of the table misses.
        helpers: who may take a share of the detection.
    """
    places = sum(len(s.values) - 1 for s in found if not s.exact and len(s.values) >= 2 * LEAST_COMMITS)
    spikes = [set() if s.exact else _spikes(s.values) for s in found]
    shown = [_without(s.values, of) for s, of in zip(found, spikes, strict=True)]
    return [
        _trend(segment, ends, of, alpha / max(1, places))
        for segment, ends, of in zip(found, detect(shown, helpers), spikes, strict=True)
    ]


def _is_relative(values: Sequence[float]) -> bool:
    return min(values) > 0


def _without(values: Sequence[float], spikes: set[int]) -> np.ndarray:
    """Finite values for those who look for steps: what is infinite lies far from all that is not."""
    shown = np.array(values, dtype=float)
    finite = shown[np.isfinite(shown)]
    if len(finite) < len(shown):
        far = 10 * max(1.0, float(np.abs(finite).max(initial=0.0)))
        shown = np.clip(shown, -far, far)
    shown[list(spikes)] = math.nan
    return shown


def _trend(segment: Segment, ends: Sequence[tuple[int, int]], spikes: set[int], alpha: float) -> Trend:
    values = segment.values
    runs = [tuple(i for i in range(*of) if i not in spikes) if spikes else tuple(range(*of)) for of in ends]
    if not segment.exact:
        runs = _supported(runs)
    aside = tuple(sorted(set(range(len(values))).difference(*runs)))
    noise = _Exact(segment.values) if segment.exact else _Noise(segment.values, runs, segment.repeats)
    levels = tuple(Level(run, noise.level(run)) for run in runs)
    floor = noise.floor
    # A last commit that nothing confirms yet makes up for nothing.
    known = levels[:-1] if not segment.exact and levels and len(levels[-1].places) < LEAST_COMMITS else levels
    steps = []
    for before, after in itertools.pairwise(levels):
        apart = noise.apart(before.places, after.places, alpha)
        margin = _margin(before, after, noise.relative)
        verdict = _verdict(apart, floor, margin, segment.lower_is_worse, noise.relative)
        made_up = verdict == REGRESSION and _as_good(
            known[-1], before, max(floor, margin), segment.lower_is_worse, noise.relative
        )
        kinds = (apart, None) if noise.relative else (_NOWHERE, apart)
        steps.append(Step(segment, before, after, kinds[0], verdict, made_up, kinds[1]))
    return Trend(segment, levels, tuple(steps), floor, noise.repeats, aside, noise.relative)


def _margin(before: Level, after: Level, relative: bool) -> float:
    """What is called no regression, however certain it is: a ratio, or a difference."""
    if relative:
        return MARGIN
    finite = [abs(of.value.value) for of in (before, after) if math.isfinite(of.value.value)]
    return (MARGIN - 1) * max(finite, default=0.0)


def _spikes(values: Sequence[float]) -> set[int]:
    """Places that lie far above or far below both neighbours, against what neighbours usually differ by.

    asv's detection, given one such value, takes every commit for a level of its own.
    """
    if len(values) < 2 * LEAST_COMMITS or not np.isfinite(values).all():
        return set()
    apart = np.diff(np.log(values) if _is_relative(values) else values)
    far = _SPIKE * NORMAL_MAD * np.median(np.abs(apart))
    to, away = apart[:-1], apart[1:]
    return set((1 + np.flatnonzero((to * away < 0) & (np.minimum(abs(to), abs(away)) > far))).tolist())


def _supported(runs: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Without levels of a single commit: neighbours among them are one level, one between others is left out.

    The first and the last commit stay, since the next one may yet show a level there.
    """
    joined: list[tuple[int, ...]] = []
    for lone, alike in itertools.groupby(runs, lambda run: len(run) < LEAST_COMMITS):
        of_kind = list(alike)
        joined += [tuple(itertools.chain(*of_kind))] if lone else of_kind
    return [run for place, run in enumerate(joined) if len(run) >= LEAST_COMMITS or place in (0, len(joined) - 1)]


def _verdict(apart: Interval, floor: float, margin: float, lower_is_worse: bool, relative: bool) -> str:
    value, low, high = apart.value, apart.low, apart.high
    if math.isnan(low) or (math.isnan(floor) and math.isfinite(value) and not (relative and value == 0)):
        return UNDECIDED
    if relative:  # on one scale with differences: as far above 0 as below
        value, low, high, floor, margin = map(_log, (value, low, high, floor, margin))
    floor = 0.0 if math.isnan(floor) else floor
    if low > margin and value > floor:
        return IMPROVEMENT if lower_is_worse else REGRESSION
    if high < -margin and value < -floor:
        return REGRESSION if lower_is_worse else IMPROVEMENT
    limit = max(floor, margin)
    return WITHIN_NOISE if -limit <= low and high <= limit else UNDECIDED


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else math.nan if math.isnan(ratio) else -math.inf


def _as_good(last: Level, before: Level, limit: float, lower_is_worse: bool, relative: bool) -> bool:
    better, worse = (before, last) if lower_is_worse else (last, before)
    most = worse.value.value * limit if relative else worse.value.value + limit
    return better.value.value <= most


class _Exact:
    """Values without noise."""

    repeats = 0

    def __init__(self, values: Sequence[float]):
        self._values = values
        self.relative = _is_relative(values)
        self.floor = 1.0 if self.relative else 0.0

    def level(self, run: Sequence[int]) -> Interval:
        value = float(np.median([self._values[i] for i in run]))
        return Interval(value, value, value)

    def apart(self, before: Sequence[int], after: Sequence[int], alpha: float) -> Interval:
        old, new = self.level(before).value, self.level(after).value
        found = (0.0 if old == new else new - old) if not self.relative else new / old
        return Interval(found, found, found)


class _Noise:
    """Of logarithms about their levels, where all values are above 0, or of the values themselves."""

    def __init__(self, values: Sequence[float], runs: Sequence[Sequence[int]], repeats: Sequence[Sequence[float]]):
        self.relative = _is_relative(values)
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
        self.repeats = len(again) if sum(len(of) - 1 for of in again) >= LEAST_PAIRS else 0
        # What was measured again tells more than neighbours, which may differ by a little that is no noise.
        apart = np.abs(np.concatenate([np.diff(of) for of in (again if self.repeats else of_runs)] or [[]]))
        spread = special.ndtri(0.975) * NORMAL_MAD * np.median(apart) if len(apart) >= LEAST_PAIRS else math.nan
        with np.errstate(over="ignore"):  # of values that are powers of each other everything is within the noise
            self.floor = float(np.exp(spread) if self.relative else spread)

    def level(self, run: Sequence[int]) -> Interval:
        return self._interval(self._mean(run), 1 / len(run), 1 - CONFIDENCE)

    def apart(self, before: Sequence[int], after: Sequence[int], alpha: float) -> Interval:
        old, new = self._mean(before), self._mean(after)
        difference = 0.0 if old == new else new - old
        if min(len(before), len(after)) < LEAST_COMMITS:
            return Interval(self._unscaled(difference), math.nan, math.nan)
        if math.isinf(difference):  # no noise makes anything infinite
            return Interval(*[self._unscaled(difference)] * 3)
        return self._interval(difference, 1 / len(before) + 1 / len(after), alpha)

    def _mean(self, run: Sequence[int]) -> float:
        of = self._scaled[list(run)]
        # Some infinite values among finite ones, of either sign, have no mean.
        return float(of.mean() if np.isfinite(of).all() else np.median(of))

    def _unscaled(self, value: float) -> float:
        if not self.relative:
            return value
        return math.exp(value) if value < _LARGEST_LOG else math.inf

    def _interval(self, mean: float, share: float, alpha: float) -> Interval:
        """mean ± t · s · √share, or exp of it."""
        if math.isnan(self._deviation) or math.isinf(mean):
            return Interval(self._unscaled(mean), math.nan, math.nan)
        half = -float(special.stdtrit(self._df, alpha / 2)) * self._deviation * math.sqrt(share)
        return Interval(*map(self._unscaled, (mean, mean - half, mean + half)))
