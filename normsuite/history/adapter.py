"""What asv has recorded, read through asv's own reader, and its step detection: the only place that knows asv."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..garbage import uncollected
from ..results import version
from . import kept


class Measurement(NamedTuple):
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


class Result(NamedTuple):
    """One benchmark with all choices of its parameters, at one commit, in one environment: what asv records at once.

    A long history is a million values, and few of them are ever looked at alone.

    Attributes:
        parameters: of each choice; the same object for all commits, as far as they were read together.
        values, samples, low, high: of each choice, as in `Measurement`, which has the rest as well.
        earlier: the same, measured before; oldest first.
    """

    benchmark: str
    parameters: Sequence[dict[str, str]]
    unit: str
    commit: str
    date: float
    recorded: float
    machine: str
    torch: str
    values: tuple[float | None, ...]
    samples: tuple[tuple[float, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    numba: str = ""
    earlier: tuple["Result", ...] = ()

    def measurement(self, choice: int) -> Measurement:
        """Of one choice of parameters, by its place."""
        return Measurement(
            benchmark=self.benchmark,
            parameters=self.parameters[choice],
            unit=self.unit,
            commit=self.commit,
            date=self.date,
            recorded=self.recorded,
            machine=self.machine,
            torch=self.torch,
            value=self.values[choice],
            samples=self.samples[choice],
            low=self.low[choice],
            high=self.high[choice],
            numba=self.numba,
        )

    @property
    def measurements(self) -> list[Measurement]:
        """Of each choice of parameters."""
        return [self.measurement(choice) for choice in range(len(self.values))]


@dataclass(frozen=True)
class History:
    """What was measured, oldest commit first, and one line for everything that could not be read."""

    results: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


TORCH = "environment.Environment.track_torch"
"""The benchmark that says which torch the others ran with."""


@dataclass(frozen=True)
class _File:
    """What one of asv's files holds."""

    results: list[Result]
    notes: list[str]


def read(folder: Path) -> History:
    """Every result in asv's results folder; nothing where the folder is absent or empty.

    Results of another version of a benchmark than the newest are left out, as asv itself does. Of one benchmark at one
    commit on one machine with one torch and numba, measured several times, the last counts, and the others say how far
    apart measurements of one commit lie.

    Raises:
        DataError: the list of benchmarks is damaged.
    """
    from asv import util
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import iter_results_paths

    listed = folder / "benchmarks.json"
    if not listed.is_file():
        return History()
    config = Config()
    config.results_dir = str(folder)
    try:
        benchmarks = Benchmarks.load(config)
    except (util.UserError, ValueError, KeyError) as error:
        raise DataError(f"benchmarks.json: asv cannot read it ({_one_line(error)})") from None
    files = {
        (Path(root) / name).relative_to(folder): machine for root, name, machine in iter_results_paths(str(folder))
    }
    depends = [Path(__file__).read_bytes(), listed.read_bytes(), (version("asv") or "").encode()]
    parameters = {name: _parameters(of) for name, of in benchmarks.items()}
    with uncollected(), kept.Kept(folder, depends) as remembered:
        read = [
            remembered.of(path, lambda p=path: _load(folder / p, files[p], benchmarks, parameters))
            for path in sorted(files)
        ]
    return History(_merged(read), [note for file in read for note in file.notes])


def _parameters(benchmark: dict) -> list[dict[str, str]]:
    """Of each choice; the same objects for all commits."""
    names = benchmark["param_names"]
    chosen = itertools.product(*benchmark["params"])
    return [{k: v.strip("'") for k, v in zip(names, of, strict=True)} for of in chosen]


def _load(path: Path, machine: str, benchmarks, parameters: dict[str, list[dict[str, str]]]) -> _File:
    from asv import util
    from asv.results import Results

    try:
        result = Results.load(str(path), machine_name=machine)
    except (util.UserError, ValueError, KeyError) as error:
        return _File([], [f"asv result {path.name[:8]} cannot be read ({_one_line(error)})"])
    keys, notes = result.get_result_keys(benchmarks), []
    if outdated := set(result.get_all_result_keys()) - keys:
        notes.append(f"{len(outdated)} benchmarks at {path.name[:8]} are of another version and left out")
    return _File([_result(result, benchmarks[key], parameters[key]) for key in sorted(keys)], notes)


def _merged(files: list[_File]) -> list[Result]:
    """Of all files, oldest commit first, by benchmark; of what was measured twice the last."""
    last: dict[tuple, Result] = {}
    dates: dict[str, float] = {}
    for result in (result for file in files for result in file.results):
        dates.setdefault(result.commit, result.date)
        place = (result.commit, result.benchmark, result.machine, result.torch, result.numba)
        if place in last:
            known = (*last[place].earlier, last[place]._replace(earlier=()), result)
            *earlier, result = sorted(known, key=lambda of: of.recorded)
            result = result._replace(earlier=tuple(earlier))
        last[place] = result
    return sorted(last.values(), key=lambda result: (dates[result.commit], result.commit, result.benchmark))


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _torch(result) -> str:
    """The version that ran, or the one that asv installed, or ""."""
    if TORCH in result.get_all_result_keys():
        (value,) = result.get_result_value(TORCH, [])
        if value:
            return ".".join(str(int(value) // scale % 1000) for scale in (1_000_000, 1_000, 1))
    return str(result.params.get("torch") or "")


def _result(result, benchmark: dict, parameters: list[dict[str, str]]) -> Result:
    """One benchmark of one of asv's files."""
    name, choices = benchmark["name"], benchmark["params"]
    values = result.get_result_value(name, choices)
    stats = [of or {} for of in result.get_result_stats(name, choices) or [None] * len(values)]
    samples = result.get_result_samples(name, choices) or [None] * len(values)
    machine = result.params
    return Result(
        benchmark=name,
        parameters=parameters,
        unit=benchmark["unit"],
        commit=result.commit_hash,
        date=(result.date or 0) / 1000,
        recorded=float(result.started_at.get(name) or 0),
        machine=f"{machine.get('cpu') or 'unknown processor'}, {machine.get('num_cpu') or '?'} cores",
        torch=_torch(result),
        values=tuple(values),
        samples=tuple(tuple(of or ()) for of in samples),
        low=tuple(_number(of.get("ci_99_a")) for of in stats),
        high=tuple(_number(of.get("ci_99_b")) for of in stats),
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
