"""Charts of a bench: time over that of a copy, as bars."""

import math

from ...measure.labels import ACCELERATED, AGAIN, AUTO, backend_of, is_copy
from ...presentation import text
from ...presentation.charts import GREY, INK, Chart, colour, figure
from ...records import kinds
from ...spec import NORMS
from ..row import ALL, Mean
from ..summary import TRAFFIC, Bench, copy_of

SECTION = "against"


def charts(bench: Bench, own: str = "") -> list[Chart]:
    """Return time over that of a copy, one chart a mode: bars over the large cases, a line where the copy is.

    Args:
        bench: the comparison.
        own: tells its charts from those of another comparison on the same page.
    """
    found = []
    for what in (bench, bench.host):
        if what is None:
            continue
        time = bench.time if what is bench else "host time"
        means = [m for m in what.means(copy_of) if m.size == "large" and not is_copy(m.implementation)]
        means = [m for m in means if m.norm != ALL]
        for mode, activation in dict.fromkeys((m.mode, m.activation) for m in means):
            here = [m for m in means if (m.mode, m.activation) == (mode, activation)]
            key = f"{'against' if what is bench else 'host'}{own}-{mode}-{activation}"
            intervals = "95 % intervals over processes" if bench.has_intervals else "no intervals, of one process"
            found.append(_bars(key, mode, activation, here, time, intervals))
    return found


def _bars(key: str, mode: str, activation: str, means: list[Mean], time: str, intervals: str) -> Chart:
    name = _MODES[mode] + ("" if activation == "none" else f" with {activation}")
    of_time = "geometric mean" if time == "time" else f"geometric mean of the {time}"
    implementations = [c for c in dict.fromkeys(m.implementation for m in means) if c != AGAIN]
    norms = [n for n in NORMS if any(m.norm == n for m in means)]
    least = TRAFFIC[mode] / 2 if time != "host time" else 1
    # An interval of few processes can reach anywhere: the bars set the scale, and what reaches beyond it is cut.
    limit = 1.5 * max([1.0, least, *(m.ratio.value for m in means if not math.isnan(m.ratio.value))])
    shown = [m for m in means if m.implementation != AGAIN and not math.isnan(m.ratio.value)]
    bars = [(m.norm, m.implementation, m.ratio.value, m.ratio.low, m.ratio.high) for m in shown]
    said = "; ".join(f"{m.norm} {m.implementation} {text.interval(m.ratio)}" for m in shown)
    dotted = "" if least == 1 else f", the dotted line the least traffic of a {_OF[mode]}, {least:g} copies"
    return Chart(
        _draw_bars,
        (key, bars, norms, implementations, least, limit, time),
        f"{name}, large cases: {time} over that of a copy. {said}",
        f"{name}: {of_time} over the large cases, with {intervals}; ours in colour. The line is the copy{dotted}.",
        kinds.BENCH.command,
    )


def _draw_bars(
    name: str, bars: list, norms: list[str], implementations: list[str], least: float, limit: float, time: str
) -> str:
    """Draw a bar for each norm and implementation, up to a limit, with the interval of its ratio.

    A dotted line shows the ratio of the least possible memory traffic.
    """
    height = 1 / (len(implementations) + 1)
    mine = AUTO if AUTO in implementations else ACCELERATED
    with figure(name, 4.3, 0.9 + 0.17 * len(norms) * (len(implementations) + 1)) as (finish, (axis,)):
        for norm, implementation, ratio, low, high in bars:
            y = norms.index(norm) + (implementations.index(implementation) - (len(implementations) - 1) / 2) * height
            ours = backend_of(implementation) == mine
            tint, alpha = (colour(norm), 0.9) if ours else (GREY, 0.35)
            axis.barh(y, ratio, height * 0.85, color=tint, alpha=alpha)
            end = ratio
            if not math.isnan(low):
                axis.plot([low, high], [y, y], color=INK, linewidth=1.2)
                end = min(limit, max(end, high))
            axis.annotate(implementation, (end, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
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
