"""A bench in the terminal: its rows and its geometric means."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from rich.table import Table

from ..measure.metric import HOST_TIME, METRICS, OUTPUT_ERROR, PEAK_BYTES, SAVED_BYTES, TIME, Metric
from ..spec import NORMS
from .summary import (
    AGAIN,
    ALL,
    AUTO,
    BASELINE,
    COPY,
    FASTER,
    PREALLOCATED,
    SLOWER,
    Bench,
    Mean,
    Row,
    copy_of,
    interval_text,
    mode_text,
)

SHORT = 24
"""Up to so many tasks are shown with everybody who took part; more with `auto` only, and the rest in the means."""

TRITON = "triton"
"""Shown beside `auto` on an accelerator, where it may be what `auto` does not yet choose."""

_STYLES = {SLOWER: "red", FASTER: "green"}


def _error(*errors: float | None) -> str:
    return ", ".join(OUTPUT_ERROR.write(e) for e in errors if e is not None) or "–"


def tables(bench: Bench) -> list[Table]:
    """The rows, then the geometric means."""
    return [*_rows(bench), *_means(bench)]


_COLUMNS = (f"/ {BASELINE}", "/ copy", "least traffic", "peak, saved MiB", "error y, dx", "verdict")


def _columns(bench: Bench) -> tuple[str, ...]:
    further = [metric.name for metric in _further(bench)]
    return (bench.time, *(["host time"] if bench.host else []), *_COLUMNS, *further)


def _further(bench: Bench) -> list[Metric]:
    """Return the metrics that were counted beside bytes and errors."""
    keys = {key for row in bench.rows for key in row.counted}
    return [metric for metric in METRICS.values() if metric.key in keys]


def _rows(bench: Bench) -> Iterator[Table]:
    """A table a task with everybody, or one table of all tasks with `auto`."""
    title = f"95 % intervals; verdicts corrected for {len(bench.records)} tasks"
    title = f"{bench.where}; {title}" if bench.where else title
    columns, further = _columns(bench), _further(bench)
    if len(bench.records) > SHORT and AUTO in bench.contestants:
        table = Table("case", "norm", "mode", "by", *columns, title=title)
        for row in bench.rows:
            if row.contestant in (AUTO, AUTO + PREALLOCATED, TRITON):
                table.add_row(
                    row.case, row.norm, mode_text(row), row.contestant, *_cells(row, further), style=_style(row)
                )
        yield table
        return
    for (case, norm, mode), rows in groupby(bench.rows, lambda row: (row.case, row.norm, mode_text(row))):
        table = Table("by", *columns, title=f"{norm}, {case}, {mode} ({title})")
        for row in rows:
            table.add_row(row.contestant, *_cells(row, further), style=_style(row))
        yield table


def _style(row: Row) -> str:
    return _STYLES.get(row.verdict, "") if row.contestant.startswith(AUTO) else ""


def _cells(row: Row, further: Sequence[Metric]) -> tuple[str, ...]:
    baseline = row.contestant == BASELINE
    return (
        TIME.write(row.time_s.value) + ("" if row.not_captured is None else " (not captured)"),
        *([] if row.host_s is None else [HOST_TIME.write(row.host_s.value)]),
        "1" if baseline else interval_text(row.ratio),
        interval_text(row.copy_ratio),
        "–" if math.isnan(row.traffic_share) else f"{row.traffic_share:.0%}",
        f"{PEAK_BYTES.write(row.peak_bytes)}, {SAVED_BYTES.write(row.saved_bytes)}",
        _error(row.output_error, row.gradient_error),
        "" if baseline or row.contestant.startswith(COPY) else row.verdict,
        *(metric.write(row.counted.get(metric.key)) for metric in further),
    )


def _means(bench: Bench) -> list[Table]:
    against: list[tuple[str, str | Callable[[str], str], list[str]]] = [
        (BASELINE, BASELINE, [c for c in bench.contestants if c != BASELINE]),
        ("a copy", copy_of, [c for c in bench.contestants if not c.startswith(COPY) and c != AGAIN]),
    ]
    against += [(r, r, [AUTO]) for r in bench.rivals]
    found = []
    for title, rival, contestants in against:
        means = bench.means(rival, contestants)
        if means:
            found.append(_mean_table(f"Geometric mean of {bench.time} / {title} [95 % interval]", means))
    if bench.host and (means := bench.host.means(contestants=[c for c in bench.contestants if c != BASELINE])):
        found.append(_mean_table(f"Geometric mean of host time / {BASELINE} [95 % interval]", means))
    return found


def _mean_table(title: str, means: list[Mean]) -> Table:
    norms = [norm for norm in (ALL, *NORMS) if any(m.norm == norm for m in means)]
    table = Table("by", "mode", "cases", *norms, title=title)
    by_row: dict[tuple[str, str, str], dict[str, Mean]] = {}
    for mean in means:
        by_row.setdefault((mean.contestant, mode_text(mean), mean.size), {})[mean.norm] = mean
    for (contestant, mode, size), of_norm in by_row.items():
        cells = [interval_text(of_norm[n].ratio) if n in of_norm else "–" for n in norms]
        table.add_row(contestant, mode, f"{of_norm[ALL].tasks} {size}", *cells)
    return table
