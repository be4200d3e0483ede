"""What asv has recorded, read through asv's own reader: the only place that knows how asv stores results."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError


@dataclass(frozen=True)
class Measurement:
    """One benchmark with one choice of parameters, at one commit, in one environment.

    Attributes:
        benchmark: asv's name for it, such as "latency.Latency.track_forward".
        parameters: by name, as text without quotes.
        unit: as the benchmark says.
        commit: full hash.
        date: of the commit, seconds since 1970.
        recorded: when it was measured, milliseconds since 1970, or 0.
        machine: what asv wrote of the processor and the system, without the machine's name.
        torch: the version that asv's environment pins, or "".
        value: asv's (the median of the samples), NaN for n/a, None for failed.
        samples: as recorded; empty where asv was not told to keep them.
        low, high: asv's interval of the median at 99 %, or NaN.
    """

    benchmark: str
    parameters: dict[str, str]
    unit: str
    commit: str
    date: float
    recorded: float
    machine: str
    torch: str
    value: float | None
    samples: tuple[float, ...]
    low: float
    high: float


def read(folder: Path) -> list[Measurement]:
    """Every result in asv's results folder, oldest commit first; none where the folder is absent or empty.

    Results of another version of a benchmark than the newest are left out, as asv itself does.

    Raises:
        DataError: the list of benchmarks is damaged.
    """
    from asv import util
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import iter_results

    if not (folder / "benchmarks.json").is_file():
        return []
    logging.getLogger("asv").setLevel(logging.ERROR)
    config = Config()
    config.results_dir = str(folder)
    try:
        benchmarks = Benchmarks.load(config)
    except (util.UserError, ValueError, KeyError) as error:
        raise DataError(f"benchmarks.json: asv cannot read it ({error})") from None
    found = []
    for result in iter_results(str(folder)):
        for name in sorted(result.get_result_keys(benchmarks)):
            found.extend(_measurements(result, benchmarks[name]))
    return sorted(found, key=lambda m: (m.date, m.commit, m.benchmark))


def _measurements(result, benchmark: dict):
    """One measurement for each choice of parameters."""
    import itertools

    name, choices = benchmark["name"], benchmark["params"]
    values = result.get_result_value(name, choices)
    stats = result.get_result_stats(name, choices) or [None] * len(values)
    samples = result.get_result_samples(name, choices) or [None] * len(values)
    machine = result.params
    for chosen, value, stat, sample in zip(itertools.product(*choices), values, stats, samples, strict=True):
        stat = stat or {}
        yield Measurement(
            benchmark=name,
            parameters={k: v.strip("'") for k, v in zip(benchmark["param_names"], chosen, strict=True)},
            unit=benchmark["unit"],
            commit=result.commit_hash,
            date=(result.date or 0) / 1000,
            recorded=float(result.started_at.get(name) or 0),
            machine=f"{machine.get('cpu') or 'unknown processor'}, {machine.get('num_cpu') or '?'} cores",
            torch=str(machine.get("torch") or ""),
            value=value,
            samples=tuple(sample or ()),
            low=_number(stat.get("ci_99_a")),
            high=_number(stat.get("ci_99_b")),
        )


def _number(value) -> float:
    return math.nan if value is None else float(value)
