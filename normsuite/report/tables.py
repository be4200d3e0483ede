"""The report's tables, as strings: every number with its unit and, where it was measured, its interval."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .. import claims, explain
from ..history import Measurement
from ..spec import NORMS, NormSpec
from ..statistics import Interval, mean_interval
from .collect import ASV_COMMAND, STUDY_COMMAND, Collected

EXPLAIN_COMMAND = "normsuite explain"


@dataclass(frozen=True)
class Table:
    """A table ready for the template: `kinds` names each row for its style, such as "wrong"."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    command: str
    kinds: tuple[str, ...] = ()

    def styled(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        return zip(self.kinds or [""] * len(self.rows), self.rows, strict=True)


def seconds(value: float) -> str:
    """A duration with three digits and the unit that fits: ns, µs, ms or s."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def mebibytes(value: float) -> str:
    """Bytes as KiB or MiB with three digits."""
    return f"{value / 2**20:.3g} MiB" if value >= 2**20 else f"{value / 2**10:.3g} KiB"


def percent(value: float) -> str:
    return f"{value:.2%}"


def relative(value: float) -> str:
    return f"{value:.1e}"


def with_interval(interval: Interval, show) -> str:
    """ "value [low, high]", or the value alone where there is no interval."""
    if math.isnan(interval.low):
        return show(interval.value)
    return f"{show(interval.value)} [{show(interval.low)}, {show(interval.high)}]"


def worked_example(spec: NormSpec) -> Table:
    rows = explain.explain(spec)
    return Table(
        caption=f"{spec.name}: the document's figures, computed again",
        columns=("shares a mean", "statistic", "printed", "computed", "verdict", "note"),
        rows=[
            (
                "all" if row.index is None else chr(ord("A") + row.index - 1),
                row.statistic,
                row.printed or "–",
                f"{row.computed:.6g}" if isinstance(row.computed, float) else str(row.computed),
                row.verdict,
                row.note,
            )
            for row in rows
        ],
        kinds=tuple(row.verdict.replace(" ", "-") for row in rows),
        command=f"{EXPLAIN_COMMAND} {spec.name}",
    )


def last_epoch(collected: Collected) -> Table:
    """Each norm after the last epoch: mean over the seeds and its 95 % interval."""
    epochs = collected.study[0]["case"]["epochs"]
    shows = {"loss": lambda v: f"{v:.4f}", "accuracy": percent}
    rows = []
    for norm in collected.norms:
        runs = collected.runs(norm)
        cells = [norm, str(runs[0]["samples"]["norm_parameters"])]
        for metric in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            values = [float(run["samples"]["epochs"][-1][metric]) for run in runs]
            cells.append(with_interval(mean_interval(values), shows[metric.partition("_")[2]]))
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


def measured_claims(collected: Collected) -> tuple[list[claims.Judged], Table]:
    """The document's claims with the verdict on each, and the differences behind them."""
    judged = claims.judge(collected.study)
    rows, kinds = [], []
    for j in judged:
        for f in j.findings:
            r = f.relation
            unit = percent if "accuracy" in r.metric else (lambda v: f"{v:.4f}")
            difference = with_interval(f.comparison.difference, unit) if f.comparison else "–"
            rows.append((j.claim.key, r.metric, f"{r.left} {r.expected} {r.right}", difference, f.verdict))
            kinds.append(f.verdict.replace(" ", "-"))
    comparison = next((f.comparison for j in judged for f in j.findings if f.comparison), None)
    level = f"{comparison.confidence:.2%}" if comparison else "corrected"
    return judged, Table(
        caption="What each claim says of two norms, and the paired difference left − right over the seeds with its "
        f"{level} interval, corrected so that all verdicts together err with probability 5 % at most. "
        "Similar means within 0.01 for a loss and 0.2 percentage points for an accuracy.",
        columns=("claim", "metric", "the document says", "difference, measured", "verdict"),
        rows=rows,
        kinds=tuple(kinds),
        command=STUDY_COMMAND,
    )


LATENCY = {
    "latency.Latency.track_forward": "forward",
    "latency.Latency.track_training_step": "training step",
}
MEMORY = "memory.Memory.track_training_step"
NUMERICS = {
    "numerics.RelativeError.track_output": "output",
    "numerics.RelativeError.track_gradient": "gradient",
}
ERROR_RATE = "mnist.ErrorRate.track_mnist"


def ran(measurements: Iterable[Measurement], benchmark: str) -> list[Measurement]:
    """Those of one benchmark that have a value: neither failed nor n/a."""
    return [m for m in measurements if m.benchmark == benchmark and m.value is not None and not math.isnan(m.value)]


def _devices(measurements: Iterable[Measurement]) -> tuple[list[str], list[str]]:
    """Devices measured, and those that asv knows and this machine has not."""
    measurements = list(measurements)
    known = list(dict.fromkeys(m.parameters["device"] for m in measurements if "device" in m.parameters))
    with_value = {m.parameters["device"] for m in measurements if m.value is not None and not math.isnan(m.value)}
    return [d for d in known if d in with_value], [d for d in known if d not in with_value]


def not_measured(measurements: Iterable[Measurement]) -> str:
    """One sentence for the devices that asv knows and nothing was measured on."""
    _, missing = _devices(measurements)
    return f"Not measured here (n/a): {', '.join(missing)}." if missing else ""


def _cell(measurement: Measurement | None, show) -> str:
    if measurement is None:
        return "n/a"
    return with_interval(Interval(measurement.value, measurement.low, measurement.high), show)


def _by_norm(measurements: list[Measurement], row_keys: tuple[str, ...], cell) -> list[tuple[str, ...]]:
    """Rows in the order measured, one column a norm."""
    table: dict[tuple[str, ...], dict[str, Measurement]] = {}
    for m in measurements:
        row = tuple(m.parameters[key] for key in row_keys)
        table.setdefault(row, {})[m.parameters["norm"]] = m
    return [(*row, *(cell(of_norm.get(norm)) for norm in NORMS)) for row, of_norm in table.items()]


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
                    rows=_by_norm(found, ("device", "case", "backend"), lambda m: _cell(m, seconds)),
                    command=ASV_COMMAND,
                )
            )
    return tables


def memory(measurements: list[Measurement]) -> Table | None:
    found = ran(measurements, MEMORY)
    return found and Table(
        caption="Training step: most tensor bytes alive at once beside the operands. Counted, not sampled: no interval",
        columns=("device", "case", "backend", *NORMS),
        rows=_by_norm(found, ("device", "case", "backend"), lambda m: _cell(m, mebibytes)),
        command=ASV_COMMAND,
    )


def numerics(measurements: list[Measurement]) -> Table | None:
    rows = []
    for benchmark, name in NUMERICS.items():
        found = ran(measurements, benchmark)
        rows += [(name, *row) for row in _by_norm(found, ("mean", "backend", "device"), lambda m: _cell(m, relative))]
    return rows and Table(
        caption="Largest error against float64, relative to the largest true value, for float32 input of deviation 1 "
        "about the given mean. Computed on fixed inputs: no interval",
        columns=("of the", "input mean", "backend", "device", *NORMS),
        rows=rows,
        command=ASV_COMMAND,
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
                with_interval(mean_interval(m.samples), percent) if m.samples else percent(m.value),
            )
            for m in found
        ],
        command=ASV_COMMAND,
    )


def method(collected: Collected) -> list[Table]:
    """Machine, versions, seeds and settings of what is shown."""
    tables = []
    if collected.study:
        record = collected.study[0]
        environment, case = record["environment"], record["case"]
        rows = [
            ("processor", environment["cpu"]),
            ("cores", str(environment["cores"])),
            ("threads of one run", str(environment["threads"])),
            ("accelerator", environment["accelerator"] or "none"),
            ("system", environment["system"]),
            ("Python", environment["python"]),
            *environment["packages"].items(),
            ("commit", record.get("commit") or "unknown"),
            ("seeds", ", ".join(map(str, collected.seeds))),
            *((k.replace("_", " "), str(v)) for k, v in case.items() if k not in ("norm", "seed") and v is not None),
        ]
        tables.append(Table("The study", ("what", "value"), rows, STUDY_COMMAND))
    if collected.latest:
        m = collected.latest[0]
        rows = [
            ("processor", m.machine),
            ("torch", m.torch or "of the environment that asv ran in"),
            ("commit", m.commit),
            ("commits in the trend", str(len({x.commit for x in collected.history}))),
        ]
        tables.append(Table("Latency, memory, numerics, error rate", ("what", "value"), rows, ASV_COMMAND))
    return tables
