"""A history as tables in the terminal."""

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from .commits import Commits
from .steps import IMPROVEMENT, MACHINE, NOISE, REGRESSION, UNDECIDED, Step, Trend
from .summary import change, groups, steps, where

_STYLES = {REGRESSION: "red", IMPROVEMENT: "green", UNDECIDED: "yellow"}
_TITLES = {
    REGRESSION: "Regressions",
    IMPROVEMENT: "Improvements",
    MACHINE: "Steps of the machine",
    UNDECIDED: "Steps that nothing can be said of",
}


def step_table(verdict: str, found: Sequence[Step], commits: Commits) -> Table:
    """Steps of one verdict."""
    table = Table(
        "series", "after / before", "commit", "holds", "measured with",
        title=f"{_TITLES[verdict]}; all intervals hold together with 95 % probability",
    )  # fmt: skip
    for step in found:
        table.add_row(
            escape(step.segment.series),
            change(step),
            escape(where(step, commits)),
            "made up for" if step.made_up else "yes" if step.segment.newest else "in an older segment",
            escape(f"{step.segment.versions}; {step.segment.machine}"),
            style=_STYLES[verdict] if step.counts or verdict != REGRESSION else "",
        )
    return table


def tables(trends: Sequence[Trend], commits: Commits, verdicts: Sequence[str]) -> list[Table]:
    """Steps of those verdicts, in that order, as far as there are any; no table for a verdict without steps."""
    shown = [(verdict, steps(trends, verdict)) for verdict in verdicts]
    return [step_table(verdict, found, commits) for verdict, found in shown if found]


def group_table(trends: Sequence[Trend]) -> Table:
    """Segments and their noise."""
    table = Table(
        "benchmark", "measured with", "series", "commits", "noise floor", "highest", "segment",
        title=f"Segments, and {NOISE}",
    )  # fmt: skip
    for group in groups(trends):
        table.add_row(
            escape(group.benchmark),
            escape(f"{group.versions}; {group.machine}"),
            str(group.series),
            str(group.commits),
            _floor(group.floor, group.differences) + (" (repeats)" if group.repeats else ""),
            _floor(group.highest_floor, group.differences),
            "newest" if group.newest else "older",
        )
    return table


def _floor(ratio: float, differences: int) -> str:
    if math.isnan(ratio):
        return "in units" if differences else "too few commits"
    return "none" if ratio == 1 else f"±{(ratio - 1) * 100:.2g} %"
