"""Tables of a bench: a row for each task, and geometric means over tasks. Imports no torch."""

import math
from collections.abc import Sequence
from itertools import groupby

from ..measure.labels import (
    ACCELERATED,
    AGAIN,
    AUTO,
    BASELINE,
    BETTER_COMPILED,
    PREALLOCATED,
    backend_of,
    descriptions,
    is_copy,
)
from ..measure.metric import METRICS, Metric
from ..presentation import accelerator, text
from ..presentation.table import Column, Table
from ..records import kinds
from ..spec import NORMS
from .row import ALL, TONES, Mean, TaskRow, mode_text
from .summary import Bench, copy_of

AGAINST = "Against the alternatives"
SHORT = 24
"""Up to so many tasks a terminal shows with every implementation, a table a task. Of more it shows one table, of `auto`
or, where that was not measured, of what was; the rest is in the means."""


def titled(title: str, bench: Bench) -> str:
    """Return a title with the device, and the type of numbers where it is not float32."""
    return f"{title} ({bench.where})" if bench.where else title


def brief(bench: Bench) -> list[Table]:
    """Return what a terminal has room for: the cases, then the means."""
    note = _certainty(bench)
    if len(bench.tasks) > SHORT:
        usual = [row for row in bench.rows if row.implementation in (AUTO, AUTO + PREALLOCATED, ACCELERATED)]
        rows = usual or [row for row in bench.rows if _is_judged(row)]
        return [cases(bench, rows, titled(note, bench)), *means(bench)]
    alike = groupby(bench.rows, lambda row: (row.case, row.norm, mode_text(row)))
    shown = [
        cases(bench, list(rows), titled(f"{norm}, {case}, {mode}: {note}", bench)).without("case", "norm", "mode")
        for (case, norm, mode), rows in alike
    ]
    return [*shown, *means(bench)]


def _certainty(bench: Bench) -> str:
    """Return what intervals and verdicts of a bench's tasks hold for."""
    if not bench.has_intervals:
        return "one process, therefore no intervals and no verdicts"
    return f"95 % intervals; verdicts corrected for {text.counted(len(bench.tasks), 'task')}"


def every_case(bench: Bench) -> Table | None:
    """Return a table of every task by `auto`, or by all implementations where `auto` ran none; None without tasks."""
    rows = [row for row in bench.rows if backend_of(row.implementation) == AUTO] or bench.rows
    times = f"{bench.time} and host time" if bench.host else bench.time
    title = (
        f"{titled('Every task', bench)}: {times}, ratios, share of the least traffic at the speed of a copy, bytes, "
        f"error against float64; {_certainty(bench)}"
    )
    return cases(bench, rows, title) if rows else None


def cases(bench: Bench, rows: Sequence[TaskRow], title: str) -> Table:
    """Return a table of those rows."""
    further = _further(bench)
    columns: tuple[str | Column, ...] = (
        "case",
        "norm",
        "mode",
        "by",
        bench.time,
        *(["host time"] if bench.host else []),
        f"/ {BASELINE}",
        Column("verdict", tones=TONES),
        "/ copy",
        "least traffic",
        "peak",
        "saved",
        "error of y",
        "of dx",
        *(metric.name for metric in further),
    )
    return Table(title, columns, [_cells(row, further) for row in rows], kinds.BENCH.command)


def _further(bench: Bench) -> list[Metric]:
    """Return the metrics that were counted beside bytes and errors."""
    keys = {key for row in bench.rows for key in row.counted}
    return [metric for metric in METRICS.values() if metric.key in keys]


def _is_judged(row: TaskRow) -> bool:
    """Return whether the row is of something that is compared with torch.nn."""
    return row.implementation != BASELINE and not is_copy(row.implementation)


def _cells(row: TaskRow, further: Sequence[Metric]) -> tuple[str, ...]:
    return (
        row.case,
        row.norm,
        mode_text(row),
        row.implementation,
        text.seconds(row.time_s.value) + (", not captured" if row.not_captured else ""),
        *([] if row.host_s is None else [text.seconds(row.host_s.value)]),
        "1" if row.implementation == BASELINE else text.interval(row.ratio),
        ("" if not _is_judged(row) else text.ABSENT if math.isnan(row.ratio.value) else row.verdict),
        text.interval(row.copy_ratio),
        text.ABSENT if math.isnan(row.traffic_share) else f"{row.traffic_share:.0%}",
        *(text.value(size, "bytes") for size in (row.peak_bytes, row.saved_bytes)),
        *(text.value(error, "") for error in (row.output_error, row.gradient_error)),
        *(text.value(row.counted.get(metric.key), metric.unit) for metric in further),
    )


def means(bench: Bench) -> list[Table]:
    """Return geometric means against torch.nn, a copy and every rival; of host time too, where it was measured."""
    others = [name for name in bench.implementations if name != BASELINE]
    norms = [name for name in bench.implementations if not is_copy(name) and name != AGAIN]
    found = [
        (BASELINE, bench.means(BASELINE, others), bench.time),
        ("a copy", bench.means(copy_of, norms), bench.time),
        *((rival, bench.means(rival, [AUTO]), bench.time) for rival in bench.rivals),
    ]
    if bench.host:
        found.append((BASELINE, bench.host.means(implementations=others), "host time"))
    intervals = "95 % interval over processes" if bench.has_intervals else "one process, no interval"
    return [_means(rival, of_rival, time, intervals) for rival, of_rival, time in found if of_rival]


def rivals(bench: Bench) -> Table | None:
    """Return what each rival was given, with the number of tasks that it took part in; None without rivals."""
    said = {
        **descriptions(),
        BETTER_COMPILED: "The one of those above that took the least of torch.nn's time, task by task.",
    }
    rows = [(name, str(bench.tasks_of(name)), said[name]) for name in bench.rivals if name in said]
    return Table("What each was given", ("by", "tasks", "how"), rows, kinds.BENCH.command) if rows else None


def _means(rival: str, found: Sequence[Mean], time: str, intervals: str) -> Table:
    norms = [norm for norm in (ALL, *NORMS) if any(mean.norm == norm for mean in found)]
    by_row: dict[tuple[str, str, str], dict[str, Mean]] = {}
    for mean in found:
        by_row.setdefault((mean.implementation, mode_text(mean), mean.size), {})[mean.norm] = mean
    return Table(
        f"{time.capitalize()} / {time} of {rival}: geometric mean over the tasks [{intervals}]",
        ("by", "mode", "tasks", *("all norms" if norm == ALL else norm for norm in norms)),
        [
            (
                implementation,
                mode,
                f"{of_norm[ALL].tasks} {size}",
                *(text.interval(of_norm[norm].ratio) if norm in of_norm else text.ABSENT for norm in norms),
            )
            for (implementation, mode, size), of_norm in by_row.items()
        ],
        kinds.BENCH.command,
        note="Below 1 is faster. Tasks of tiny cases, where a call costs more than arithmetic, have rows of their own",
    )


def method(bench: Bench) -> Table:
    """Return machine, versions and settings of a bench."""
    first = bench.tasks[0]
    environment, settings, share = first.environment, first.settings, bench.others_share
    processes = [process for task in bench.tasks for process in task.samples.processes]
    clocks = sorted(process.clock_mhz for process in processes if process.clock_mhz is not None)
    states = [state for process in processes for state in process.device_state or () if state]
    rows = [
        ("processor", environment.cpu),
        ("cores", str(environment.cores)),
        ("threads", str(environment.threads or "unknown")),
        ("accelerator", environment.accelerator or "none"),
        ("driver", environment.driver or "none"),
        *([("accelerator's clock right after a task", f"{clocks[0]} to {clocks[-1]} MHz")] if clocks else []),
        *accelerator.rows(environment.device, states),
        *environment.packages.items(),
        ("allocator", ", ".join(f"{k}={v}" for k, v in environment.allocator.items()) or "as it is"),
        ("processes", str(settings.processes)),
        ("seconds a task and process", "unknown" if settings.seconds is None else str(settings.seconds)),
        ("taken by other programs", "unknown" if share is None else f"{share:.1%} of the usable cores"),
        ("commit", first.commit or "unknown"),
    ]
    return Table(titled(AGAINST, bench), ("what", "value"), rows, kinds.BENCH.command)
