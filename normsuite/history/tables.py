"""Tables of a history: its steps, its series and its segments. Imports no torch."""

import math
from collections.abc import Callable, Sequence

from ..presentation import text
from ..presentation.table import Column, Table
from ..records import kinds
from .commits import Commits
from .sparklines import picture
from .steps import IMPROVEMENT, MACHINE, NOISE, REGRESSION, TONES, UNDECIDED, Step, Trend
from .summary import COMMAND, change, floor_said, groups, percent_of, steps, where

_MOST_STEPS = 100
_TITLES = {
    REGRESSION: "Regressions",
    IMPROVEMENT: "Improvements",
    MACHINE: "Steps of the machine",
    UNDECIDED: "Undecided steps",
}


def brief(trends: Sequence[Trend], commits: Commits, verdicts: Sequence[str]) -> list[Table]:
    """Return the steps of each of those verdicts, in that order, and no table for a verdict without steps."""
    shown = [(verdict, steps(trends, verdict)) for verdict in verdicts]
    return [
        _steps(
            f"{_TITLES[verdict]}; all intervals hold together with 95 % probability", found, lambda s: where(s, commits)
        )
        for verdict, found in shown
        if found
    ]


def beyond_noise(trends: Sequence[Trend]) -> Table | None:
    """Return regressions, improvements and steps of the machine; None without any.

    Those that still hold come first, then the largest.
    """
    found = steps(trends, REGRESSION, IMPROVEMENT, MACHINE)
    if not found:
        return None
    rest = len(found) - _MOST_STEPS
    more = f" The largest {_MOST_STEPS}; `{COMMAND} --json -` has {rest} more." if rest > 0 else ""
    title = f"Steps: the level after over the level before, with intervals that hold at 95 % all together.{more}"
    return _steps(title, found[:_MOST_STEPS], lambda step: f"{step.before_commit[:8]}..{step.commit[:8]}")


def _steps(title: str, found: Sequence[Step], place: Callable[[Step], str]) -> Table:
    rows = [
        (
            step.segment.series,
            step.verdict,
            change(step),
            place(step),
            _holds(step),
            f"{step.segment.versions}; {step.segment.machine}",
        )
        for step in found
    ]
    columns = ("series", Column("verdict", tones=TONES), "after / before", "commits", "holds", "measured with")
    return Table(title, columns, rows, COMMAND)


def _holds(step: Step) -> str:
    """Return whether a regression is still there; a dash for other steps of the newest segment."""
    if not step.segment.newest:
        return "in an older segment"
    if step.verdict != REGRESSION:
        return text.ABSENT
    return "no, recovered" if step.recovered else "yes"


def series(trends: Sequence[Trend]) -> Table | None:
    """Return every series of the newest segments, with its picture, its newest level and its noise."""
    newest = [t for t in trends if t.segment.newest and t.levels]
    if not newest:
        return None
    rows = []
    for of in newest:
        beyond = of.beyond_noise
        last = f"{change(beyond[-1])} at {beyond[-1].commit[:8]}" if beyond else text.ABSENT
        show = text.writer(of.segment.unit) if of.segment.unit else "{:.3g}".format
        level = text.interval(of.levels[-1].value, show)
        rows.append((of.segment.series, picture(of, show), level, floor_said(of), str(len(beyond)), last))
    return Table(
        "Every series: its values over commits, oldest on the left, with its levels as bands; the newest level [95 % "
        f"interval]; {NOISE}; steps beyond it",
        ("series", "over commits", "newest level", "noise floor", Column("steps", is_number=True), "the last step"),
        rows,
        kinds.ASV.command,
    )


def segments(trends: Sequence[Trend]) -> Table:
    """Return the segments and their noise, a row for each benchmark, machine and versions."""
    rows = [
        (
            group.benchmark,
            f"{group.versions}; {group.machine}",
            str(group.series),
            str(group.commits),
            _floor(group.floor, group.differences) + (" (repeats)" if group.repeats else ""),
            _floor(group.highest_floor, group.differences),
            "newest" if group.newest else "older",
        )
        for group in groups(trends)
    ]
    columns = ("benchmark", "measured with", "series", "commits", "noise floor", "highest", "segment")
    return Table(f"Segments, and their {NOISE}", columns, rows, COMMAND)


def _floor(ratio: float, differences: int) -> str:
    if math.isnan(ratio):
        return "in units" if differences else "too few commits"
    return "none" if ratio == 1 else f"±{percent_of(ratio)}"
