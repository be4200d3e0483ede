"""A history in numbers and names, as the terminal and JSON show it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..files.reading import first_of
from ..presentation import text
from ..statistics import Interval
from .commits import Commits
from .steps import Step, Trend

WHAT = "history"
COMMAND = "normsuite history"


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
        differences: how many of its series have values that are not above 0, whose floors are no ratios.
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
    differences: int = 0


def groups(trends: Iterable[Trend]) -> list[Group]:
    """Return the segments that were made alike, group by group."""
    found: dict[tuple, list[Trend]] = {}
    for trend in trends:
        of = trend.segment
        found.setdefault((of.benchmark, of.machine, of.versions, of.newest), []).append(trend)
    summed = []
    for (benchmark, machine, versions, newest), alike in found.items():
        floors = [t.floor for t in alike if t.relative and not math.isnan(t.floor)] or [math.nan]
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
                differences=sum(not t.relative for t in alike),
            )
        )
    return summed


def steps(trends: Iterable[Trend], *verdicts: str) -> list[Step]:
    """Return the steps with those verdicts, those that count first, then by size."""
    found = [s for t in trends for s in t.steps if s.verdict in verdicts]
    return sorted(found, key=lambda s: (not s.counts, -_magnitude(s)))


def _magnitude(step: Step) -> float:
    """Return how large a step is beside others: the logarithm of its larger level over its smaller one."""
    levels = sorted(abs(level.value.value) for level in (step.before, step.after))
    if step.difference is not None or not levels[0] > 0 or math.isinf(levels[1]):
        return math.inf
    return math.log(levels[1] / levels[0])


def change(step: Step) -> str:
    """Return the size of a step, with an interval if it has one: "+12.3 % [+10.1, +14.6]".

    It is a difference, such as "+5 calls", where 0 was before.
    """
    found, write, unit = _change(step)
    alone = Interval(found.value, math.nan, math.nan)
    return text.interval(alone if found.low == found.high else found, write, unit)


def size(step: Step) -> str:
    """Return the size of a step alone, to two digits."""
    found, write, unit = _change(step, digits=2)
    return f"{write(found.value)}{unit}"


def _change(step: Step, digits: int = 3) -> tuple[Interval, Callable[[float], str], str]:
    if step.difference is not None:
        unit = f" {step.segment.unit}" if step.segment.unit else ""
        return step.difference, lambda value: _signed(value, digits), unit
    if math.isinf(step.ratio.value):
        return step.ratio, lambda value: "infinite", ""
    return step.ratio, lambda ratio: _signed((ratio - 1) * 100, digits), " %"


def _signed(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "−infinite" if value < 0 else "infinite"
    return _plain(value, digits, sign="+")


def _plain(value: float, digits: int, sign: str = "") -> str:
    """Return a number to so many digits, without an exponent where it has fewer than seven before the point."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:{sign},.0f}" if 10**digits <= abs(rounded) < 1e6 else f"{value:{sign}.{digits}g}"


def percent_of(floor: float) -> str:
    """Return a noise floor, a ratio above 1, in per cent."""
    return f"{_plain((floor - 1) * 100, 2)} %"


def floor_said(trend: Trend) -> str:
    """Return the noise floor for people."""
    if trend.segment.exact:
        return "none"
    if math.isnan(trend.floor):
        return "too few commits"
    if trend.relative:
        return f"±{percent_of(trend.floor)}"
    return f"±{_plain(trend.floor, 2)} {trend.segment.unit}".rstrip()


def vanished(trends: Iterable[Trend]) -> list[str]:
    """Return a note on the newest series that no longer have a value: they fail or are n/a at the newest commits."""
    newest = (t.segment for t in trends if t.segment.newest)
    gone = [(of.series, since) for of in newest if (since := of.without_value_since) is not None]
    if not gone:
        return []
    named = first_of([f"{series} since {since[:8]}" for series, since in gone])
    return [f"{len(gone)} series have no value at the newest commits (failed or n/a): earlier ones count ({named})"]


def where(step: Step, commits: Commits) -> str:
    """Return the commit of a step, or the range that holds it.

    Behind it stands the subject of the first commit that was measured behind the step.
    """
    after = step.commit[:8]
    place = after if commits.between(step.before_commit, step.commit) == 1 else f"{step.before_commit[:8]}..{after}"
    subject = commits.subject(step.commit)
    return place if subject is None else f"{place} {subject}"


def as_dict(trends: Sequence[Trend], shown: Sequence[Step], notes: Sequence[str], commits: Commits) -> dict:
    """Return steps, levels and noise of every segment, for JSON."""
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
        "ratio": asdict(step.ratio) if step.difference is None else None,
        "difference": None if step.difference is None else asdict(step.difference),
        "from": step.before.value.value,
        "to": step.after.value.value,
        "verdict": step.verdict,
        "noise_floor": step.floor,
        "recovered": step.recovered,
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
        "relative": trend.relative,
        "floor": trend.floor,
        "without_value_since": of.without_value_since,
        "repeats": trend.repeats,
        "set_aside": [of.commits[i] for i in trend.set_aside],
        "levels": [
            {"first": of.commits[level.places[0]], "last": of.commits[level.places[-1]], **asdict(level.value)}
            for level in trend.levels
        ],
    }
