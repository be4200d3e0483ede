"""Charts as data, and the style that all share: matplotlib figures as SVG text, each with a sentence in its place.

matplotlib is imported where something is drawn: most of a report's drawings are cached, or made by helpers.
"""

import hashlib
import importlib
import io
import math
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ..machine.helpers import Helpers, Part
from ..spec import NORMS
from . import drawing_cache

# Okabe and Ito's colours, which colour-blind readers tell apart; norms take them in order, "none" is grey.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8a8a8a"
_COLOURED_WORDS = re.compile(f'(<text style="[^"]*fill: )({"|".join((*_PALETTE, GREY))})', re.IGNORECASE)
_PLACES = re.compile(r'(?<= )(?:d|x|y|width|height|points)="[^"]*"')
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")
_POLYLINES = re.compile(r' d="[MLz\d. -]+"')
_WRAPPED = re.compile(r"<g>((?:<(?:path|use|image) [^>]*/>|<text [^>]*>[^<]*</text>)?)</g>")
_STYLED = re.compile(r' style="([^"]*)"')
INK = "#010203"
"""Stands for the page's text colour, which it becomes in the SVG: a chart follows light and dark as text does."""

MARKERS = ("o", "s", "^", "D", "v")

_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,  # the page's font may be wider than the one the layout was made with
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # what the layout is made with, and one as wide; no longer list
    "font.size": 10.5,  # the least that can be read where a screen is 390 pixels wide
    "grid.alpha": 0.15,
    "grid.color": INK,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # names may have a $
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass
class Chart:
    """A drawing, what it shows in words, its caption, and the command that measured it.

    Attributes:
        draw: makes SVG of its arguments, which have all of the records that it needs; called when it has to be.
        data: these arguments, JSON values.
        alternative: what the drawing shows, as text for screen readers.
        caption: what stands below it.
        command: what recorded it.
    """

    draw: Callable[..., str]
    data: tuple
    alternative: str
    caption: str
    command: str
    _begun: Part | None = field(default=None, init=False, repr=False, compare=False)

    def begin(self, helpers: Helpers) -> None:
        """Begin to draw the chart in a helper process, unless it is cached."""
        if self._begun is None and not drawing_cache.is_cached(self.draw, *self.data):
            self._begun = helpers.give(drawing_cache.drawn, self.draw, *self.data)

    @property
    def svg(self) -> str:
        """Return the drawing, from the cache or made now."""
        return drawing_cache.drawn(self.draw, *self.data) if self._begun is None else self._begun.result()


def found(package: ModuleType, section: str, *data: object) -> list[Chart]:
    """Return the charts of a section, from every module of a feature's package of charts, by their names.

    Args:
        package: whose modules have SECTION and `charts`.
        section: the key of the part of a page on which they stand.
        data: given to `charts`.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return [chart for module in modules if section == module.SECTION for chart in module.charts(*data)]


def colour(norm: str) -> str:
    """Return the norm's colour, the same in every chart; grey for "none" and for what is no norm here."""
    return _PALETTE[list(NORMS).index(norm) % len(_PALETTE)] if norm in NORMS else GREY


def marker(norm: str) -> str:
    """Return the norm's marker on lines, for readers who see no colours."""
    return MARKERS[list(NORMS).index(norm) % len(MARKERS)] if norm in NORMS else "x"


@contextmanager
def figure(name: str, width: float, height: float, rows: int = 1) -> Iterator[tuple]:
    """Yield axes one above the other, and `finish`, which turns their figure into text.

    `name` makes the SVG's identifiers the chart's own, since many charts share a page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # Whatever style the user's own matplotlib has.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    settings: Any = {**defaults, **_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        drawn = Figure(figsize=(width, height))  # without pyplot, which keeps figures and takes time to load
        axes = drawn.subplots(rows, 1, squeeze=False)

        def finish() -> str:
            buffer = io.StringIO()
            drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            svg = buffer.getvalue()
            svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
            svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
            # Groups are numbered alike in every chart, and nothing refers to them.
            svg = re.sub(r'<g id="[^"]*"', "<g", svg)
            # Words need more contrast than lines: their colour is drawn towards that of the page's text. Those that
            # stand on a colour of the chart's keep their own.
            svg = _COLOURED_WORDS.sub(r"\1color-mix(in srgb, \2 55%, currentColor)", svg)
            # The page sets the size; the alternative text stands on the figure around it.
            svg = re.sub(r'<svg ([^>]*?)(width="[^"]*" height="[^"]*"|height="[^"]*" width="[^"]*")', r"<svg \1", svg)
            svg = _PLACES.sub(lambda found: _DECIMALS.sub(_rounded, " ".join(found[0].split())), svg)
            # Points behind the first of a path are lines without saying so (SVG 2, 9.3.3).
            svg = _POLYLINES.sub(lambda found: found[0].replace(" L ", " "), svg)
            svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
            return _with_classes(_unwrapped(re.sub(r">\s+<", "><", svg)))

        yield finish, axes[:, 0]


def _unwrapped(svg: str) -> str:
    """Return an SVG without the groups that hold one element, or nothing, and say nothing of it."""
    while svg != (less := _WRAPPED.sub(r"\1", svg)):
        svg = less
    return svg


def _with_classes(svg: str) -> str:
    """Return an SVG whose repeated styles stand in a style sheet, under classes named by what they say.

    A page is a fifth smaller. The sheet counts for the whole page, where a class of one name says the same everywhere.
    """
    repeated = [style for style, times in Counter(_STYLED.findall(svg)).items() if times > 2]
    names = {style: "s" + hashlib.sha256(style.encode()).hexdigest()[:6] for style in repeated}
    svg = _STYLED.sub(lambda found: f' class="{names[found[1]]}"' if found[1] in names else found[0], svg)
    sheet = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace(">", f"><style>{sheet}</style>", 1) if sheet else svg


def _rounded(number: re.Match) -> str:
    """Return a coordinate rounded to tenths of a point, which is finer than visible."""
    return f"{round(float(number[0]), 1) + 0.0:g}"  # + 0.0: no "-0"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float) -> str:
    """Return 0.001 as 10⁻³: matplotlib's own labels of logarithmic axes are markup, which is shown as it is here."""
    exponent = round(math.log10(value))
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


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
