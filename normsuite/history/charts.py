"""Series over commits as full charts: a line for each norm, levels as bands, steps with their size."""

import math
import re
from collections.abc import Sequence

from ..errors import ArgumentError
from ..measure.labels import ASV_ERROR_RATE
from ..presentation import text
from ..presentation.charts import INK, Chart, colour, figure, label_ends
from ..records import kinds
from ..spec import NO_NORM, NORMS
from .cost import TRAINING_STEP
from .steps import Trend
from .summary import change, size

_MOST_CHARTS = 24
_SHORT = 250
"""Commits; over more, intervals and markers would be a blot."""

_NAMES = {TRAINING_STEP: "training step", ASV_ERROR_RATE: "MNIST test error after one short epoch"}
_UNITS = {"seconds": text.TIME_UNITS, "bytes": text.BYTE_UNITS}


def charts(trends: Sequence[Trend], series: str | None = None) -> list[Chart]:
    """Return charts of the training step's latency in the largest case and of the error rate, or of chosen series.

    Args:
        trends: of all series.
        series: a regular expression that names of series match; a chart has a line for each norm.

    Raises:
        ArgumentError: no regular expression, no series that matches, or so many that no page would hold them.
    """
    groups = _groups(trends)
    if series is not None:
        groups = _matching(groups, series)
    else:
        now = [of for of in groups if any(trend.segment.newest for trend in of)]
        of_benchmark = {_benchmark(of): of for of in now}  # the last that asv lists, which is the largest case
        groups = [of_benchmark[name] for name in _NAMES if name in of_benchmark]
    return [_chart(of) for of in groups]


def _matching(groups: list[list[Trend]], series: str) -> list[list[Trend]]:
    try:
        pattern = re.compile(series)
    except re.error as error:
        raise ArgumentError("series", series, f"is no regular expression ({error})") from None
    found = [of for of in groups if any(pattern.search(trend.segment.series) for trend in of)]
    if not found:
        names = ", ".join(dict.fromkeys(map(_benchmark, groups))) or "none"
        raise ArgumentError("series", series, f"matches no series; benchmarks are {names}")
    if len(found) > _MOST_CHARTS:
        raise ArgumentError("series", series, f"asks for {len(found)} charts; a page has at most {_MOST_CHARTS}")
    return found


def _groups(trends: Sequence[Trend]) -> list[list[Trend]]:
    """Return the trends group by group: those that differ in their norm and their versions alone."""
    found: dict[tuple, list[Trend]] = {}
    for trend in trends:
        of = trend.segment
        others = tuple(value for name, value in of.parameters.items() if name != "norm")
        found.setdefault((of.benchmark, *others), []).append(trend)
    return list(found.values())


def _benchmark(group: list[Trend]) -> str:
    return group[0].segment.benchmark


def _line(trend: Trend) -> str:
    """Return the name of a trend's line: its norm, where it has one."""
    return trend.segment.parameters.get("norm", trend.segment.series)


def _scale(group: list[Trend]) -> tuple[str, float]:
    """Return a unit, and the number that divides a value to convert it."""
    unit = group[0].segment.unit
    if _benchmark(group) == ASV_ERROR_RATE:
        return "%", 0.01
    if unit not in _UNITS:
        return unit, 1.0
    finite = [abs(value) for trend in group for value in trend.segment.values if math.isfinite(value)]
    largest = max(finite, default=0.0)
    return text.unit_for(largest, _UNITS[unit])


def _chart(group: list[Trend]) -> Chart:
    order = [NO_NORM, *NORMS]
    drawn = sorted(group, key=lambda t: order.index(_line(t)) if _line(t) in order else len(order))
    parameters = drawn[0].segment.parameters
    others = [value for name, value in parameters.items() if name != "norm"]
    name = ", ".join([_NAMES.get(_benchmark(group), _benchmark(group)), *others])
    unit, scale = _scale(group)
    places = _places(drawn)
    short = len(places) <= _SHORT
    lines, said = [], []
    for of in drawn:
        x = [places[of.segment.versions, commit] for commit in of.segment.commits]
        lines.append(
            {
                "name": _line(of),
                "newest": of.segment.newest,
                "x": x,
                "y": [value / scale for value in of.segment.values],
                "bars": _bars(of, x, scale) if short else [],
                "bands": _bands(of, x, scale),
                "steps": _steps(of, x, scale),
            }
        )
        first, last = (of.segment.values[place] / scale for place in (0, -1))
        said.append(f"{_line(of)} from {first:.3g} to {last:.3g} {unit} with {of.segment.versions}{_steps_said(of)}")
    commits = {commit for _, commit in places}
    title = f"{name[0].upper()}{name[1:]}"
    bars = (
        "Bars: 99 % interval of the median within one process for times, lowest to highest seed for error rates. "
        if short
        else "Intervals of single commits are left out of so long a history. "
    )
    shown = list(places.items())[:: math.ceil(len(places) / 3)]  # more hashes would run into each other
    ticks = [(x, commit[:8]) for (_, commit), x in shown]
    return Chart(
        _draw,
        (f"trend-{name}", lines, unit, short, max(places.values()), ticks, _segments(places)),
        f"{title} over {len(commits)} commits: {'; '.join(said)}",
        f"{title}, per commit. {bars}Bands: a level between two steps with its 95 % interval; steps beyond the noise "
        "are marked with their size. Another version of torch starts a new segment. Times on a shared machine drift "
        "from commit to commit: this is a trend, not a verdict.",
        f"{kinds.ASV.command} A..B",
    )


def _draw(name: str, lines: list[dict], unit: str, short: bool, last: int, ticks: list, segments: list) -> str:
    """Draw a line for each norm and segment, with intervals, bands and steps.

    `last` is the place of the newest commit.
    """
    with figure(name, 4.3, 3.1) as (finish, (axis,)):
        for line in lines:
            tint, x, y = colour(line["name"]), line["x"], line["y"]
            axis.plot(x, y, color=tint, marker="o" if short else "", markersize=3, linewidth=1.8 if short else 0.8)
            if short:
                at, low, high = ([bar[i] for bar in line["bars"]] for i in range(3))
                axis.vlines(at, low, high, color=tint, alpha=0.4, linewidth=4)
            for begin, end, low, high in line["bands"]:
                axis.fill_between([begin, end], low, high, color=tint, alpha=0.2, linewidth=0)
            for place, before, after, label in line["steps"]:
                axis.plot([place, place], [before, after], color=tint, linestyle=":", linewidth=1.2)
                axis.annotate(
                    label, (place, max(before, after)), xytext=(0, 3), textcoords="offset points", ha="center",
                    color=tint, fontsize=9,
                )  # fmt: skip
        axis.set_xlim(-0.5, last + 0.5)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]) if _reaches_below_0(lines) else 0.0)
        for place, versions in segments:
            if place:
                axis.axvline(place - 1, color=INK, linewidth=0.8, alpha=0.5)
            axis.annotate(
                versions, (place - 0.4, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", fontsize=9,
            )  # fmt: skip
        axis.set_xticks([place for place, _ in ticks], [commit for _, commit in ticks])
        axis.set_xlabel("commit, oldest first")
        axis.set_ylabel(unit)
        axis.grid(True, axis="y")
        axis.figure.draw_without_rendering()
        label_ends(axis, [(line["name"], line["x"][-1], line["y"][-1]) for line in lines if line["newest"]])
        return finish()


def _reaches_below_0(lines: list[dict]) -> bool:
    return any(value < 0 for line in lines for value in line["y"])


def _bars(of: Trend, x: list[int], scale: float) -> list[tuple[float, ...]]:
    """Return place, low and high of each value that has an interval."""
    bars = [(place, *_interval(m)) for place, m in zip(x, of.segment.measurements, strict=True)]
    return [(place, low / scale, high / scale) for place, low, high in bars if math.isfinite(low + high)]


def _interval(measured) -> tuple[float, float]:
    """Return the interval of a value: within one process; of error rates, the range over the seeds."""
    if not measured.samples or measured.result.unit == "seconds":
        return measured.interval
    return min(measured.samples), max(measured.samples)


def _bands(of: Trend, x: list[int], scale: float) -> list[tuple[float, ...]]:
    """Return begin, end, low and high of each level that has an interval."""
    known = [level for level in of.levels if math.isfinite(level.value.low) and math.isfinite(level.value.high)]
    return [
        (x[level.places[0]] - 0.3, x[level.places[-1]] + 0.3, level.value.low / scale, level.value.high / scale)
        for level in known
    ]


def _steps(of: Trend, x: list[int], scale: float) -> list[tuple]:
    """Return place, value before, value after and size in words of each step beyond the noise."""
    beyond = [s for s in of.beyond_noise if math.isfinite(s.before.value.value) and math.isfinite(s.after.value.value)]
    return [
        (
            (x[step.before.places[-1]] + x[step.after.places[0]]) / 2,
            step.before.value.value / scale,
            step.after.value.value / scale,
            size(step),
        )
        for step in beyond
    ]


def _steps_said(of: Trend) -> str:
    return "".join(f", {step.verdict} of {change(step)} at {step.commit[:8]}" for step in of.beyond_noise)


def _places(drawn: list[Trend]) -> dict[tuple[str, str], int]:
    """Return the place of each commit on the axis, by versions and commit; segments are separated by a free place."""
    last: dict[str, float] = {}
    for of in drawn:
        last[of.segment.versions] = max(of.segment.recorded, last.get(of.segment.versions, 0.0))
    places: dict[tuple[str, str], int] = {}
    for number, versions in enumerate(sorted(last, key=last.__getitem__)):
        alike = {
            (r.place, r.date, r.commit) for of in drawn if of.segment.versions == versions for r in of.segment.results
        }
        for commit in dict.fromkeys(commit for *_, commit in sorted(alike)):
            places[versions, commit] = len(places) + number
    return places


def _segments(places: dict[tuple[str, str], int]) -> list[tuple[int, str]]:
    """Return where each segment begins, and what it was measured with; nothing where there is one."""
    first: dict[str, int] = {}
    for (versions, _), x in places.items():
        first[versions] = min(x, first.get(versions, x))
    return [(x, versions) for versions, x in first.items()] if len(first) > 1 else []
