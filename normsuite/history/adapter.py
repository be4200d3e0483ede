"""What asv has recorded, read through asv's own reader, and its step detection: the only place that knows asv."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError


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
        torch: the version that ran, or "" where nothing says.
        value: asv's (the median of the samples), NaN for n/a, None for failed.
        samples: as recorded; empty where asv was not told to keep them.
        low, high: asv's interval of the median at 99 %, or NaN.
        numba: the version that asv installed, or "" where nothing says.
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
    numba: str = ""

    @property
    def measured(self) -> bool:
        """It has a value: neither failed nor n/a."""
        return self.value is not None and not math.isnan(self.value)


@dataclass(frozen=True)
class History:
    """What was measured, oldest commit first, and one line for everything that could not be read."""

    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


TORCH = "environment.Environment.track_torch"
"""The benchmark that says which torch the others ran with."""


def read(folder: Path) -> History:
    """Every result in asv's results folder; nothing where the folder is absent or empty.

    Results of another version of a benchmark than the newest are left out, as asv itself does. Of one benchmark at one
    commit on one machine with one torch and numba, measured several times, the last counts.

    Raises:
        DataError: the list of benchmarks is damaged.
    """
    from asv import util
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import Results, iter_results_paths

    if not (folder / "benchmarks.json").is_file():
        return History()
    config = Config()
    config.results_dir = str(folder)
    try:
        benchmarks = Benchmarks.load(config)
    except (util.UserError, ValueError, KeyError) as error:
        raise DataError(f"benchmarks.json: asv cannot read it ({_one_line(error)})") from None
    found: dict[tuple, Measurement] = {}
    notes = []
    for root, name, machine in iter_results_paths(str(folder)):
        try:
            result = Results.load(str(Path(root) / name), machine_name=machine)
        except (util.UserError, ValueError, KeyError) as error:
            notes.append(f"asv result {name[:8]} cannot be read ({_one_line(error)})")
            continue
        keys = result.get_result_keys(benchmarks)
        if outdated := set(result.get_all_result_keys()) - keys:
            notes.append(f"{len(outdated)} benchmarks at {name[:8]} are of another version and left out")
        for measured in (m for key in sorted(keys) for m in _measurements(result, benchmarks[key])):
            place = (
                measured.commit,
                measured.machine,
                measured.torch,
                measured.numba,
                measured.benchmark,
                *measured.parameters.items(),
            )
            if place not in found or found[place].recorded <= measured.recorded:
                found[place] = measured
    return History(sorted(found.values(), key=lambda m: (m.date, m.commit, m.benchmark)), notes)


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _torch(result) -> str:
    """The version that ran, or the one that asv installed, or ""."""
    if TORCH in result.get_all_result_keys():
        (value,) = result.get_result_value(TORCH, [])
        if value:
            return ".".join(str(int(value) // scale % 1000) for scale in (1_000_000, 1_000, 1))
    return str(result.params.get("torch") or "")


def _measurements(result, benchmark: dict):
    """One measurement for each choice of parameters."""
    name, choices = benchmark["name"], benchmark["params"]
    values = result.get_result_value(name, choices)
    stats = result.get_result_stats(name, choices) or [None] * len(values)
    samples = result.get_result_samples(name, choices) or [None] * len(values)
    machine, torch = result.params, _torch(result)
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
            torch=torch,
            value=value,
            samples=tuple(sample or ()),
            low=_number(stat.get("ci_99_a")),
            high=_number(stat.get("ci_99_b")),
            numba=str(machine.get("numba") or ""),
        )


def _number(value) -> float:
    return math.nan if value is None else float(value)


def levels(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """Runs of values that asv's step detection takes to lie about one level, each as (first, one behind the last).

    asv fits a piecewise constant function by least absolute deviations, and weighs the number of pieces against the fit
    (Friedrich et al. 2008, Complexity penalized M-estimation). It says nothing of how certain a step is. None is a
    value that is missing; it may lie in a run.
    """
    from asv.step_detect import detect_steps

    return [(first, behind) for first, behind, *_ in detect_steps(list(values))]
