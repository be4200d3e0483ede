"""A history in numbers and names, as the terminal and JSON show it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .commits import Commits
from .steps import Step, Trend

WHAT = "history"


@dataclass(frozen=True)
class Group:
    """The segments of one benchmark on one machine with the same versions.

    Attributes:
        series: how many there are.
        commits: how many were measured.
        floor: median of the noise floors that are known, as a ratio; NaN where none is.
        highest_floor: the highest of them.
        repeats: how many of its series have theirs from commits that were measured again; the others from neighbours.
        newest: they count for the exit code.
    """

    benchmark: str
    machine: str
    versions: str
    series: int
    commits: int
    floor: float
    highest_floor: float
    repeats: int
    newest: bool


def groups(trends: Iterable[Trend]) -> list[Group]:
    """Those segments that were made alike."""
    found: dict[tuple, list[Trend]] = {}
    for trend in trends:
        of = trend.segment
        found.setdefault((of.benchmark, of.machine, of.versions, of.newest), []).append(trend)
    summed = []
    for (benchmark, machine, versions, newest), alike in found.items():
        floors = [t.floor for t in alike if not math.isnan(t.floor)] or [math.nan]
        summed.append(
            Group(
                benchmark=benchmark,
                machine=machine,
                versions=versions,
                series=len(alike),
                commits=len({commit for t in alike for commit in t.segment.commits}),
                floor=float(np.median(floors)),
                highest_floor=max(floors),
                repeats=sum(t.repeats > 0 for t in alike),
                newest=newest,
            )
        )
    return summed


def steps(trends: Iterable[Trend], *verdicts: str) -> list[Step]:
    """Steps of those verdicts, those that count first, then the largest."""
    found = [s for t in trends for s in t.steps if s.verdict in verdicts]
    return sorted(found, key=lambda s: (not s.counts, -_size(s)))


def _size(step: Step) -> float:
    ratio = step.ratio.value
    return math.inf if math.isnan(ratio) or ratio <= 0 else abs(math.log(ratio))


def change(step: Step) -> str:
    """Its size, with the interval where there is one: "+12.3 % [+10.1, +14.6]"."""
    ratio = step.ratio
    value = f"{_percent(ratio.value)} %"
    if math.isnan(ratio.low) or ratio.low == ratio.high:
        return value
    return f"{value} [{_percent(ratio.low)}, {_percent(ratio.high)}]"


def _percent(ratio: float) -> str:
    return "from 0" if math.isinf(ratio) else f"{(ratio - 1) * 100:+.3g}"


def where(step: Step, commits: Commits) -> str:
    """The commit of a step, or the range that holds it, and what git says of the first that was measured behind it."""
    after = step.commit[:8]
    place = after if commits.between(step.before_commit, step.commit) == 1 else f"{step.before_commit[:8]}..{after}"
    subject = commits.subject(step.commit)
    return place if subject is None else f"{place} {subject}"


def as_dict(trends: Sequence[Trend], shown: Sequence[Step], notes: Sequence[str], commits: Commits) -> dict:
    """For JSON: steps, levels and noise of every segment."""
    return {
        "what": WHAT,
        "regressions": sum(step.counts for trend in trends for step in trend.steps),
        "steps": [_step(step, commits) for step in shown],
        "groups": [asdict(group) for group in groups(trends)],
        "segments": [_segment(trend) for trend in trends],
        "notes": list(notes),
    }


def _step(step: Step, commits: Commits) -> dict:
    return {
        "series": step.segment.series,
        "machine": step.segment.machine,
        "versions": step.segment.versions,
        "newest": step.segment.newest,
        "before": step.before_commit,
        "commit": step.commit,
        "subject": commits.subject(step.commit),
        "ratio": asdict(step.ratio),
        "verdict": step.verdict,
        "made_up": step.made_up,
    }


def _segment(trend: Trend) -> dict:
    of = trend.segment
    return {
        "series": of.series,
        "benchmark": of.benchmark,
        "parameters": of.parameters,
        "unit": of.unit,
        "machine": of.machine,
        "versions": of.versions,
        "newest": of.newest,
        "commits": of.commits,
        "values": of.values,
        "floor": trend.floor,
        "repeats": trend.repeats,
        "set_aside": [of.commits[i] for i in trend.set_aside],
        "levels": [
            {"first": of.commits[level.places[0]], "last": of.commits[level.places[-1]], **asdict(level.value)}
            for level in trend.levels
        ],
    }
