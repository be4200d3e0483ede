"""Charts of errors against float64: one for each backend, by the mean of the input."""

import math

from ..presentation import text
from ..presentation.charts import Chart, colour, figure, label_ends, marker, power_of_ten
from ..records import kinds, schema
from ..records.schema.numerics import Numerics
from .tables import error, in_order


def charts(record: dict, own: str = "") -> list[Chart]:
    """Return charts of the output's error against the mean of the input, one for each backend, on equal axes.

    Args:
        record: of errors.
        own: tells its charts from those of another record on the same page.
    """
    checked = schema.of(record, Numerics)
    rows = checked.samples
    finite = [e for row in rows if 0 < (e := error(row.output)) < math.inf]
    if not finite:
        return []
    limits = min(finite) / 2, max(finite) * 2
    return [_chart(checked, backend, limits, own) for backend in dict.fromkeys(row.backend for row in rows)]


def _chart(checked: Numerics, backend: str, limits: tuple[float, float], own: str) -> Chart:
    rows = [row for row in checked.samples if row.backend == backend]
    means = sorted({float(row.mean) for row in checked.samples})
    dtype, device = checked.case.dtype, checked.case.device
    after = f" after {checked.case.activation}" if checked.case.activation else ""
    lines, said = [], []
    for norm in in_order(row.norm for row in rows):
        found = {float(row.mean): error(row.output) for row in rows if row.norm == norm}
        found = {mean: value for mean, value in sorted(found.items()) if math.isfinite(value)}
        if found:
            lines.append((norm, [means.index(mean) for mean in found], list(found.values())))
            said.append(f"{norm} " + ", ".join(f"{text.relative(value)} at {mean:g}" for mean, value in found.items()))
    return Chart(
        _draw,
        (f"numerics{own}-{device}-{dtype}-{backend}", backend, lines, means, limits),
        f"Largest relative error of the output{after}, {backend}, {dtype} on {device}, by mean of the input: "
        + "; ".join(said),
        f"{backend}: largest error of the output{after} against float64, relative to the root mean square, {dtype} on "
        f"{device}. Computed on fixed inputs: no interval. Errors that are not finite are in the table only.",
        kinds.NUMERICS.command,
    )


def _draw(name: str, title: str, lines: list, means: list[float], limits: tuple[float, float]) -> str:
    """Draw a line for each norm, with places among the means and the error there."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    with figure(name, 4.3, 3.1) as (finish, (axis,)):
        for norm, places, errors in lines:
            axis.plot(places, errors, color=colour(norm), marker=marker(norm), markersize=4)
        axis.set_yscale("log")
        axis.set_ylim(*limits)
        axis.yaxis.set_major_locator(LogLocator(numticks=6))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(range(len(means)), [f"{mean:g}" for mean in means])
        axis.set_xlabel("mean of the input, in its deviations")
        axis.set_ylabel("relative error (logarithmic)")
        axis.set_title(title)
        axis.grid(True)
        axis.figure.draw_without_rendering()
        label_ends(axis, [(norm, places[-1], errors[-1]) for norm, places, errors in lines])
        return finish()
