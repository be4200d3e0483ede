"""The report's charts: matplotlib figures as SVG text, in one style, each with a sentence that says what it shows."""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .. import explain
from ..bench.summary import AGAIN, ALL, AUTO, COPY, TRAFFIC, Bench, Mean, copy_of, interval_text
from ..history import Measurement
from ..spec import NO_NORM, NORMS, NormSpec
from . import tables
from .collect import ASV_COMMAND, BENCH_COMMAND

# Okabe and Ito's colours, which colour-blind readers tell apart; norms take them in order, "none" is grey.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8a8a8a"
_COLOURED_WORDS = re.compile(f'(<text style="[^"]*fill: )({"|".join((*_PALETTE, GREY))})', re.IGNORECASE)
INK = "#010203"
"""Stands for the page's text colour, which it becomes in the SVG: a chart follows light and dark as text does."""

_MARKERS = ("o", "s", "^", "D", "v")

_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10.5,  # the least that can be read where a screen is 390 pixels wide
    "grid.alpha": 0.15,
    "grid.color": INK,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Chart:
    """A drawing as SVG, what it shows in words, its caption, and the command that measured it."""

    svg: str
    alternative: str
    caption: str
    command: str


def colour(norm: str) -> str:
    """The norm's colour, the same in every chart."""
    return GREY if norm == NO_NORM else _PALETTE[list(NORMS).index(norm) % len(_PALETTE)]


def marker(norm: str) -> str:
    """The norm's marker on lines, for those who see no colours."""
    return "x" if norm == NO_NORM else _MARKERS[list(NORMS).index(norm) % len(_MARKERS)]


@contextmanager
def figure(name: str, width: float, height: float, rows: int = 1) -> Iterator[tuple]:
    """A figure with axes one above the other; `finish` turns it into text.

    `name` makes the SVG's identifiers the chart's own, since many charts share a page.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        drawn, axes = plt.subplots(rows, 1, figsize=(width, height), squeeze=False)

        def finish() -> str:
            buffer = io.StringIO()
            drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            svg = buffer.getvalue()
            svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
            svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
            # Groups are numbered alike in every chart, and nothing refers to them.
            svg = re.sub(r'<g id="[^"]*"', "<g", svg)
            # Words need more contrast than lines: their colour is drawn towards that of the page's text.
            svg = re.sub(
                r'(<text style="[^"]*fill: )(#[0-9a-f]{6})', r"\1color-mix(in srgb, \2 55%, currentColor)", svg
            )
            # The page sets the size; the alternative text stands on the figure around it.
            return re.sub(r'<svg ([^>]*?)(width="[^"]*" height="[^"]*"|height="[^"]*" width="[^"]*")', r"<svg \1", svg)

        try:
            yield finish, axes[:, 0]
        finally:
            plt.close(drawn)


def label_ends(axis, ends: list[tuple[str, float, float]]) -> None:
    """Write each line's name at its end, pushed apart where they would overlap."""
    height = axis.get_position().height * axis.figure.get_figheight() * 72 or 1.0
    least = 12 / height  # one line of text, as a share of the axis
    places = sorted((axis.transAxes.inverted().transform(axis.transData.transform((x, y)))[1], n) for n, x, y in ends)
    at: list[float] = []
    for place, _ in places:
        at.append(max(place, at[-1] + least) if at else place)
    highest = 1.0
    for place in reversed(range(len(at))):
        at[place] = min(at[place], highest)
        highest = at[place] - least
    for (_, name), y in zip(places, at, strict=True):
        axis.annotate(
            name, (1.0, y), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            va="center", color=colour(name), fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _tints(groups: int):
    """A colour for each group, the same in the cube and in the tiles."""
    return matplotlib.colormaps["tab20" if groups > 10 else "tab10"]


_SLANT = 0.55, 0.42
"""How far to the right and up each image behind the first is drawn."""


def cube(spec: NormSpec) -> Chart:
    """The worked example's tensor as images × channels × places, seen from the front, from above and from the right."""
    labels = explain.labels(spec)
    images, channels = labels.shape[:2]
    labels = labels.reshape(images, channels, -1)
    places = labels.shape[2]
    groups = int(labels.max()) + 1
    tint = _tints(groups)

    def at(c: float, p: float, n: float) -> tuple[float, float]:
        return c + _SLANT[0] * n, _SLANT[1] * n - p

    def face(label: int, corners: list[tuple[float, float, float]]) -> None:
        points = [at(*corner) for corner in corners]
        axis.add_patch(Polygon(points, facecolor=tint(label), alpha=0.55, edgecolor=INK, linewidth=0.8))
        middle = [sum(part) / len(points) for part in zip(*points, strict=True)]
        axis.text(*middle, explain.letter(label + 1), ha="center", va="center", fontsize=9)

    with figure(f"cube-{spec.name}", 4.3, 2.4) as (finish, (axis,)):
        for c in range(channels):
            for p in range(places):
                face(labels[0, c, p], [(c, p, 0), (c + 1, p, 0), (c + 1, p + 1, 0), (c, p + 1, 0)])
            for n in range(images):
                face(labels[n, c, 0], [(c, 0, n), (c + 1, 0, n), (c + 1, 0, n + 1), (c, 0, n + 1)])
        for n in range(images):
            for p in range(places):
                right = channels
                face(labels[n, -1, p], [(right, p, n), (right, p, n + 1), (right, p + 1, n + 1), (right, p + 1, n)])
        axis.text(*at(channels / 2, places + 0.15, 0), f"C: {channels} channels", ha="center", va="top")
        axis.text(*at(-0.15, places / 2, 0), f"H × W: {places} places", ha="right", va="center")
        axis.text(*at(-0.15, 0, images / 2), f"N: {images} images", ha="right", va="bottom")
        axis.set_xlim(-2.9, channels + _SLANT[0] * images + 0.1)
        axis.set_ylim(-places - 0.6, _SLANT[1] * images + 0.1)
        axis.set_aspect("equal")
        axis.axis("off")
        svg = finish()
    extents = "; ".join(_extent(explain.letter(g + 1), labels == g) for g in range(groups))
    return Chart(
        svg,
        f"The tensor as a block of {images} images by {channels} channels by {places} places. {spec.name} averages "
        f"over {', '.join(sorted(spec.axes))}: {groups} groups, each with a colour and a letter. {extents}",
        f"{spec.name}: the tensor (N, C, H × W), cut into what shares {spec.shared}.",
        f"{tables.EXPLAIN_COMMAND} {spec.name}",
    )


def _extent(letter: str, inside) -> str:
    """Which images, channels and places a group has a part of; an axis that it has all of is left out."""
    spans = []
    for name, size, index in zip(("image", "channel", "place"), inside.shape, inside.nonzero(), strict=True):
        of = sorted({int(i) + 1 for i in index})
        if len(of) < size:
            spans.append(f"{name} {of[0]}" if len(of) == 1 else f"{name}s {of[0]} to {of[-1]}")
    return f"{letter}: {', '.join(spans) or 'everything'}"


def shared_means(spec: NormSpec) -> Chart:
    """The worked example, one tile a number, one colour for each group that shares a mean."""
    x, labels = explain.values(), explain.labels(spec)
    images, channels, height, width = x.shape
    groups = int(labels.max()) + 1
    tint = _tints(groups)
    with figure(f"shared-{spec.name}", 4.3, 2.2) as (finish, (axis,)):
        for n in range(images):
            for c in range(channels):
                for i, (value, group) in enumerate(zip(x[n, c].flat, labels[n, c].flat, strict=True)):
                    left, bottom = c * (height * width + 0.35) + i, -n * 1.25
                    axis.add_patch(Rectangle((left, bottom), 1, 1, facecolor=tint(group), alpha=0.55, edgecolor=INK))
                    axis.text(left + 0.5, bottom + 0.5, f"{value:g}", ha="center", va="center", fontsize=11)
                    letter = explain.letter(group + 1)
                    axis.text(left + 0.93, bottom + 0.88, letter, ha="right", va="top", fontsize=7.5)
            axis.text(-0.2, -n * 1.25 + 0.5, f"image {n + 1}", ha="right", va="center")
        for c in range(channels):
            axis.text(c * (height * width + 0.35) + 1, 1.15, f"channel {c + 1}", ha="center", va="bottom")
        axis.set_xlim(-1.9, channels * (height * width + 0.35))
        axis.set_ylim(-(images - 1) * 1.25 - 0.1, 1.7)
        axis.set_aspect("equal")
        axis.axis("off")
        svg = finish()
    each = x.size // groups
    return Chart(
        svg,
        f"{spec.name} on the worked example: {groups} groups of {each} numbers share {spec.shared}. "
        + "; ".join(f"{explain.letter(g + 1)}: {', '.join(f'{v:g}' for v in x[labels == g])}" for g in range(groups)),
        f"{spec.name}: numbers of one colour and letter share {spec.shared} "
        f"(averaged over {', '.join(sorted(spec.axes))}).",
        f"{tables.EXPLAIN_COMMAND} {spec.name}",
    )


_MARKER_NAMES = {"o": "disc", "s": "open square", "^": "open triangle", "D": "open diamond", "v": "open wedge"}


def _dots(
    name: str, found: list[Measurement], caption: str, what: str, units: dict[str, float], *, logarithmic: bool
) -> Chart:
    """Norms against one value, a panel a case, a marker a backend; intervals drawn where there are any.

    `units` are those to choose from for each panel, the largest first.
    """
    devices = list(dict.fromkeys(m.parameters["device"] for m in found))
    panels = list(dict.fromkeys((m.parameters["device"], m.parameters["case"]) for m in found))
    backends = list(dict.fromkeys(m.parameters["backend"] for m in found))
    norms = [n for n in NORMS if any(m.parameters["norm"] == n for m in found)]
    said = []
    with figure(name, 4.3, 0.2 + 1.4 * len(panels), rows=len(panels)) as (finish, axes):
        for axis, (device, case) in zip(axes, panels, strict=True):
            here = [m for m in found if (m.parameters["device"], m.parameters["case"]) == (device, case)]
            least = min(m.value for m in here)
            unit, scale = next(((u, s) for u, s in units.items() if least >= s), list(units.items())[-1])
            for m in here:
                norm, backend = m.parameters["norm"], m.parameters["backend"]
                y = norms.index(norm) + (backends.index(backend) - (len(backends) - 1) / 2) * 0.3
                if not math.isnan(m.low) and m.high > m.low:
                    bar = [m.low / scale, m.high / scale]
                    axis.plot(bar, [y, y], color=colour(norm), linewidth=3.5, alpha=0.45)
                marker, fill = _MARKERS[backends.index(backend)], "full" if backend == backends[0] else "none"
                axis.plot(m.value / scale, y, marker, color=colour(norm), markersize=6, fillstyle=fill)
                said.append(f"{case} {norm} {backend} {m.value / scale:.3g} {unit}")
            axis.set_title(f"{case}, {unit}" if len(devices) == 1 else f"{case} on {device}, {unit}")
            if logarithmic:
                axis.set_xscale("log")
                low, high = axis.get_xlim()
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
                axis.xaxis.set_minor_formatter(NullFormatter())
            else:
                axis.set_xlim(left=0)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_yticks(range(len(norms)), norms)
            axis.set_ylim(len(norms) - 0.5, -0.5)
            axis.grid(True, axis="x")
        svg = finish()
    shapes = ", ".join(f"{_MARKER_NAMES[m]}: {b}" for m, b in zip(_MARKERS, backends, strict=False))
    axis_kind = " Logarithmic axes." if logarithmic else ""
    return Chart(
        svg, f"{what}. {'; '.join(said)}", f"{caption} {shapes[0].upper()}{shapes[1:]}.{axis_kind}", ASV_COMMAND
    )


def latency(measurements: list[Measurement]) -> list[Chart]:
    """Time of a call, one chart for the forward pass and one for the training step."""
    return [
        _dots(
            f"latency-{name.replace(' ', '-')}",
            found,
            f"{name.capitalize()}: median time of a call, the bar its 99 % interval.",
            f"Median time of the {name}",
            tables.TIME_UNITS,
            logarithmic=True,
        )
        for benchmark, name in tables.LATENCY.items()
        if (found := tables.ran(measurements, benchmark))
    ]


def memory(measurements: list[Measurement]) -> Chart | None:
    """Peak bytes of a training step."""
    found = tables.ran(measurements, tables.MEMORY)
    return found and _dots(
        "memory",
        found,
        "Training step: most tensor bytes at once beside the operands, counted exactly.",
        "Peak memory of a training step",
        tables.BYTE_UNITS,
        logarithmic=False,
    )


def against(bench: Bench) -> list[Chart]:
    """Time over that of a copy, one chart a mode: bars over the large cases, a line where the copy is."""
    means = [
        m for m in bench.means(copy_of) if m.size == "large" and not m.contestant.startswith(COPY) and m.norm != ALL
    ]
    charts = []
    for mode, activation in dict.fromkeys((m.mode, m.activation) for m in means):
        charts.append(_bars(mode, activation, [m for m in means if (m.mode, m.activation) == (mode, activation)]))
    return charts


def _bars(mode: str, activation: str, means: list[Mean]) -> Chart:
    name = _MODES[mode] + ("" if activation == "none" else f" with {activation}")
    contestants = [c for c in dict.fromkeys(m.contestant for m in means) if c != AGAIN]
    norms = [n for n in NORMS if any(m.norm == n for m in means)]
    least = TRAFFIC[mode] / 2
    said = []
    with figure(f"against-{mode}-{activation}", 4.3, 0.9 + 0.17 * len(norms) * (len(contestants) + 1)) as (
        finish,
        (axis,),
    ):
        height = 1 / (len(contestants) + 1)
        for m in means:
            if m.contestant == AGAIN or math.isnan(m.ratio.value):
                continue
            place = contestants.index(m.contestant)
            y = norms.index(m.norm) + (place - (len(contestants) - 1) / 2) * height
            ours = m.contestant.startswith(AUTO)
            tint = colour(m.norm) if ours else GREY
            axis.barh(y, m.ratio.value, height * 0.85, color=tint, alpha=0.9 if ours else 0.35)
            end = m.ratio.value
            if not math.isnan(m.ratio.low):
                axis.plot([m.ratio.low, m.ratio.high], [y, y], color=INK, linewidth=1.2)
                end = max(end, m.ratio.high)
            axis.annotate(m.contestant, (end, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
            said.append(f"{m.norm} {m.contestant} {interval_text(m.ratio)}")
        # An interval of few processes can reach anywhere: the bars set the scale.
        axis.set_xlim(0, 1.5 * max([1.0, least, *(m.ratio.value for m in means if not math.isnan(m.ratio.value))]))
        axis.axvline(1, color=INK, linewidth=1)
        if least != 1:
            axis.axvline(least, color=INK, linewidth=1, linestyle=":")
        axis.set_yticks(range(len(norms)), norms)
        axis.set_ylim(len(norms) - 0.5, -0.5)
        axis.set_xlabel("time / time of a copy of the same tensor")
        axis.grid(True, axis="x")
        svg = finish()
    dotted = "" if least == 1 else f", the dotted line the least traffic of a step, {least:g} copies"
    return Chart(
        svg,
        f"{name}, large cases: time over that of a copy. {'; '.join(said)}",
        f"{name}: geometric mean over the large cases, with 95 % intervals over processes; ours in colour. The line is "
        f"the copy{dotted}.",
        BENCH_COMMAND,
    )


_MODES = {"forward": "Forward", "step": "Training step", "evaluation": "Evaluation"}
