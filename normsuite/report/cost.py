"""What a norm costs, as charts: asv's results of one commit, and the comparison with the alternatives."""

import math

from ..bench.summary import AGAIN, ALL, AUTO, COPY, TRAFFIC, Bench, Mean, copy_of, interval_text
from ..history import Measurement
from ..measure.labels import ACCELERATED
from ..spec import NORMS
from . import tables
from .charts import GREY, INK, MARKERS, Chart, colour, figure
from .collect import ASV_COMMAND, BENCH_COMMAND

_MARKER_NAMES = {"o": "disc", "s": "open square", "^": "open triangle", "D": "open diamond", "v": "open wedge"}


def _dots(
    name: str, found: list[Measurement], caption: str, what: str, units: dict[str, float], *, logarithmic: bool
) -> Chart:
    """Norms against one value, a panel a case, a marker a backend; intervals drawn where there are any.

    `units` are those to choose from for each panel, the largest first.
    """
    devices = list(dict.fromkeys(m.parameters["device"] for m in found))
    backends = list(dict.fromkeys(m.parameters["backend"] for m in found))
    panels, said = [], []
    for device, case in dict.fromkeys((m.parameters["device"], m.parameters["case"]) for m in found):
        here = [m for m in found if (m.parameters["device"], m.parameters["case"]) == (device, case)]
        least = min(m.value for m in here)
        unit, scale = next(((u, s) for u, s in units.items() if least >= s), list(units.items())[-1])
        dots = []
        for m in here:
            norm, backend = m.parameters["norm"], m.parameters["backend"]
            dots.append((norm, backend, *(value / scale for value in (m.value, m.low, m.high))))
            said.append(f"{case} {norm} {backend} {m.value / scale:.3g} {unit}")
        panels.append((f"{case}, {unit}" if len(devices) == 1 else f"{case} on {device}, {unit}", dots))
    shapes = ", ".join(f"{_MARKER_NAMES[m]}: {b}" for m, b in zip(MARKERS, backends, strict=False))
    axis_kind = " Logarithmic axes." if logarithmic else ""
    return Chart(
        _draw_dots,
        (name, panels, backends, logarithmic),
        f"{what}. {'; '.join(said)}",
        f"{caption} {shapes[0].upper()}{shapes[1:]}.{axis_kind}",
        ASV_COMMAND,
    )


def _draw_dots(name: str, panels: list, backends: list[str], logarithmic: bool) -> str:
    """A panel for each title, with norm, backend, value and its interval."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    norms = [norm for norm in NORMS if any(dot[0] == norm for _, dots in panels for dot in dots)]
    with figure(name, 4.3, 0.2 + 1.4 * len(panels), rows=len(panels)) as (finish, axes):
        for axis, (title, dots) in zip(axes, panels, strict=True):
            for norm, backend, value, low, high in dots:
                y = norms.index(norm) + (backends.index(backend) - (len(backends) - 1) / 2) * 0.3
                if not math.isnan(low) and high > low:
                    axis.plot([low, high], [y, y], color=colour(norm), linewidth=3.5, alpha=0.45)
                marker, fill = MARKERS[backends.index(backend)], "full" if backend == backends[0] else "none"
                axis.plot(value, y, marker, color=colour(norm), markersize=6, fillstyle=fill)
            axis.set_title(title)
            if logarithmic:
                axis.set_xscale("log")
                left, right = axis.get_xlim()
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right < 30 * left else (1,)))
                axis.xaxis.set_minor_formatter(NullFormatter())
            else:
                axis.set_xlim(left=0)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_yticks(range(len(norms)), norms)
            axis.set_ylim(len(norms) - 0.3, -0.7)  # whole markers at both ends
            axis.grid(True, axis="x")
        return finish()


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


def against(bench: Bench, own: str = "") -> list[Chart]:
    """Time over that of a copy, one chart a mode: bars over the large cases, a line where the copy is.

    `own` tells the charts of one comparison from those of another on the same page.
    """
    charts = []
    for what in (bench, bench.host):
        if what is None:
            continue
        time = bench.time if what is bench else "host time"
        means = [m for m in what.means(copy_of) if m.size == "large" and not m.contestant.startswith(COPY)]
        means = [m for m in means if m.norm != ALL]
        for mode, activation in dict.fromkeys((m.mode, m.activation) for m in means):
            here = [m for m in means if (m.mode, m.activation) == (mode, activation)]
            key = f"{'against' if what is bench else 'host'}{own}-{mode}-{activation}"
            charts.append(_bars(key, mode, activation, here, time))
    return charts


def _bars(key: str, mode: str, activation: str, means: list[Mean], time: str) -> Chart:
    name = _MODES[mode] + ("" if activation == "none" else f" with {activation}")
    of_time = "geometric mean" if time == "time" else f"geometric mean of the {time}"
    contestants = [c for c in dict.fromkeys(m.contestant for m in means) if c != AGAIN]
    norms = [n for n in NORMS if any(m.norm == n for m in means)]
    least = TRAFFIC[mode] / 2 if time != "host time" else 1
    # An interval of few processes can reach anywhere: the bars set the scale, and what reaches beyond it is cut.
    limit = 1.5 * max([1.0, least, *(m.ratio.value for m in means if not math.isnan(m.ratio.value))])
    shown = [m for m in means if m.contestant != AGAIN and not math.isnan(m.ratio.value)]
    bars = [(m.norm, m.contestant, m.ratio.value, m.ratio.low, m.ratio.high) for m in shown]
    said = "; ".join(f"{m.norm} {m.contestant} {interval_text(m.ratio)}" for m in shown)
    dotted = "" if least == 1 else f", the dotted line the least traffic of a {_OF[mode]}, {least:g} copies"
    return Chart(
        _draw_bars,
        (key, bars, norms, contestants, least, limit, time),
        f"{name}, large cases: {time} over that of a copy. {said}",
        f"{name}: {of_time} over the large cases, with 95 % intervals over processes; ours in colour. The line is "
        f"the copy{dotted}.",
        BENCH_COMMAND,
    )


def _draw_bars(
    name: str, bars: list, norms: list[str], contestants: list[str], least: float, limit: float, time: str
) -> str:
    """Bars of norm, contestant, ratio and its interval, up to a limit; a dotted line where the least traffic is."""
    height = 1 / (len(contestants) + 1)
    mine = AUTO if AUTO in contestants else ACCELERATED
    with figure(name, 4.3, 0.9 + 0.17 * len(norms) * (len(contestants) + 1)) as (finish, (axis,)):
        for norm, contestant, ratio, low, high in bars:
            y = norms.index(norm) + (contestants.index(contestant) - (len(contestants) - 1) / 2) * height
            ours = contestant.startswith(mine)
            tint, alpha = (colour(norm), 0.9) if ours else (GREY, 0.35)
            axis.barh(y, ratio, height * 0.85, color=tint, alpha=alpha)
            end = ratio
            if not math.isnan(low):
                axis.plot([low, high], [y, y], color=INK, linewidth=1.2)
                end = min(limit, max(end, high))
            axis.annotate(contestant, (end, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
        axis.set_xlim(0, limit)
        axis.axvline(1, color=INK, linewidth=1)
        if least != 1:
            axis.axvline(least, color=INK, linewidth=1, linestyle=":")
        axis.set_yticks(range(len(norms)), norms)
        axis.set_ylim(len(norms) - 0.5, -0.5)
        axis.set_xlabel(f"{time} over that of a copy")
        axis.grid(True, axis="x")
        return finish()


_MODES = {"forward": "Forward", "step": "Training step", "evaluation": "Evaluation", "backward": "Backward"}
_OF = {"step": "step", "backward": "backward pass"}
