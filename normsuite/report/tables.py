"""The report's tables, as strings: every number with its unit and, where it was measured, its interval."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .. import claims, explain
from ..bench.summary import ALL, AUTO, BASELINE, COPY, Bench, Mean, copy_of, interval_text, mode_text
from ..history import Measurement
from ..measure.labels import ASV_LATENCY
from ..spec import NO_NORM, NORMS, NormSpec
from ..statistics import Interval, mean_interval
from ..study.summary import share_interval
from . import accelerator
from .collect import ASV_COMMAND, BENCH_COMMAND, STUDY_COMMAND, Collected

EXPLAIN_COMMAND = "normsuite explain"


@dataclass(frozen=True)
class Table:
    """A table ready for the template, and the command that made its numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    command: str


TIME_UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
BYTE_UNITS = {"MiB": 2.0**20, "KiB": 2.0**10, "B": 1.0}


def _in_units(value: float, units: dict[str, float]) -> str:
    """Three digits and the largest unit that leaves at least 1."""
    unit, scale = next(((u, s) for u, s in units.items() if abs(value) >= s), list(units.items())[-1])
    shown = value / scale
    return f"{shown:.0f} {unit}" if abs(shown) >= 999.5 else f"{shown:.3g} {unit}"


def seconds(value: float) -> str:
    """A duration in s, ms, µs or ns."""
    return _in_units(value, TIME_UNITS)


def data_size(value: float) -> str:
    """Bytes in MiB, KiB or B."""
    return _in_units(value, BYTE_UNITS)


def points(value: float) -> str:
    """A difference of two shares, in percentage points; what rounds to nothing has no minus."""
    return f"{round(value * 100, 2) + 0.0:+.2f} pp"


def percent(value: float) -> str:
    return f"{value:.2%}"


def relative(value: float) -> str:
    return f"{value:.1e}"


UNITS = {"seconds": seconds, "bytes": data_size, "relative error": relative}
"""How values are shown, by asv's unit."""


def with_interval(interval: Interval, show) -> str:
    """ "value [low, high]", or the value alone where there is no interval."""
    if math.isnan(interval.low):
        return show(interval.value)
    return f"{show(interval.value)} [{show(interval.low)}, {show(interval.high)}]"


def worked_example(spec: NormSpec) -> list[Table]:
    """One row for each group of numbers that share a mean; and the label and the parameter count."""
    x, labels = explain.values(), explain.labels(spec)
    by_group: dict[int | None, list[explain.Row]] = {}
    for row in explain.explain(spec):
        by_group.setdefault(row.index, []).append(row)
    rows = []
    for index, (*printable, derived) in ((i, of_group) for i, of_group in by_group.items() if i is not None):
        notes = [f"{r.statistic}: {r.note}" for r in printable if r.verdict == explain.WRONG]
        rows.append(
            (
                explain.letter(index),
                ", ".join(f"{v:g}" for v in x[labels == index - 1]),
                *(cell for r in printable for cell in (r.printed or "–", f"{r.computed:.6g}", r.verdict)),
                f"{derived.computed:.6g}",
                "; ".join(notes) or derived.note,
            )
        )
    command = f"{EXPLAIN_COMMAND} {spec.name}"
    judged = ("printed", "computed", "verdict")
    figures = Table(
        caption=f"{spec.name}: the document's figures, and what they are",
        columns=(
            "group",
            "numbers",
            *(f"{r.statistic}: {column}" for r in printable for column in judged),
            derived.statistic,
            "note",
        ),
        rows=rows,
        command=command,
    )
    names = {"label": "the std row's label", "parameters": "learnable parameters"}
    others = Table(
        caption=f"{spec.name}: what else the document prints",
        columns=("what", *judged, "note"),
        rows=[
            (names[row.statistic], row.printed or "–", str(row.computed), row.verdict, row.note)
            for row in by_group[None]
        ],
        command=command,
    )
    return [table for table in (figures, others) if table.rows]


def last_epoch(collected: Collected) -> Table:
    """Each norm after the last epoch: mean over the seeds and its 95 % interval."""
    epochs = collected.study[0]["case"]["epochs"]
    shows = {"loss": (mean_interval, lambda v: f"{v:.4f}"), "accuracy": (share_interval, percent)}
    rows = []
    for norm in collected.norms:
        runs = collected.runs(norm)
        cells = [norm, str(runs[0]["samples"]["norm_parameters"])]
        for metric in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            values = [float(run["samples"]["epochs"][-1][metric]) for run in runs]
            mean, show = shows[metric.partition("_")[2]]
            cells.append(with_interval(mean(values), show))
        spent = [sum(epoch["seconds"] for epoch in run["samples"]["epochs"]) / epochs for run in runs]
        cells.append(with_interval(mean_interval(spent), seconds))
        rows.append(tuple(cells))
    return Table(
        caption=f"After {epochs} epochs: mean over {len(collected.seeds)} seeds [95 % interval]. "
        f"The network has {collected.study[0]['samples']['network_parameters']:,} parameters beside the norm's own.",
        columns=(
            "norm",
            "its parameters",
            "training loss",
            "test loss",
            "training accuracy",
            "test accuracy",
            "training time per epoch",
        ),
        rows=rows,
        command=STUDY_COMMAND,
    )


def verdicts(judged: list[claims.Judged]) -> Table:
    """The document's claims in its own words, and the verdict on each."""
    return Table(
        caption="What the document claims of learning, and what this study finds",
        columns=("claim", "the document's words", "verdict"),
        rows=[(j.claim.key, f"“{j.claim.text}”", j.verdict) for j in judged],
        command=STUDY_COMMAND,
    )


def measured_claims(collected: Collected) -> tuple[list[claims.Judged], Table]:
    """The document's claims with the verdict on each, and the differences behind them."""
    judged = claims.judge(collected.study)
    rows = []
    for j in judged:
        for f in j.findings:
            r = f.relation
            show = points if "accuracy" in r.metric else (lambda v: f"{v:+.4f}")
            difference = with_interval(f.comparison.difference, show) if f.comparison else "–"
            than = "to" if r.expected == "similar" else "than"
            p = "–" if math.isnan(f.p) else f"{f.p:.2g}"
            tests = ", ".join(f.tests) or "–"
            rows.append(
                (j.claim.key, r.metric, f"{r.left} {r.expected} {than} {r.right}", difference, p, tests, f.verdict)
            )
    margins = [f"{metric.margin:g} for {name}" for name, metric in claims.METRICS.items()]
    comparison = next((f.comparison for j in judged for f in j.findings if f.comparison), None)
    level = f"{comparison.confidence:.2%}" if comparison else "corrected"
    return judged, Table(
        caption="What each claim says of two norms, and the paired difference left − right over the seeds with its "
        f"{level} interval by Student's t. A verdict needs all the named tests; p is the largest of theirs, corrected "
        "so that all verdicts together err with probability 5 % at most (Holm, over distinct comparisons). "
        f"Similar means an interval within {', '.join(margins)}.",
        columns=("claim", "metric", "the document says", "difference, measured", "p", "tests", "verdict"),
        rows=rows,
        command=STUDY_COMMAND,
    )


TRAINING_STEP = ASV_LATENCY["step"]
LATENCY = {ASV_LATENCY["forward"]: "forward", TRAINING_STEP: "training step"}
MEMORY = "memory.Memory.track_training_step"
NUMERICS = {
    "numerics.RelativeError.track_output": "output",
    "numerics.RelativeError.track_gradient": "gradient",
}
ERROR_RATE = "mnist.ErrorRate.track_mnist"
_PARAMETERS = {
    **{key: {"norm", "backend", "case", "device"} for key in (*LATENCY, MEMORY)},
    **{key: {"norm", "backend", "mean", "device"} for key in NUMERICS},
    ERROR_RATE: {"norm", "backend", "device"},
}
"""What the tables read of each of the suite's own benchmarks."""

_MOST_OTHERS = 500


def ran(measurements: Iterable[Measurement], benchmark: str) -> list[Measurement]:
    """Return those of one of the suite's benchmarks that have a value, neither failed nor n/a, and a norm known here.

    Somebody's own benchmark of that name has other parameters, and is none of them.
    """
    known = (NO_NORM, *NORMS)
    return [
        m
        for m in measurements
        if m.benchmark == benchmark
        and m.measured
        and m.parameters.get("norm") in known
        and _PARAMETERS[benchmark] <= m.parameters.keys()
        and (benchmark in NUMERICS or 0 <= m.value < math.inf)
    ]


def not_measured(measurements: list[Measurement]) -> str:
    """One sentence for the devices that asv knows and nothing was measured on."""
    known = dict.fromkeys(m.parameters["device"] for m in measurements if "device" in m.parameters)
    found = {m.parameters["device"] for m in measurements if "device" in m.parameters and m.measured}
    missing = [device for device in known if device not in found]
    return f"Not measured here (n/a): {', '.join(missing)}." if missing else ""


def cell(measurement: Measurement | None, show) -> str:
    """The value with its interval, or n/a."""
    if measurement is None:
        return "n/a"
    return with_interval(Interval(measurement.value, measurement.low, measurement.high), show)


def _by_norm(measurements: list[Measurement], row_keys: tuple[str, ...], show) -> list[tuple[str, ...]]:
    """Rows in the order measured, one column a norm."""
    table: dict[tuple[str, ...], dict[str, Measurement]] = {}
    for m in measurements:
        row = tuple(m.parameters[key] for key in row_keys)
        table.setdefault(row, {})[m.parameters["norm"]] = m
    return [(*row, *(cell(of_norm.get(norm), show) for norm in NORMS)) for row, of_norm in table.items()]


def latency(measurements: list[Measurement]) -> list[Table]:
    tables = []
    for benchmark, name in LATENCY.items():
        found = ran(measurements, benchmark)
        if found:
            tables.append(
                Table(
                    caption=f"{name.capitalize()}: median time of a call [99 % interval of the median within one "
                    "process]",
                    columns=("device", "case", "backend", *NORMS),
                    rows=_by_norm(found, ("device", "case", "backend"), seconds),
                    command=ASV_COMMAND,
                )
            )
    return tables


def memory(measurements: list[Measurement]) -> Table | None:
    found = ran(measurements, MEMORY)
    return found and Table(
        caption="Training step: most tensor bytes alive at once beside the operands. Counted, not sampled: no interval",
        columns=("device", "case", "backend", *NORMS),
        rows=_by_norm(found, ("device", "case", "backend"), data_size),
        command=ASV_COMMAND,
    )


def numerics(measurements: list[Measurement]) -> Table | None:
    rows = []
    for benchmark, name in NUMERICS.items():
        found = ran(measurements, benchmark)
        rows += [(name, *row) for row in _by_norm(found, ("mean", "backend", "device"), relative)]
    return rows and Table(
        caption="Largest error against float64, relative to the true values' root mean square, for float32 input of "
        "deviation 1 about the given mean. Computed on fixed inputs: no interval",
        columns=("of the", "input mean", "backend", "device", *NORMS),
        rows=rows,
        command=ASV_COMMAND,
    )


def others(measurements: list[Measurement]) -> Table | None:
    """Return what other benchmarks than the suite's say, whatever they measure."""
    own = {id(m) for benchmark in _PARAMETERS for m in ran(measurements, benchmark)}
    norms = (NO_NORM, *NORMS)
    found = [
        m
        for m in measurements
        if m.measured
        and id(m) not in own
        and not (m.benchmark in _PARAMETERS and m.parameters.get("norm", NO_NORM) not in norms)
    ]
    if not found:
        return None
    rest = len(found) - _MOST_OTHERS
    more = f" The first {_MOST_OTHERS}; asv's files have {rest} more." if rest > 0 else ""
    rows = []
    for m in found[:_MOST_OTHERS]:
        show = UNITS.get(m.unit, lambda value, unit=m.unit: f"{value:.4g} {unit}".rstrip())
        parameters = ", ".join(f"{name} {value}" for name, value in m.parameters.items())
        rows.append((m.benchmark, parameters or "–", cell(m, show)))
    return Table(
        f"Other benchmarks at this commit [99 % interval, where asv recorded one].{more}",
        ("benchmark", "parameters", "value"),
        rows,
        ASV_COMMAND,
    )


def error_rate(measurements: list[Measurement]) -> Table | None:
    found = ran(measurements, ERROR_RATE)
    return found and Table(
        caption="MNIST test error after one short epoch, tracked per commit: mean over the seeds [95 % interval]",
        columns=("norm", "backend", "device", "error rate"),
        rows=[
            (
                m.parameters["norm"],
                m.parameters["backend"],
                m.parameters["device"],
                with_interval(share_interval(m.samples), percent) if m.samples else percent(m.value),
            )
            for m in found
        ],
        command=ASV_COMMAND,
    )


AGAINST = "Against the alternatives"


def titled(title: str, bench: Bench) -> str:
    """With the device and what else is not the usual."""
    return f"{title} ({bench.where})" if bench.where else title


def against(bench: Bench) -> list[Table]:
    """Geometric means against torch.nn and a copy, and every case of `auto`."""
    shown = [
        _means(rival, bench.means(against, contestants), time=bench.time)
        for rival, against, contestants in (
            ("torch.nn", BASELINE, [c for c in bench.contestants if c != BASELINE]),
            ("a copy", copy_of, [c for c in bench.contestants if not c.startswith(COPY)]),
            *((rival, rival, [AUTO]) for rival in bench.rivals),
        )
    ]
    if bench.host:
        others = [c for c in bench.contestants if c != BASELINE]
        shown.append(_means("torch.nn", bench.host.means(contestants=others), time="host time"))
    return [table for table in shown if table.rows]


def _means(rival: str, means: list[Mean], *, time: str) -> Table:
    by_row: dict[tuple[str, str, str], dict[str, Mean]] = {}
    for m in means:
        by_row.setdefault((m.contestant, mode_text(m), m.size), {})[m.norm] = m
    return Table(
        caption=f"{time.capitalize()} / {time} of {rival}: geometric mean over the cases [95 % interval over "
        "processes]. Below 1 is faster. Tiny cases, in which the call costs more than the arithmetic, stand apart",
        columns=("by", "mode", "cases", "all norms", *NORMS),
        rows=[
            (
                contestant,
                mode,
                f"{of_norm[ALL].tasks} {size}",
                *(interval_text(of_norm[n].ratio) if n in of_norm else "–" for n in (ALL, *NORMS)),
            )
            for (contestant, mode, size), of_norm in by_row.items()
        ],
        command=BENCH_COMMAND,
    )


def every_case(bench: Bench) -> Table | None:
    """Every task as `auto` does it, or as all do where it did none."""
    rows = [row for row in bench.rows if row.contestant.startswith(AUTO)] or bench.rows
    times = f"{bench.time} and host time" if bench.host else bench.time
    return rows and Table(
        caption=f"{titled('Every case', bench)}: {times}, ratios [95 % intervals], share of the least traffic at the "
        f"speed of a copy, bytes, error against float64. Verdicts corrected for {len(bench.records)} tasks",
        columns=(
            "case",
            "norm",
            "mode",
            "by",
            bench.time,
            *(["host time"] if bench.host else []),
            "/ torch.nn",
            "verdict",
            "/ copy",
            "least traffic",
            "peak",
            "saved",
            "error of y",
            "of dx",
        ),
        rows=[
            (
                row.case,
                row.norm,
                mode_text(row),
                row.contestant,
                seconds(row.time_s.value) + (", not captured" if row.not_captured else ""),
                *([] if row.host_s is None else [seconds(row.host_s.value)]),
                interval_text(row.ratio),
                row.verdict,
                interval_text(row.copy_ratio),
                "–" if math.isnan(row.traffic_share) else f"{row.traffic_share:.0%}",
                *("–" if size is None else data_size(size) for size in (row.peak_bytes, row.saved_bytes)),
                *("–" if error is None else relative(error) for error in (row.output_error, row.gradient_error)),
            )
            for row in rows
        ],
        command=BENCH_COMMAND,
    )


def method(collected: Collected) -> list[Table]:
    """Machine, versions, seeds and settings of what is shown."""
    tables = []
    if collected.study:
        record = collected.study[0]
        environment, case = record["environment"], record["case"]
        own = ("norm", "target", "seed", "learning_rate")
        rows = [
            ("processor", environment["cpu"]),
            ("cores", str(environment["cores"])),
            ("threads of one run", str(environment.get("threads", "unknown"))),
            ("runs side by side", str(record.get("workers", "unknown"))),
            ("accelerator", environment.get("accelerator") or "none"),
            ("system", environment.get("system", "unknown")),
            ("Python", environment.get("python", "unknown")),
            *environment["packages"].items(),
            ("commit", record.get("commit") or "unknown"),
            ("seeds", ", ".join(map(str, collected.seeds))),
            ("learning rate", _rates(collected)),
            *((k.replace("_", " "), str(v)) for k, v in case.items() if k not in own and v is not None),
        ]
        tables.append(Table("The study", ("what", "value"), rows, STUDY_COMMAND))
    for bench in collected.benches:
        record = bench.records[0]
        environment, settings = record["environment"], record["settings"]
        share = bench.others_share
        clocks = [p.get("clock_mhz") for r in bench.records for p in r["samples"]["processes"]]
        clocks = sorted(mhz for mhz in clocks if mhz is not None)
        rows = [
            ("processor", environment["cpu"]),
            ("cores", str(environment["cores"])),
            ("threads", str(environment.get("threads", "unknown"))),
            ("accelerator", environment.get("accelerator") or "none"),
            ("driver", environment.get("driver") or "none"),
            *([("accelerator's clock right after a task", f"{clocks[0]} to {clocks[-1]} MHz")] if clocks else []),
            *accelerator.rows(bench),
            *environment["packages"].items(),
            ("allocator", ", ".join(f"{k}={v}" for k, v in environment.get("allocator", {}).items()) or "as it is"),
            ("processes", str(settings["processes"])),
            ("seconds a task and process", str(settings.get("seconds", "unknown"))),
            ("taken by other programs", "unknown" if share is None else f"{share:.1%} of the processor"),
            ("commit", record.get("commit") or "unknown"),
        ]
        tables.append(Table(titled(AGAINST, bench), ("what", "value"), rows, BENCH_COMMAND))
    if collected.cost:
        m = collected.cost[0]
        rows = [
            ("processor", m.machine),
            ("torch", m.torch or "unknown"),
            ("commit", m.commit),
            ("commits in the trend", str(len({x.commit for x in collected.history}))),
        ]
        tables.append(Table("Latency, memory, numerics, error rate", ("what", "value"), rows, ASV_COMMAND))
    return tables


def _rates(collected: Collected) -> str:
    """The learning rate, or each norm's own."""
    rates = {norm: collected.runs(norm)[0]["case"].get("learning_rate") for norm in collected.norms}
    if len(set(rates.values())) == 1:
        return str(next(iter(rates.values())))
    return ", ".join(f"{norm} {rate:g}" for norm, rate in rates.items())
