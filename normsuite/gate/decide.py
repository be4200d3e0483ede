"""Verdicts on ratios head / base, from intervals that hold for the whole table and for every time it was looked at.

A table of m cells is looked at several times while it is measured, and a cell that is decided is measured no more. The
final look, when the budget is spent, has half of α, and those before it share the other half: a look gives each of its
intervals the level α · share / m, so that with probability 1 − α every interval that a verdict was taken from holds its
true ratio, however the cells depend on each other and whenever one stops (Bonferroni).

Such levels are out of reach for methods that only rank: with n processes a sign test cannot go below 2 / 2ⁿ, so that
48 cells would need 14 processes before a verdict at an early look, and 12 at the final one. Student's t can, but with 4
processes its quantile at that level is 16; once the variance is known it is 3.5. The cells' variances are alike, and so
each cell's is drawn towards what all have in common (`statistics.moderated`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import statistics
from ..statistics import Interval

WORSE, BETTER, SAME, UNDECIDED = "worse", "better", "same", "undecided"
NOT_AVAILABLE, FAILS, ACCEPTED = "n/a", "fails", "accepted"
VERDICTS = (WORSE, FAILS, ACCEPTED, BETTER, UNDECIDED, SAME, NOT_AVAILABLE)
"""Worst first. n/a: one of the two does not have it. fails: it worked in base. accepted: worse, and known to be."""

ALPHA = 0.05
FIRST_LOOK = 4
"""Processes before the first look: with fewer there is next to nothing to know of the spread."""


FINAL_SHARE = 0.5
"""Of α, for the look that is taken when nothing more can be afforded."""


def share(look: int) -> float:
    """Of α, for the look of that number before the final one, counted from 1: thrice 1/8, then 1/16, 1/32 and so on."""
    return 2.0 ** -max(3, look)


def judge(ratio: Interval, margin: float) -> str:
    """Where the whole interval lies: beyond 1 ± margin, within, or across one of them."""
    if math.isnan(ratio.low):
        return UNDECIDED
    if ratio.low > 1 + margin:
        return WORSE
    if ratio.high < 1 - margin:
        return BETTER
    return SAME if 1 - margin <= ratio.low and ratio.high <= 1 + margin else UNDECIDED


def judge_exactly(base: float, head: float, margin: float) -> str:
    """The same for numbers without noise. Two that are 0, or both not finite, are the same."""
    if base == head or not (math.isfinite(base) or math.isfinite(head)):
        return SAME
    if not math.isfinite(head) or head > base * (1 + margin):
        return WORSE
    return BETTER if not math.isfinite(base) or head < base * (1 - margin) else SAME


@dataclass(frozen=True)
class Decision:
    """What is known of one cell's time.

    Attributes:
        ratio: head / base, with the interval of the look that decided it, or of the last one.
        verdict: one of `VERDICTS`.
        processes: how many gave a value.
    """

    ratio: Interval
    verdict: str
    processes: int


def decide(
    values: Mapping[str, Mapping[int, float]],
    looks: Sequence[int],
    margin: float,
    comparisons: int,
    alpha: float = ALPHA,
    *,
    final: bool,
) -> dict[str, Decision]:
    """A verdict for each cell, after those looks.

    Args:
        values: of each cell, for each process by its number the logarithm of its ratio.
        looks: how many processes there had been at each.
        margin: how far from 1 counts as the same.
        comparisons: m, how many verdicts of the table come from intervals.
        alpha: probability of any false interval in the table.
        final: whether the last of those looks is the final one.
    """
    decided: dict[str, Decision] = {}
    for k, processes in enumerate(looks, start=1):
        seen = {cell: [v for number, v in of.items() if number <= processes] for cell, of in values.items()}
        of_alpha = FINAL_SHARE if final and k == len(looks) else share(k)
        intervals = statistics.moderated_intervals(list(seen.values()), alpha=alpha * of_alpha / comparisons)
        for (cell, logs), interval in zip(seen.items(), intervals, strict=True):
            if cell in decided and decided[cell].verdict != UNDECIDED:
                continue
            ratio = Interval(*(math.exp(end) for end in (interval.value, interval.low, interval.high)))
            decided[cell] = Decision(ratio, judge(ratio, margin), len(logs))
    return decided
