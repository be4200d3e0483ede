"""Steps in a segment of a history: where they are, how large, how certain, and which of them are regressions."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..machine.helpers import ALONE, Helpers
from ..presentation.table import BAD, GOOD, WARNING
from ..statistics import CONFIDENCE, NOWHERE, Interval
from .contrast import NORMAL_MAD
from .levels import detect
from .noise import LEAST_COMMITS, Exact, Noise, is_relative
from .segments import Segment

REGRESSION, IMPROVEMENT, WITHIN_NOISE, UNDECIDED = "regression", "improvement", "within noise", "undecided"
MACHINE = "machine"
"""Verdict on a step that nearly all series have at one commit, by about as much: the machine changed, not the code."""
VERDICTS = (REGRESSION, IMPROVEMENT, MACHINE, WITHIN_NOISE, UNDECIDED)
TONES = {REGRESSION: BAD, IMPROVEMENT: GOOD, UNDECIDED: WARNING}

MARGIN = 1.01
"""A ratio nearer to 1 than this is not called a regression, however certain it is."""

NOISE = (
    "noise floor: two measurements without a real change lie at most so far apart in 95 of 100 cases (from commits "
    "measured again, and where these are too few from neighbouring commits of a level)"
)
"""What a noise floor is, for people."""

_SPIKE = 5  # deviations


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
    """Two levels, one after the other.

    Attributes:
        segment: in which they are.
        before, after: the levels.
        ratio: after / before, with the interval that holds together with all others of the table; NaN where a value is
            not above 0, and a ratio has no meaning.
        verdict: one of `VERDICTS`.
        recovered: a regression after which the segment's last level is as good as the one before the step.
        difference: after − before, in the segment's unit, where there is no ratio; else None.
        floor: how far apart two levels of these lengths lie by noise alone, as a ratio or a difference.
    """

    segment: Segment
    before: Level
    after: Level
    ratio: Interval
    verdict: str
    recovered: bool = False
    difference: Interval | None = None
    floor: float = math.nan

    @property
    def before_commit(self) -> str:
        """Return the last commit that was measured before the step."""
        return self.segment.commits[self.before.places[-1]]

    @property
    def commit(self) -> str:
        """Return the first commit that was measured behind the step.

        The step is its own, or that of a commit since `before_commit`.
        """
        return self.segment.commits[self.after.places[0]]

    @property
    def counts(self) -> bool:
        """Return whether it is a regression that still holds, in the newest segment of its series."""
        return self.verdict == REGRESSION and self.segment.newest and not self.recovered


@dataclass(frozen=True)
class Trend:
    """The levels, steps and noise floor of one segment.

    Attributes:
        segment: the segment.
        levels: oldest first.
        steps: between them, one fewer.
        floor: noise floor as a ratio above 1: two measurements of one commit, or where too few commits were measured
            again two neighbouring commits of one level, lie no further apart in 95 of 100 cases. 1 where values have no
            noise, NaN where there are too few commits of either kind. A difference where a value is not above 0.
        repeats: number of commits measured again that the floor comes from; 0 where it comes from neighbours.
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

    @property
    def beyond_noise(self) -> list[Step]:
        """Return the regressions and improvements, also those that were recovered."""
        return [step for step in self.steps if step.verdict in (REGRESSION, IMPROVEMENT)]


def trends(found: Sequence[Segment], *, alpha: float = 1 - CONFIDENCE, helpers: Helpers = ALONE) -> list[Trend]:
    """Find the steps of every series and judge them.

    Of values that are all above 0, ratios are judged; of others, such as a count that may be 0, differences, and the
    margin is a hundredth of the larger level. What becomes infinite is a step however large the noise.

    Where steps are is decided by asv's step detection (`levels`). Each ratio is exp of the difference of two levels'
    mean logarithms of commits' values, with Student's interval: the deviation is that of commits about their levels,
    taken over the whole segment, and neighbours may be correlated (AR(1)). The confidence is 1 − alpha / n, where n
    counts every place in every segment at which a step could have been found (Bonferroni), since the places were chosen
    by looking. A commit's samples of one process count as one value: they are not independent. Assumes that the noise
    of their logarithms is about normal; drift over many commits looks like a step, which is why the noise floor comes
    in as well.

    A regression is a step whose whole interval is worse than `MARGIN` and whose ratio is worse than the noise floor of
    its two levels' means (`Noise.floor_of`); an improvement the same on the other side; within noise, whose whole
    interval is nearer to 1 than the larger of the two. The rest is undecided. Bytes and numerical errors have no noise,
    and intervals without width.

    Args:
        found: all segments of the table.
        alpha: probability that any interval of the table misses.
        helpers: processes that may take a share of the detection.
    """
    places = sum(len(s.values) - 1 for s in found if not s.exact and len(s.values) >= 2 * LEAST_COMMITS)
    spikes = [set() if s.exact else _spikes(s.values) for s in found]
    shown = [_without(s.values, of) for s, of in zip(found, spikes, strict=True)]
    return [
        _trend(segment, ends, of, alpha / max(1, places))
        for segment, ends, of in zip(found, detect(shown, helpers), spikes, strict=True)
    ]


def _without(values: Sequence[float], spikes: set[int]) -> np.ndarray:
    """Return the values for step detection: spikes as NaN, infinities as finite numbers far from all others."""
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
    noise = Exact(segment.values) if segment.exact else Noise(segment.values, runs, segment.repeats)
    levels = tuple(Level(run, noise.level(run)) for run in runs)
    # A single last commit does not yet show that a regression was recovered.
    known = levels[:-1] if not segment.exact and levels and len(levels[-1].places) < LEAST_COMMITS else levels
    steps = []
    for before, after in itertools.pairwise(levels):
        change = noise.change(before.places, after.places, alpha)
        margin = _margin(before, after, noise.relative)
        floor = noise.floor_of(before.places, after.places)
        verdict = judge(change, floor, margin, lower_is_worse=segment.lower_is_worse, relative=noise.relative)
        limit = max(margin, noise.floor_of(before.places, known[-1].places))
        recovered = verdict == REGRESSION and _as_good(known[-1], before, limit, segment.lower_is_worse, noise.relative)
        kinds = (change, None) if noise.relative else (NOWHERE, change)
        steps.append(Step(segment, before, after, kinds[0], verdict, recovered, kinds[1], floor))
    return Trend(segment, levels, tuple(steps), noise.floor, noise.repeats, aside, noise.relative)


def _margin(before: Level, after: Level, relative: bool) -> float:
    """Return how large a change is no regression, however certain it is: a ratio, or a difference."""
    if relative:
        return MARGIN
    finite = [abs(of.value.value) for of in (before, after) if math.isfinite(of.value.value)]
    return (MARGIN - 1) * max(finite, default=0.0)


def _spikes(values: Sequence[float]) -> set[int]:
    """Return the places that lie far above or far below both neighbours, against what neighbours usually differ by.

    asv's detection, given one such value, takes every commit for a level of its own.
    """
    if len(values) < 2 * LEAST_COMMITS or not np.isfinite(values).all():
        return set()
    differences = np.diff(np.log(values) if is_relative(values) else values)
    far = _SPIKE * NORMAL_MAD * np.median(np.abs(differences))
    to, away = differences[:-1], differences[1:]
    return set((1 + np.flatnonzero((to * away < 0) & (np.minimum(abs(to), abs(away)) > far))).tolist())


def _supported(runs: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the levels without those of a single commit.

    Adjacent single ones are one level; one between longer levels is left out.

    The first and the last commit stay, since the next one may yet show a level there.
    """
    joined: list[tuple[int, ...]] = []
    for lone, alike in itertools.groupby(runs, lambda run: len(run) < LEAST_COMMITS):
        of_kind = list(alike)
        joined += [tuple(itertools.chain(*of_kind))] if lone else of_kind
    return [run for place, run in enumerate(joined) if len(run) >= LEAST_COMMITS or place in (0, len(joined) - 1)]


def judge(change: Interval, floor: float, margin: float, *, lower_is_worse: bool, relative: bool) -> str:
    """Return the verdict on a step.

    Args:
        change: the ratio of its levels, or their difference.
        floor: how far apart two such levels lie by noise alone; NaN where it is not known.
        margin: what is called no regression, however certain it is.
        lower_is_worse: as of an accuracy.
        relative: `change`, `floor` and `margin` are ratios.
    """
    value, low, high = change.value, change.low, change.high
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
