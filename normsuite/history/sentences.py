"""A history in sentences."""

import math
from statistics import median

from ..presentation.text import counted
from .steps import IMPROVEMENT, MACHINE, REGRESSION, UNDECIDED, Trend
from .summary import percent_of


def sentences(trends: list[Trend]) -> list[str]:
    """Return how much there is, and how many steps of each verdict."""
    newest = [t for t in trends if t.segment.newest]
    commits = len({commit for t in newest for commit in t.segment.commits})
    verdicts = [step.verdict for t in trends for step in t.steps]
    counts = sum(step.counts for t in trends for step in t.steps)
    said = [
        f"{len(newest)} series over {counted(commits, 'commit')}: "
        f"{counted(verdicts.count(REGRESSION), 'regression')}, of which {counts} still hold in a newest segment, "
        f"{counted(verdicts.count(IMPROVEMENT), 'improvement')}, and "
        f"{counted(verdicts.count(UNDECIDED), 'undecided step')}."
    ]
    if machine := verdicts.count(MACHINE):
        said.append(
            f"{counted(machine, 'step')} from the machine: nearly all series moved at one commit by about as much."
        )
    noisy = [t for t in newest if t.relative and not t.segment.exact and not math.isnan(t.floor)]
    if noisy:
        floors, again = sorted(t.floor for t in noisy), sum(t.repeats > 0 for t in noisy)
        least, middle, most = map(percent_of, (floors[0], median(floors), floors[-1]))
        said.append(
            f"Noise floor: two measurements without a real difference lie up to {middle} apart in 95 of 100 cases "
            f"(median over series; range {least} to {most}). It comes from repeated measurements of a commit in "
            f"{again} of {len(noisy)} series, from neighbouring commits in the others."
        )
    return said
