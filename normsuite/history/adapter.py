"""asv's recorded results over commits, and its step detection; here only this module and `files` depend on asv."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..files.reading import summed
from ..machine.garbage import uncollected
from ..measure.labels import ASV_TORCH
from ..presentation.text import counted
from ..records.provenance import version
from . import files
from .aligned import VERSION, Aligned, aligned, is_old
from .commits import Commits
from .file_cache import FileCache
from .files import File, Listed
from .order import order


class AsvResult(NamedTuple):
    """One benchmark with all choices of its parameters, at one commit, in one environment: what asv records at once.

    A long history is a million values, and few of them are ever looked at alone.

    Attributes:
        benchmark: asv's name for it, such as "latency.Latency.track_forward".
        parameters: of each choice, by name, as text without quotes; the same object for all commits, as far as they
            were read together.
        unit: as the benchmark says.
        commit: full hash.
        date: of the commit, seconds since 1970.
        recorded: when it was measured, milliseconds since 1970, or 0.
        machine: what asv wrote of the processor and the system, without the machine's name.
        torch: the version that ran, or "" where nothing says.
        values: of each choice asv's (the median of the samples), NaN for n/a, None for failed.
        samples: of each choice, as recorded; empty where asv was not told to keep them.
        low, high: of each choice asv's interval of the median at 99 %, or NaN.
        numba: the version that asv installed, or "" where nothing says.
        earlier: the same, measured before; oldest first.
        setting: what else decides about the values, by name: python, requirements, variables, the benchmark's version.
        place: of its commit among all of the branch, oldest first; -1 for one that does not lie on its line.
        former: its parameters, or its version of the benchmark, are no longer listed.
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
    earlier: tuple["AsvResult", ...] = ()
    setting: tuple[tuple[str, str], ...] = ()
    place: int = 0
    former: bool = False

    def measurement(self, choice: int) -> "Measurement":
        """Return the measurement of one choice of parameters, by its place."""
        return Measurement(self, choice)

    @property
    def measurements(self) -> list["Measurement"]:
        """Return the measurement of each choice of parameters."""
        return [Measurement(self, choice) for choice in range(len(self.values))]


class Measurement(NamedTuple):
    """One benchmark with one choice of parameters, by its place, of a result."""

    result: AsvResult
    choice: int

    @property
    def parameters(self) -> dict[str, str]:
        """Return the parameters by name."""
        return self.result.parameters[self.choice]

    @property
    def value(self) -> float | None:
        """Return asv's value: NaN for n/a, None for failed."""
        return self.result.values[self.choice]

    @property
    def samples(self) -> tuple[float, ...]:
        """Return the samples, none where asv was not told to keep them."""
        return self.result.samples[self.choice]

    @property
    def interval(self) -> tuple[float, float]:
        """Return asv's interval of the median at 99 %, or NaN twice."""
        return self.result.low[self.choice], self.result.high[self.choice]

    @property
    def measured(self) -> bool:
        """Return whether it has a value: it neither failed nor is n/a."""
        return self.value is not None and not math.isnan(self.value)

    @property
    def number(self) -> float:
        """Return the value, or NaN for n/a and failed."""
        return math.nan if self.value is None else self.value


@dataclass(frozen=True)
class History:
    """The results, oldest commit first, and notes on what was left out or decided."""

    results: list[AsvResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(folder: Path, commits: Commits | None = None) -> History:
    """Return every result in asv's results folder; nothing where the folder is absent or empty.

    Where a benchmark was measured several times at one commit with the same processor, Python, torch, requirements and
    variables, the last measurement counts; the others, in `earlier`, show how far measurements of one commit lie apart.
    Results of another version of a benchmark, or of parameters that it no longer has, are marked as `former`.

    Args:
        folder: of asv's results.
        commits: of the repository, which knows in which order they stand; without it they stand by date.

    Raises:
        DataError: the list of benchmarks is missing or damaged, or no file can be used.
    """
    found, refused = files.paths(folder) if folder.is_dir() else ([], [])
    list_of_them = folder / "benchmarks.json"
    if not found and not refused and not list_of_them.exists():
        return History()
    if not list_of_them.exists():
        raise DataError(
            f"benchmarks.json is missing beside {len(found)} results in {folder.resolve().name!r}: "
            "`asv run --bench just-discover` writes it"
        )
    listed, left_out = files.listed(list_of_them)
    types = {name: of.type for name, of in listed.items()}
    depends = [Path(files.__file__).read_bytes(), repr(sorted(types.items())).encode(), (version("asv") or "").encode()]
    with uncollected(), FileCache(folder, depends) as cached:
        read = [
            File.of_plain(
                cached.of(
                    path.relative_to(folder),
                    read=partial(_plain, path, types),
                    keep=lambda value: not File.of_plain(value).is_unread,
                )
            )
            for path in found
        ]
    refused += [(path.name, reason) for path, of in zip(found, read, strict=True) for reason in of.refused]
    notes = [f"a benchmark in benchmarks.json is left out: {reason}" for reason in dict.fromkeys(left_out)]
    notes += _machines(found)
    notes += summed(refused, "a result of asv's", "results of asv's")
    if found and not any(of.commit for of in read):
        raise DataError(f"no result in {folder.resolve().name!r} can be read: {'; '.join(notes)}")
    aligned_rows, said = aligned(read, listed)
    dates: dict[str, float | None] = {}
    for of in read:
        if of.rows and dates.get(of.commit) is None:
            dates[of.commit] = of.date
    stand = order(dates, commits)
    results = [_result(of, listed) for of in aligned_rows]
    return History(_merged(results, stand.places), [*notes, *said, *_settings(results), *stand.notes])


def _plain(path: Path, types: dict[str, str]) -> list:
    return files.read(path, types).plain()


def _machines(found: Iterable[Path]) -> list[str]:
    """Return a note on folders whose results asv itself passes over."""
    problems: dict[str, int] = {}
    for folder in dict.fromkeys(path.parent for path in found):
        if (problem := files.machine_problem(folder)) is not None:
            problems[problem] = problems.get(problem, 0) + 1
    return [
        f"machine.json of {counted(count, 'folder')} {problem}: asv itself ignores the results there"
        for problem, count in problems.items()
    ]


def _settings(results: Iterable[AsvResult]) -> list[str]:
    """Return a note on what differs beside torch's version, by which series stand apart."""
    known = {result.setting for result in results}
    values: dict[str, set[str]] = {}
    for name, value in itertools.chain.from_iterable(known):
        values.setdefault(name, set()).add(value)
    absent = {name for name in values if any(name not in dict(of) for of in known)}
    differing = [name for name in values if (len(values[name]) > 1 or name in absent) and name != VERSION]
    if not differing:
        return []
    said = "; ".join(
        f"{_called(name)} {', '.join([*sorted(values[name]), *['none'] * (name in absent)])}" for name in differing
    )
    return [f"measured in several settings, which are separate series ({said})"]


def _called(name: str) -> str:
    return name.removeprefix("env-")


def _merged(results: Iterable[AsvResult], places: dict[str, int]) -> list[AsvResult]:
    """Return the results, oldest commit first, then by benchmark.

    Of results that were measured more than once, it is the last one, which lists the others.
    """
    last: dict[tuple, AsvResult] = {}
    for result in results:
        result = result._replace(place=places.get(result.commit, -1))
        identity = (
            result.commit, result.benchmark, result.machine, result.torch, result.numba, result.setting, result.former
        )  # fmt: skip
        if identity in last:
            known = (*last[identity].earlier, last[identity]._replace(earlier=()), result)
            *earlier, result = sorted(known, key=lambda of: of.recorded)
            result = result._replace(earlier=tuple(earlier))
        last[identity] = result
    return sorted(last.values(), key=lambda result: (result.place, result.date, result.commit, result.benchmark))


def _torch(file: File) -> str:
    """Return the version that ran, or the one that asv installed, or ""."""
    for row in file.rows:
        if row.benchmark == ASV_TORCH and len(row.values) == 1 and row.values[0] and 0 < row.values[0] < 1e9:
            return ".".join(str(int(row.values[0]) // scale % 1000) for scale in (1_000_000, 1_000, 1))
    return file.setting.get("torch", "")


def _result(of: Aligned, listed: dict[str, Listed]) -> AsvResult:
    file, row = of.file, of.row
    name = row.benchmark
    # Of what asv installed, torch and numba have names of their own, since an environment that exists says only those.
    setting = {k: v for k, v in file.setting.items() if k not in ("torch", "numba")}
    if is_old(row, listed):
        setting[VERSION] = row.version[:8]
    return AsvResult(
        benchmark=name,
        parameters=of.parameters,
        unit=listed[name].unit,
        commit=file.commit,
        date=file.date or 0.0,
        recorded=row.recorded,
        machine=file.machine,
        torch=_torch(file),
        values=of.of(row.values, None),
        samples=tuple(map(tuple, of.of(row.samples, ()))),
        low=of.of(row.low, math.nan),
        high=of.of(row.high, math.nan),
        numba=file.setting.get("numba", ""),
        setting=tuple(setting.items()),
        former=of.former,
    )


def levels(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """Return the levels that asv's step detection finds, each as (first place, one behind the last).

    asv fits a piecewise constant function by least absolute deviations, and weighs the number of pieces against the fit
    (Friedrich et al. 2008, Complexity penalized M-estimation). It says nothing of how certain a step is. None is a
    value that is missing; it may lie in a run.
    """
    from asv.step_detect import detect_steps

    return [(first, behind) for first, behind, *_ in detect_steps(list(values))]
