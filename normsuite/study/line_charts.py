"""Charts of a study with a line for each norm, the mean over the seeds, in a band from lowest to highest."""

from collections.abc import Callable
from statistics import fmean

import numpy as np

from ..presentation.charts import Chart, colour, figure, label_ends, marker
from ..records import kinds
from .summary import Study

STRETCHED = " The axis is stretched towards 100 %: equal steps are equal ratios of the errors left."
_LEAST_ERROR = 0.02
"""Errors in per cent below which accuracies are drawn alike."""


def _stretch(axis) -> None:
    """Stretch an axis so that 99 % and 99.3 % lie as far apart as 90 % and 93 %."""
    low = max(0.0, min(np.nanmin(line.get_ydata()) for line in axis.lines))
    low = 100 - 2 * (100 - low)  # a band may go further down than fits
    high = min(100 - _LEAST_ERROR, max(np.nanmax(line.get_ydata()) for line in axis.lines))
    axis.set_yscale(
        "function",
        functions=(lambda y: -np.log(np.maximum(100 - y, _LEAST_ERROR / 2)), lambda z: 100 - np.exp(-z)),
    )
    axis.set_ylim(max(low, 0.0), 100 - (100 - high) * 0.8)
    bottom, top = axis.get_ylim()
    shown = [tick for tick in (10, 50, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95) if bottom <= tick <= top]
    axis.set_yticks(shown, [f"{tick:g}" for tick in shown])


def lines_of(
    study: Study,
    name: str,
    lines: Callable[[str], tuple[list[float], list[list[float]]]],
    *,
    along: str,
    up: str,
    caption: str,
    said: str,
    unit: str,
    logarithmic: bool,
    whole: bool = True,
) -> Chart:
    """Return a line for each norm, from places along the axis and the values of each seed there."""
    drawn, words = [], []
    for norm in study.norms:
        places, rows = lines(norm)
        if not places:
            continue
        mean = [fmean(values) for values in zip(*rows, strict=True)]
        low, high = ([pick(values) for values in zip(*rows, strict=True)] for pick in (min, max))
        drawn.append((norm, places, mean, low, high))
        words.append(f"{norm} {mean[-1]:.4g} {unit} ({low[-1]:.4g} to {high[-1]:.4g})".replace("  ", " "))
    scale = "log" if logarithmic else "stretched" if unit == "%" else "linear"
    alternative = f"{said}, mean and range over {len(study.seeds)} seeds: " + "; ".join(words)
    return Chart(_draw_lines, (name, drawn, along, up, scale, whole), alternative, caption, kinds.STUDY.command)


def _draw_lines(name: str, lines: list, along: str, up: str, scale: str, whole: bool) -> str:
    """Draw a line for each norm in its band; `whole`: the places are whole numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    with figure(name, 4.3, 3.1) as (finish, (axis,)):
        for norm, places, mean, low, high in lines:
            axis.fill_between(places, low, high, color=colour(norm), alpha=0.18, linewidth=0)
            axis.plot(places, mean, color=colour(norm), marker=marker(norm), markersize=4)
        if scale == "log":
            axis.set_yscale("log")
            bottom, top = axis.get_ylim()
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top < 1000 * bottom else (1,)))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        elif scale == "stretched":
            _stretch(axis)
        if whole:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel(along)
        axis.set_ylabel(up)
        axis.grid(True)
        axis.figure.draw_without_rendering()
        label_ends(axis, [(norm, places[-1], mean[-1]) for norm, places, mean, *_ in lines])
        return finish()
