"""Tables of one commit: time, memory, numerics and error rate as asv recorded them. Imports no torch."""

import math
from collections.abc import Callable, Iterable, Sequence

from ..measure.labels import ASV_ERROR_RATE, ASV_ERRORS, ASV_LATENCY, ASV_MEMORY
from ..presentation import text
from ..presentation.table import Table
from ..records import kinds
from ..spec import NO_NORM, NORMS
from ..statistics import Interval, share_interval
from .adapter import Measurement

TRAINING_STEP = ASV_LATENCY["step"]
LATENCY = {ASV_LATENCY["forward"]: "forward", TRAINING_STEP: "training step"}
NUMERICS = {name: compared for compared, name in ASV_ERRORS.items()}
_PARAMETERS = {
    **{key: {"norm", "backend", "case", "device"} for key in (*LATENCY, ASV_MEMORY)},
    **{key: {"norm", "backend", "mean", "device"} for key in NUMERICS},
    ASV_ERROR_RATE: {"norm", "backend", "device"},
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
        if m.result.benchmark == benchmark
        and m.measured
        and m.parameters.get("norm") in known
        and _PARAMETERS[benchmark] <= m.parameters.keys()
        and (benchmark in NUMERICS or 0 <= m.number < math.inf)
    ]


def not_measured(measurements: list[Measurement]) -> str:
    """Return a sentence on the devices that asv knows and nothing was measured on, "" without any."""
    known = dict.fromkeys(m.parameters["device"] for m in measurements if "device" in m.parameters)
    found = {m.parameters["device"] for m in measurements if "device" in m.parameters and m.measured}
    missing = [device for device in known if device not in found]
    return f"Not measured here (n/a): {', '.join(missing)}." if missing else ""


def cell(measurement: Measurement | None, show: Callable[[float], str]) -> str:
    """Return a value with its interval, or n/a."""
    if measurement is None:
        return "n/a"
    return text.interval(Interval(measurement.number, *measurement.interval), show)


def _by_norm(
    measurements: Iterable[Measurement], row_keys: Sequence[str], show: Callable[[float], str]
) -> list[tuple[str, ...]]:
    """Return rows in the order measured, with a column for each norm."""
    table: dict[tuple[str, ...], dict[str, Measurement]] = {}
    for m in measurements:
        row = tuple(m.parameters[key] for key in row_keys)
        table.setdefault(row, {})[m.parameters["norm"]] = m
    return [(*row, *(cell(of_norm.get(norm), show) for norm in NORMS)) for row, of_norm in table.items()]


_PLACE = ("device", "case", "backend")


def latency(measurements: Sequence[Measurement]) -> list[Table]:
    """Return the time of a call, a table for the forward pass and one for the training step."""
    return [
        Table(
            f"{name.capitalize()}: median time of a call [99 % interval of the median within one process]",
            (*_PLACE, *NORMS),
            _by_norm(found, _PLACE, text.seconds),
            kinds.ASV.command,
        )
        for benchmark, name in LATENCY.items()
        if (found := ran(measurements, benchmark))
    ]


def memory(measurements: Sequence[Measurement]) -> Table | None:
    """Return the peak bytes of a training step, or None where none were counted."""
    found = ran(measurements, ASV_MEMORY)
    title = "Training step: most tensor bytes alive at once beside the operands. Counted, not sampled: no interval"
    return (
        Table(title, (*_PLACE, *NORMS), _by_norm(found, _PLACE, text.data_size), kinds.ASV.command) if found else None
    )


def numerics(measurements: Sequence[Measurement]) -> Table | None:
    """Return the errors against float64, or None where none were recorded."""
    rows = []
    for benchmark, name in NUMERICS.items():
        found = ran(measurements, benchmark)
        rows += [(name, *row) for row in _by_norm(found, ("mean", "backend", "device"), text.relative)]
    if not rows:
        return None
    return Table(
        "Largest error against float64, relative to the true values' root mean square, for float32 input of deviation "
        "1 about the given mean. Computed on fixed inputs: no interval",
        ("of the", "input mean", "backend", "device", *NORMS),
        rows,
        kinds.ASV.command,
    )


def others(measurements: Sequence[Measurement]) -> Table | None:
    """Return the values of other benchmarks than the suite's, whatever they measure; None without any."""
    own = {id(m) for benchmark in _PARAMETERS for m in ran(measurements, benchmark)}
    norms = (NO_NORM, *NORMS)
    found = [
        m
        for m in measurements
        if m.measured
        and id(m) not in own
        and not (m.result.benchmark in _PARAMETERS and m.parameters.get("norm", NO_NORM) not in norms)
    ]
    if not found:
        return None
    rest = len(found) - _MOST_OTHERS
    more = f" The first {_MOST_OTHERS}; asv's files have {rest} more." if rest > 0 else ""
    rows = []
    for m in found[:_MOST_OTHERS]:
        parameters = ", ".join(f"{name} {value}" for name, value in m.parameters.items())
        show = text.writer(m.result.unit) if m.result.unit else "{:.4g}".format
        rows.append((m.result.benchmark, parameters or text.ABSENT, cell(m, show)))
    title = f"Other benchmarks at this commit [99 % interval, where asv recorded one].{more}"
    return Table(title, ("benchmark", "parameters", "value"), rows, kinds.ASV.command)


def error_rate(measurements: Sequence[Measurement]) -> Table | None:
    """Return the error rate on MNIST of each norm, or None where none was recorded."""
    found = ran(measurements, ASV_ERROR_RATE)
    rows = [
        (
            *(m.parameters[name] for name in ("norm", "backend", "device")),
            text.interval(share_interval(m.samples), text.percent) if m.samples else text.percent(m.number),
        )
        for m in found
    ]
    title = "MNIST test error after one short epoch, tracked per commit: mean over the seeds [95 % interval]"
    return Table(title, ("norm", "backend", "device", "error rate"), rows, kinds.ASV.command) if found else None


def method(measurements: Sequence[Measurement], commits: int) -> Table:
    """Return where a commit was measured.

    Args:
        measurements: of the commit.
        commits: how many are in the trend.
    """
    first = measurements[0]
    rows = [
        ("processor", first.result.machine),
        ("torch", first.result.torch or "unknown"),
        ("commit", first.result.commit),
        ("commits in the trend", str(commits)),
    ]
    return Table("Latency, memory, numerics, error rate", ("what", "value"), rows, kinds.ASV.command)
