"""Verdicts on ratios head / base, from intervals that hold for the whole table and for every interim look.

A table of m cells is looked at several times while it is measured, and a cell that is decided is measured no more. The
final look, when the budget is spent, has half of α, and those before it share the other half: a look gives each of its
intervals the level α · share / m, so that with probability 1 − α every interval that a verdict was taken from holds its
true ratio, however the cells depend on each other and whenever one stops (Bonferroni).

There are two thresholds. A cell is worse if its whole interval lies above the small one, which two builds of the same
code seldom reach, and the same if it lies within the margin. (With the margin for both, a slowdown of just the margin
could never be found.) A cell that is the same, but whose ratio lies beyond the small threshold, is measured on: it may
still turn out to be worse.

Such levels are out of reach for methods that only rank: with n processes a sign test cannot go below 2 / 2ⁿ, so that
48 cells would need 16 processes before a verdict at an early look, and 12 at the final one. Student's t can, but with 4
processes its quantile at that level is 16; once the variance is known it is 3.5. The cells' variances are alike, and so
each cell's is drawn towards what all have in common (`statistics.moderated`). docs/method-gate.md has the simulations.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import statistics
from ..presentation.table import BAD, GOOD, WARNING
from ..statistics import Interval
from .groups import is_of_host_time

WORSE, BETTER, SAME, UNDECIDED = "worse", "better", "same", "undecided"
NOT_AVAILABLE, FAILS, ACCEPTED = "n/a", "fails", "accepted"
VERDICTS = (WORSE, FAILS, ACCEPTED, BETTER, UNDECIDED, SAME, NOT_AVAILABLE)
"""Verdicts, worst first. "n/a": one of the two versions lacks the cell or metric. "fails": the cell works in base and
fails in head. "accepted": worse, and listed by the project as accepted."""

FAILING = f"{FAILS}: "
"""Begins the reason why a version has no value of a cell that it has, but cannot compute."""

TONES = {WORSE: BAD, FAILS: BAD, ACCEPTED: WARNING, UNDECIDED: WARNING, BETTER: GOOD, SAME: GOOD}

ALPHA = 0.05
FIRST_LOOK = 4
"""Processes before the first look: with fewer there is next to nothing to know of the spread."""


FINAL_SHARE = 0.5
"""Share of α for the last look, taken when the budget has no room for another process."""

MARGIN = 0.01
THRESHOLD = 0.0025
"""Builds of equal code differ by 0.06 % (root mean square over cells), and in one cell by 0.25 %, so that a false
"worse" is possible there (`tools/thresholds.py`)."""

LIMIT = 0.05
"""The largest slowdown that a table without a regression may leave possible."""


@dataclass(frozen=True)
class Thresholds:
    """Distances from 1 that a ratio may have.

    Attributes:
        same: within ± this an interval is the same.
        worse: beyond this it is worse, or better; at most `same`.
        limit: the largest slowdown that may remain possible in a cell that is not worse.
    """

    same: float = MARGIN
    worse: float = THRESHOLD
    limit: float = LIMIT

    @classmethod
    def of(cls, margins: Mapping[str, float]) -> "Thresholds":
        """Return the thresholds of a record; an old one with one margin has it for both, and no limit."""
        same = margins["time"]
        return cls(same, min(same, margins.get("worse", same)), margins.get("limit", math.inf))


def share(look: int) -> float:
    """Return the share of α for the interim look of that number, counted from 1.

    It is 1/20 for each of the first nine, then 1/40, 1/80 and so on.
    """
    return 0.05 * 2.0 ** -max(0, look - 9)


def judge(ratio: Interval, thresholds: Thresholds) -> str:
    """Return where the whole interval lies: beyond 1 ± the small threshold, or else within 1 ± the margin."""
    if math.isnan(ratio.low):
        return UNDECIDED
    if ratio.low > 1 + thresholds.worse:
        return WORSE
    if ratio.high < 1 - thresholds.worse:
        return BETTER
    return SAME if 1 - thresholds.same <= ratio.low and ratio.high <= 1 + thresholds.same else UNDECIDED


def judge_exactly(base: float, head: float, margin: float) -> str:
    """Return the verdict on numbers without noise. Two that are 0, or both not finite, are the same."""
    if base == head or not (math.isfinite(base) or math.isfinite(head)):
        return SAME
    if not math.isfinite(head) or head > base * (1 + margin):
        return WORSE
    return BETTER if not math.isfinite(base) or head * (1 + margin) < base else SAME


@dataclass(frozen=True)
class Decision:
    """The verdict on the time of one cell, or on a mean of several.

    Attributes:
        ratio: head / base, with the interval of the look that decided it, or of the last one.
        verdict: one of `VERDICTS`.
        processes: how many gave a value.
        beyond: what is measured of the ratio so far lies beyond the small threshold.
    """

    ratio: Interval
    verdict: str
    processes: int
    beyond: bool

    @property
    def is_decided(self) -> bool:
        """Return whether more processes are not needed."""
        return self.verdict in (WORSE, BETTER) or (self.verdict == SAME and not self.beyond)


def decide(
    values: Mapping[str, Mapping[int, float]],
    looks: Sequence[int],
    thresholds: Thresholds,
    comparisons: int,
    alpha: float = ALPHA,
    *,
    final: bool,
) -> dict[str, Decision]:
    """Return a verdict for each cell, or for the mean of each group, after those looks.

    Args:
        values: of each cell or group, for each process by its number the logarithm of its ratio.
        looks: how many processes there had been at each.
        thresholds: how far from 1 counts as what.
        comparisons: m, how many verdicts of the table come from intervals.
        alpha: probability of any false interval in the table.
        final: whether the last of those looks is the final one.
    """
    decided: dict[str, Decision] = {}
    for k, processes in enumerate(looks, start=1):
        seen = {cell: [v for number, v in of.items() if number <= processes] for cell, of in values.items()}
        of_alpha = FINAL_SHARE if final and k == len(looks) else share(k)
        decided = look(decided, seen, thresholds, alpha * of_alpha / comparisons)
    return decided


def look(
    decided: Mapping[str, Decision], seen: Mapping[str, Sequence[float]], thresholds: Thresholds, alpha: float
) -> dict[str, Decision]:
    """Return the decisions after one more look.

    Args:
        decided: by the looks before.
        seen: the logarithms of the ratios of each cell or group so far.
        thresholds: how far from 1 counts as what.
        alpha: of each interval of this look.
    """
    intervals: dict[str, Interval] = {}
    for of_host_time in (False, True):  # whose variances have nothing in common
        alike = {cell: logs for cell, logs in seen.items() if is_of_host_time(cell) is of_host_time}
        intervals |= zip(alike, statistics.moderated_intervals(list(alike.values()), alpha=alpha), strict=True)
    found = {}
    for cell, logs in seen.items():
        before = decided.get(cell)
        found[cell] = before if before and before.is_decided else _next(before, intervals[cell], len(logs), thresholds)
    return found


def _next(before: Decision | None, logs: Interval, processes: int, thresholds: Thresholds) -> Decision:
    """Return the decision on a cell after one more look.

    "same" stays, unless the cell is found to be worse or better.
    """
    ratio = statistics.exponential(logs)
    so_far, verdict = ratio.value, judge(ratio, thresholds)
    if before is not None and before.verdict == SAME and verdict == UNDECIDED:
        ratio, verdict, processes = before.ratio, SAME, before.processes
    beyond = not 1 - thresholds.worse <= so_far <= 1 + thresholds.worse
    return Decision(ratio, verdict, processes, beyond)


def still_open(
    cells: Mapping[str, Decision], means: Mapping[str, Decision], groups: Mapping[str, Sequence[str]]
) -> set[str]:
    """Return the cells that further processes should measure.

    They are those not decided, and those of a group whose mean may be worse or better.

    Args:
        cells, means: what was decided of cells and of groups' means.
        groups: the members of each group.
    """
    found = {name for name, decision in cells.items() if not decision.is_decided}
    for name, decision in means.items():
        if decision.verdict in (SAME, UNDECIDED) and decision.beyond:
            found |= set(groups[name])
    return found
