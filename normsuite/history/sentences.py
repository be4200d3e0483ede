"""A history in sentences."""

import math
from statistics import median

from .steps import IMPROVEMENT, MACHINE, REGRESSION, UNDECIDED, Trend


def sentences(trends: list[Trend]) -> list[str]:
    """Return how much there is, and how many steps of each verdict."""
    newest = [t for t in trends if t.segment.newest]
    commits = len({commit for t in newest for commit in t.segment.commits})
    verdicts = [step.verdict for t in trends for step in t.steps]
    counts = sum(step.counts for t in trends for step in t.steps)
    said = [
        f"{len(newest)} series over {commits} commit{'' if commits == 1 else 's'}: {verdicts.count(REGRESSION)} "
        f"regressions, of which {counts} still hold in a newest segment, {verdicts.count(IMPROVEMENT)} improvements, "
        f"and {verdicts.count(UNDECIDED)} undecided steps."
    ]
    if machine := verdicts.count(MACHINE):
        said.append(f"{machine} steps come from the machine: nearly all series moved at one commit by about as much.")
    floors = sorted(t.floor for t in newest if t.relative and not t.segment.exact and not math.isnan(t.floor))
    if floors:
        again = sum(t.repeats > 0 for t in newest)
        said.append(
            f"Noise floor: two measurements without a real difference lie up to {_percent(median(floors))} "
            f"apart in 95 of 100 cases (median over series; range {_percent(floors[0])} to {_percent(floors[-1])}). It "
            f"comes from repeated measurements of a commit in {again} series, from neighbouring commits in the others."
        )
    return said


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:.2g} %"
