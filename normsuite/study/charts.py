"""Charts of a study: curves, what moved inside the networks, and accuracy by batch size."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median

import numpy as np

from ..presentation import text
from ..presentation.charts import Chart, colour, figure, label_ends, marker
from ..spec import NO_NORM, NORMS
from ..statistics import Interval, share_interval
from .summary import BATCH_COMMAND, COMMAND, Study


def curves(study: Study) -> list[Chart]:
    """Return the document's four charts, and accuracy against time: a line for each norm, the mean over the seeds, in a
    band from lowest to highest."""
    found = [
        _epochs(study, "train_loss", "training loss", "nats", 1.0, True),
        _epochs(study, "test_loss", "test loss", "nats", 1.0, True),
        _epochs(study, "train_accuracy", "training accuracy", "%", 100.0, False),
        _epochs(study, "test_accuracy", "test accuracy", "%", 100.0, False),
    ]
    return [*found, _against_seconds(study)]


def _epochs(study: Study, key: str, name: str, unit: str, scale: float, logarithmic: bool) -> Chart:
    def lines(norm: str):
        rows = [[float(e[key]) * scale for e in run["samples"]["epochs"]] for run in study.runs(norm)]
        return list(range(1, len(rows[0]) + 1)), rows

    return _lines(
        study,
        f"learning-{key}",
        lines,
        along="epoch",
        up=f"{name} ({unit}{', logarithmic' if logarithmic else ''})",
        caption=f"{name.capitalize()}: mean over {len(study.seeds)} seeds, band from the lowest seed to the "
        f"highest.{'' if logarithmic else _STRETCHED}",
        said=f"{name.capitalize()} after the last epoch",
        unit=unit,
        logarithmic=logarithmic,
    )


_STRETCHED = " The axis is stretched towards 100 %: equal steps are equal ratios of the errors left."
_LEAST_ERROR = 0.02
"""Errors in per cent below which accuracies are drawn alike."""


def _stretch(axis) -> None:
    """An axis on which 99 % and 99.3 % lie as far apart as 90 % and 93 %."""
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


def _against_seconds(study: Study) -> Chart:
    def lines(norm: str):
        runs = [run["samples"]["epochs"] for run in study.runs(norm)]
        spent = np.cumsum([[epoch["seconds"] for epoch in epochs] for epochs in runs], axis=1).mean(axis=0)
        return list(spent), [[100 * epoch["test_accuracy"] for epoch in epochs] for epochs in runs]

    return _lines(
        study,
        "learning-seconds",
        lines,
        along="seconds of training on one thread",
        up="test accuracy (%)",
        caption="Test accuracy against time: a point for each epoch, mean over the seeds, band from the lowest seed to "
        "the highest. Runs shared the machine: the seconds are this machine's, and only roughly comparable."
        f"{_STRETCHED}",
        said="Test accuracy after the last epoch",
        unit="%",
        logarithmic=False,
        whole=False,
    )


def shift(study: Study) -> list[Chart]:
    """Covariate shift in both senses; none where the runs did not record it."""
    if not all(run["samples"].get("shift") for run in study.records):
        return []
    return [
        _watched(
            study,
            "shift",
            "covariate shift",
            "How far means and deviations of a layer's inputs have moved since half an epoch before, in deviations: "
            "median over the layers that still vary, mean over the seeds, band from the lowest seed to the highest.",
        ),
        _watched(
            study,
            "gradient_change",
            "gradient change",
            "How much a layer's gradient changes when the layers before it take one step, relative to its size "
            "(Santurkar et al. 2018): median over the layers that still have one, mean over the seeds, band from the "
            "lowest seed to the highest.",
        ),
    ]


def _watched(study: Study, key: str, name: str, caption: str) -> Chart:
    def value(layers: list[dict]) -> float | None:
        found = [layer[key] for layer in layers if isinstance(layer[key], float | int)]
        return median(found) if found else None

    def lines(norm: str):
        runs = [run["samples"]["shift"] for run in study.runs(norm)]
        places = [place for place in range(len(runs[0])) if all(value(run[place]["layers"]) for run in runs)]
        return [place / 2 for place in places], [[value(run[place]["layers"]) for place in places] for run in runs]

    return _lines(
        study,
        f"learning-{key}",
        lines,
        along="epochs done",
        up=f"{name} (logarithmic)",
        caption=caption,
        said=f"{name.capitalize()} at the end",
        unit="",
        logarithmic=True,
    )


def _lines(
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
    """A line for each norm, from places along the axis and the values of each seed there."""
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
    return Chart(_draw_lines, (name, drawn, along, up, scale, whole), alternative, caption, COMMAND)


def _draw_lines(name: str, lines: list, along: str, up: str, scale: str, whole: bool) -> str:
    """A line for each norm in its band; `whole`: the places are whole numbers."""
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


def by_batch_size(records: Sequence[dict]) -> dict[str, dict[int, Interval]]:
    """Return by norm and batch size the test accuracy after the last epoch, with its interval over the seeds."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        of_norm = found.setdefault(record["case"]["norm"], {})
        of_norm.setdefault(record["case"]["batch_size"], []).append(record["samples"]["epochs"][-1]["test_accuracy"])
    norms = [name for name in (NO_NORM, *NORMS) if name in found]
    return {norm: {size: share_interval(shares) for size, shares in sorted(found[norm].items())} for norm in norms}


def small_batches(records: Sequence[dict]) -> Chart:
    """Return test accuracy by batch size, a line for each norm.

    Args:
        records: of one study of several batch sizes.
    """
    means = by_batch_size(records)
    sizes = sorted({size for of_norm in means.values() for size in of_norm})
    said = "; ".join(
        f"{norm} " + ", ".join(f"{size}: {text.interval(of[size], text.percent)}" for size in of)
        for norm, of in means.items()
    )
    lines = [(norm, list(of), [(m.value, m.low, m.high) for m in of.values()]) for norm, of in means.items()]
    alternative = f"Test accuracy by batch size. {said}"
    return Chart(_draw_sizes, (sizes, lines), alternative, f"{by_size(records)}, bars the intervals.", BATCH_COMMAND)


def by_size(records: Sequence[dict]) -> str:
    """Return what a study of several batch sizes shows, as a caption."""
    case = records[0]["case"]
    seeds = len({record["case"]["seed"] for record in records})
    digits = f"{case['train_size']:,} digits" if case.get("train_size") else "all digits"
    return f"Test accuracy by batch size: {case['epochs']} epochs of {digits}, mean over {seeds} seeds [95 % interval]"


def _draw_sizes(sizes: list[int], lines: list) -> str:
    """A line for each norm, with sizes and the mean accuracy there in its interval."""
    from matplotlib.ticker import NullFormatter

    with figure("small-batches", 4.3, 3.1) as (finish, (axis,)):
        ends = []
        for place, (norm, at, means) in enumerate(lines):
            beside = [size * 1.03 ** (place - (len(lines) - 1) / 2) for size in at]  # so that intervals do not overlap
            line = [100 * mean for mean, _, _ in means]
            axis.plot(beside, line, color=colour(norm), marker=marker(norm), markersize=4)
            for x, (_, low, high) in zip(beside, means, strict=True):
                if not math.isnan(low):
                    axis.plot([x, x], [100 * low, 100 * high], color=colour(norm), alpha=0.45, linewidth=3)
            ends.append((norm, beside[-1], line[-1]))
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("digits in a batch (logarithmic)")
        axis.set_ylabel("test accuracy (%)")
        axis.grid(True)
        axis.figure.draw_without_rendering()
        label_ends(axis, ends)
        return finish()
