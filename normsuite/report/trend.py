"""Series over commits as full charts: a line for each norm, levels as bands, steps with their size."""

import math
import re
from collections.abc import Sequence

from ..errors import ArgumentError
from ..history import Trend
from ..history.steps import IMPROVEMENT, REGRESSION
from ..history.summary import change
from ..spec import NO_NORM, NORMS
from . import tables
from .charts import INK, Chart, colour, figure, label_ends
from .collect import ASV_COMMAND

_MOST_CHARTS = 24
_SHORT = 250
"""Commits; over more, intervals and markers would be a blot."""

_NAMES = {tables.TRAINING_STEP: "training step", tables.ERROR_RATE: "MNIST test error after one short epoch"}
_UNITS = {"seconds": tables.TIME_UNITS, "bytes": tables.BYTE_UNITS}


def charts(trends: Sequence[Trend], series: str | None = None) -> list[Chart]:
    """Latency of the training step in the largest case, and the error rate; or what is asked for.

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
        of_benchmark = {_benchmark(of): of for of in groups}  # the last that asv lists, which is the largest case
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
    """Those that differ in their norm and their versions alone."""
    found: dict[tuple, list[Trend]] = {}
    for trend in trends:
        measured = trend.segment.measurements[0]
        others = tuple(value for name, value in measured.parameters.items() if name != "norm")
        found.setdefault((measured.benchmark, *others), []).append(trend)
    return list(found.values())


def _benchmark(group: list[Trend]) -> str:
    return group[0].segment.benchmark


def _line(trend: Trend) -> str:
    """What its line is called: its norm, where it has one."""
    return trend.segment.measurements[0].parameters.get("norm", trend.segment.series)


def _scale(group: list[Trend]) -> tuple[str, float]:
    """A unit, and what a value is divided by to be in it."""
    unit = group[0].segment.unit
    if _benchmark(group) == tables.ERROR_RATE:
        return "%", 0.01
    if unit not in _UNITS:
        return unit, 1.0
    largest = max(max(trend.segment.values) for trend in group)
    units = list(_UNITS[unit].items())
    return next(((name, size) for name, size in units if largest >= size), units[-1])


def _chart(group: list[Trend]) -> Chart:
    order = [NO_NORM, *NORMS]
    drawn = sorted(group, key=lambda t: order.index(_line(t)) if _line(t) in order else len(order))
    parameters = drawn[0].segment.measurements[0].parameters
    others = [value for name, value in parameters.items() if name != "norm"]
    name = ", ".join([_NAMES.get(_benchmark(group), _benchmark(group)), *others])
    unit, scale = _scale(group)
    places = _places(drawn)
    short = len(places) <= _SHORT
    said = []
    with figure("trend-" + re.sub(r"[^A-Za-z0-9]+", "-", name), 4.3, 3.1) as (finish, (axis,)):
        ends = []
        for of in drawn:
            tint = colour(_line(of))
            x = [places[of.segment.versions, commit] for commit in of.segment.commits]
            y = [value / scale for value in of.segment.values]
            axis.plot(x, y, color=tint, marker="o" if short else "", markersize=3, linewidth=1.8 if short else 0.8)
            if short:
                bars = [(place, *_interval(m)) for place, m in zip(x, of.segment.measurements, strict=True)]
                bars = [bar for bar in bars if all(map(math.isfinite, bar))]
                at, low, high = ([bar[i] for bar in bars] for i in range(3))
                axis.vlines(at, [v / scale for v in low], [v / scale for v in high], color=tint, alpha=0.4, linewidth=4)
            _draw_steps(axis, of, x, scale, tint)
            if of.segment.newest:
                ends.append((_line(of), x[-1], y[-1]))
            said.append(
                f"{_line(of)} from {y[0]:.3g} to {y[-1]:.3g} {unit} with {of.segment.versions}{_steps_said(of)}"
            )
        axis.set_xlim(-0.5, max(places.values()) + 0.5)
        axis.set_ylim(bottom=0)
        _label_segments(axis, places)
        shown = list(places.items())[:: math.ceil(len(places) / 3)]  # more hashes would run into each other
        axis.set_xticks([x for _, x in shown], [commit[:8] for (_, commit), _ in shown])
        axis.set_xlabel("commit, oldest first")
        axis.set_ylabel(unit)
        axis.grid(True, axis="y")
        axis.figure.canvas.draw()
        label_ends(axis, ends)
        svg = finish()
    commits = {commit for _, commit in places}
    title = f"{name[0].upper()}{name[1:]}"
    bars = (
        "Bars: 99 % interval of the median within one process for times, lowest to highest seed for error rates. "
        if short
        else "So many commits are drawn without the intervals of each. "
    )
    return Chart(
        svg,
        f"{title} over {len(commits)} commits: {'; '.join(said)}",
        f"{title}, per commit. {bars}Bands: a level between two steps with its 95 % interval; steps beyond the noise "
        "are marked with their size. Another torch starts anew. Times on a shared machine drift from commit to commit: "
        "this is a trend, not a verdict.",
        f"{ASV_COMMAND} A..B",
    )


def _interval(measured) -> tuple[float, float]:
    """Within one process, or of what it was asked for with several seeds."""
    if not measured.samples or measured.unit == "seconds":
        return measured.low, measured.high
    return min(measured.samples), max(measured.samples)


def _places(drawn: list[Trend]) -> dict[tuple[str, str], int]:
    """Where each commit stands, by versions and commit: segments beside each other, a place between them free."""
    last: dict[str, float] = {}
    for of in drawn:
        recorded = max(m.recorded for m in of.segment.measurements)
        last[of.segment.versions] = max(recorded, last.get(of.segment.versions, 0.0))
    places: dict[tuple[str, str], int] = {}
    for number, versions in enumerate(sorted(last, key=last.__getitem__)):
        alike = [m for of in drawn if of.segment.versions == versions for m in of.segment.measurements]
        for commit in dict.fromkeys(m.commit for m in sorted(alike, key=lambda m: (m.date, m.commit))):
            places[versions, commit] = len(places) + number
    return places


def _draw_steps(axis, of: Trend, x: list[int], scale: float, tint: str) -> None:
    """Bands of levels; steps beyond the noise with their size beside them."""
    for level in of.levels:
        value = level.value
        if math.isfinite(value.low) and math.isfinite(value.high):
            first, last = x[level.places[0]] - 0.3, x[level.places[-1]] + 0.3
            axis.fill_between([first, last], value.low / scale, value.high / scale, color=tint, alpha=0.2, linewidth=0)
    for step in of.steps:
        if step.verdict in (REGRESSION, IMPROVEMENT):
            ends = [step.before.value.value / scale, step.after.value.value / scale]
            place = (x[step.before.places[-1]] + x[step.after.places[0]]) / 2
            axis.plot([place, place], ends, color=tint, linestyle=":", linewidth=1.2)
            label = f"{(step.ratio.value - 1) * 100:+.2g} %"
            axis.annotate(
                label, (place, max(ends)), xytext=(0, 3), textcoords="offset points", ha="center", color=tint,
                fontsize=7,
            )  # fmt: skip


def _steps_said(of: Trend) -> str:
    steps = [step for step in of.steps if step.verdict in (REGRESSION, IMPROVEMENT)]
    return "".join(f", {step.verdict} of {change(step)} at {step.commit[:8]}" for step in steps)


def _label_segments(axis, places: dict[tuple[str, str], int]) -> None:
    """A line before each segment but the first, and what it was measured with."""
    first = {versions: min(x for (v, _), x in places.items() if v == versions) for versions, _ in places}
    if len(first) == 1:
        return
    for versions, x in first.items():
        if x:
            axis.axvline(x - 1, color=INK, linewidth=0.8, alpha=0.5)
        axis.annotate(
            versions, (x - 0.4, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            fontsize=7,
        )  # fmt: skip
