"""A chart of test accuracy by batch size, a line for each norm."""

import math

from ...presentation import text
from ...presentation.charts import Chart, colour, figure, label_ends, marker
from ..summary import BATCH_COMMAND, Study, by_batch_size, by_size

SECTION = "small-batches"


def charts(study: Study) -> list[Chart]:
    """Return test accuracy by batch size, a line for each norm."""
    means = by_batch_size(study.records)
    sizes = sorted({size for of_norm in means.values() for size in of_norm})
    said = "; ".join(
        f"{norm} " + ", ".join(f"{size}: {text.interval(of[size], text.percent)}" for size in of)
        for norm, of in means.items()
    )
    lines = [(norm, list(of), [(m.value, m.low, m.high) for m in of.values()]) for norm, of in means.items()]
    alternative = f"Test accuracy by batch size. {said}"
    caption = f"{by_size(study.records)}, bars the intervals."
    return [Chart(_draw_sizes, (sizes, lines), alternative, caption, BATCH_COMMAND)]


def _draw_sizes(sizes: list[int], lines: list) -> str:
    """Draw a line for each norm, with sizes and the mean accuracy there in its interval."""
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
