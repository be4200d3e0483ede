"""Commits in sentences, a table of steps, and a small picture of each series."""

import math

import numpy as np

from ..history import Trend
from ..history.steps import IMPROVEMENT, MACHINE, NOISE, REGRESSION, UNDECIDED
from ..history.summary import change, floor_said, steps
from ..spec import NORMS
from .charts import colour
from .collect import ASV_COMMAND
from .tables import UNITS, Table, with_interval

COMMAND = "normsuite history"

_MOST_STEPS = 100
_WIDTH, _HEIGHT = 120, 24


class Picture(str):
    """What a picture shows, as text, which sorts, filters and copies like any other; and the picture, as SVG."""

    svg: str

    def __new__(cls, text: str, svg: str):
        found = super().__new__(cls, text)
        found.svg = svg
        return found


def sentences(trends: list[Trend]) -> list[str]:
    """How much there is, and what came of it."""
    newest = [t for t in trends if t.segment.newest]
    commits = len({commit for t in newest for commit in t.segment.commits})
    verdicts = [step.verdict for t in trends for step in t.steps]
    counts = sum(step.counts for t in trends for step in t.steps)
    said = [
        f"{len(newest)} series over {commits} commit{'' if commits == 1 else 's'}: {verdicts.count(REGRESSION)} "
        f"regressions, of which {counts} still hold in a newest segment, {verdicts.count(IMPROVEMENT)} improvements, "
        f"and {verdicts.count(UNDECIDED)} steps of which nothing can be said."
    ]
    if machine := verdicts.count(MACHINE):
        said.append(f"{machine} steps are the machine's: nearly all series have them on one commit, by about as much.")
    floors = sorted(t.floor for t in newest if t.relative and not t.segment.exact and not math.isnan(t.floor))
    if floors:
        again = sum(t.repeats > 0 for t in newest)
        said.append(
            f"Two measurements of what does not differ lie up to {_percent(floors[len(floors) // 2])} apart in 95 of "
            f"100 cases, the median over series; from {_percent(floors[0])} to {_percent(floors[-1])}: measurements of "
            f"one commit in {again} series, of neighbouring commits in the others."
        )
    return said


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:.2g} %"


def step_table(trends: list[Trend]) -> Table | None:
    """Regressions and improvements, those that still hold first, then the largest."""
    found = steps(trends, REGRESSION, IMPROVEMENT)
    if not found:
        return None
    rest = len(found) - _MOST_STEPS
    more = f" The largest {_MOST_STEPS}; `{COMMAND} --json -` has {rest} more." if rest > 0 else ""
    rows = [
        (
            step.segment.series,
            step.verdict,
            change(step),
            f"{step.before_commit[:8]}..{step.commit[:8]}",
            "made up for" if step.made_up else "yes" if step.segment.newest else "in an older segment",
            f"{step.segment.versions}; {step.segment.machine}",
        )
        for step in found[:_MOST_STEPS]
    ]
    return Table(
        f"Steps: the level after over the level before, with intervals that hold at 95 % all together.{more}",
        ("series", "verdict", "after / before", "commits", "holds", "measured with"),
        rows,
        COMMAND,
    )


def series_table(trends: list[Trend]) -> Table | None:
    """Every series of the newest segments, with its picture, its newest level and its noise."""
    newest = [t for t in trends if t.segment.newest and t.levels]
    if not newest:
        return None
    rows = []
    for of in newest:
        floor = floor_said(of)
        beyond = [step for step in of.steps if step.verdict in (REGRESSION, IMPROVEMENT)]
        last = f"{change(beyond[-1])} at {beyond[-1].commit[:8]}" if beyond else "–"
        show = UNITS.get(of.segment.unit, lambda value: f"{value:.3g}")
        rows.append(
            (
                of.segment.series,
                picture(of, show),
                with_interval(of.levels[-1].value, show),
                floor,
                str(len(beyond)),
                last,
            )
        )
    return Table(
        "Every series: its values over commits, oldest on the left, with its levels as bands; the newest level [95 % "
        f"interval]; {NOISE}; steps beyond it",
        ("series", "over commits", "newest level", "noise floor", "steps", "the last step"),
        rows,
        ASV_COMMAND,
    )


def picture(of: Trend, show) -> Picture:
    """A line through a segment's values, a band for each level: drawn here, since matplotlib takes as long for one as
    everything else takes for all of them."""
    values = of.segment.values
    there = np.array(values)
    there = there[np.isfinite(there)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
    wide, tall = _WIDTH / max(1, len(values) - 1), (_HEIGHT - 2) / ((high - low) or 1.0)

    def at(place: float, value: float) -> str:
        return f"{place * wide:.1f},{1 + (high - min(max(value, low), high)) * tall:.1f}"

    bands = "".join(
        f'<path d="M{at(level.places[0], level.value.value)}H{level.places[-1] * wide:.1f}" class="level"/>'
        for level in of.levels
    )
    parameters = of.segment.parameters.values()
    tint = next((colour(norm) for norm in NORMS if norm in parameters), "currentColor")
    line = " ".join(at(place, value) for place, value in _thinned(values))
    return Picture(
        f"{show(values[0])} → {show(values[-1])}",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="series" aria-hidden="true">{bands}'
        f'<polyline points="{line}" stroke="{tint}"/></svg>',
    )


def _thinned(values: list[float]) -> list[tuple[int, float]]:
    """At most two points for each that the picture is wide: the least and the most of its share of commits."""
    share = math.ceil(len(values) / (_WIDTH / 2))
    shares = np.full((math.ceil(len(values) / share), share), math.nan)
    shares.flat[: len(values)] = values
    finite, first = np.isfinite(shares), share * np.arange(len(shares))
    least = first + np.where(finite, shares, math.inf).argmin(axis=1)
    most = first + np.where(finite, shares, -math.inf).argmax(axis=1)
    kept = np.unique([least, most]).tolist()
    return [(place, values[place]) for place in kept if math.isfinite(values[place])]
