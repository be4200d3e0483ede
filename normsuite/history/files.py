"""asv's files, format 2, one at a time: each row is checked when it is read, and refused alone, with a reason."""

import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..files import reading
from ..files.reading import Unreadable, printable, read_json

FORMAT = 2
NO_RESULTS = ("benchmarks.json", "machine.json")

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OF_THE_MACHINE = ("machine", "os", "arch", "cpu", "num_cpu", "ram", "python")
_NEVER_NEGATIVE = ("time", "timeraw", "mem", "peakmem")
"""Types of asv's whose values are times and sizes."""

_LARGEST = 1e18  # seconds or bytes
_LATEST_MS = 10**14  # in the year 5138


class Listed(NamedTuple):
    """A benchmark as `benchmarks.json` lists it.

    Attributes:
        names: of its parameters.
        params: the choices of each, as text.
        unit, version, type: as asv has them, "" where nothing says.
    """

    names: tuple[str, ...]
    params: tuple[tuple[str, ...], ...]
    unit: str
    version: str
    type: str


class SeriesRow(NamedTuple):
    """One benchmark in one file; see `adapter.AsvResult`.

    Attributes:
        params: the choices of each parameter; the values are those of their product.
    """

    benchmark: str
    version: str
    recorded: float
    params: list[list[str]]
    values: list[float | None]
    samples: list[list[float]]
    low: list[float]
    high: list[float]


@dataclass
class File:
    """The content of one file.

    Attributes:
        date: seconds since 1970; None where nothing says.
        machine: its processor and cores.
        setting: what else decides about the values, by name: python, requirements, and variables behind "env-".
        refused: why rows, or all of it, are left out.
        is_unread: it could not be read at all, which says nothing of its content.
    """

    commit: str = ""
    date: float | None = None
    machine: str = ""
    setting: dict[str, str] = field(default_factory=dict)
    rows: list[SeriesRow] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    is_unread: bool = False

    def plain(self) -> list:
        """Return it as a JSON value."""
        return [self.commit, self.date, self.machine, self.setting, self.rows, self.refused, self.is_unread]

    @classmethod
    def of_plain(cls, value: list) -> "File":
        """Return the file that `plain` describes."""
        commit, date, machine, setting, rows, refused, is_unread = value
        return cls(commit, date, machine, setting, [SeriesRow(*row) for row in rows], refused, is_unread)


class _Damaged(Exception):
    """A row or a file that is left out; the message says why."""


def listed(path: Path) -> tuple[dict[str, Listed], list[str]]:
    """Return the benchmarks in asv's list of them, and why others are left out.

    Raises:
        DataError: the list itself cannot be used.
    """
    try:
        found = _of_format(read_json(path))
    except _Damaged as damaged:
        raise Unreadable(path.name, str(damaged)) from None
    benchmarks, refused = {}, []
    for name, of in found.items():
        if name != "version":
            try:
                benchmarks[name] = _listed(of)
            except _Damaged as damaged:
                refused.append(str(damaged))
    return benchmarks, refused


def _listed(of: object) -> Listed:
    if not isinstance(of, dict):
        raise _Damaged("a benchmark is no object")
    params = _params(of.get("params"))
    names = of.get("param_names")
    names = [] if names is None else names
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise _Damaged("the names of a benchmark's parameters are no list of texts")
    if len(names) != len(params) or len(set(names)) < len(names):
        names = [f"parameter {number}" for number in range(1, len(params) + 1)]
    texts = [of.get(key) if of.get(key) is not None else "" for key in ("unit", "version", "type")]
    if not isinstance(texts[0], str):
        raise _Damaged("a benchmark's unit is no text")
    return Listed(tuple(names), tuple(map(tuple, params)), texts[0], str(texts[1]), str(texts[2]))


def paths(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the files of results under asv's folder, and what cannot be looked into, with the reason."""
    found, refused = reading.files(folder)
    return [path for path in found if path.name not in NO_RESULTS], refused


def machine_problem(folder: Path) -> str | None:
    """Return why asv itself passes over the results in that folder; None where it does not."""
    try:
        found = read_json(folder / "machine.json")
    except DataError as error:
        return getattr(error, "reason", str(error))
    if not isinstance(found, dict) or not isinstance(found.get("machine"), str):
        return "names no machine"
    return None


def read(path: Path, types: dict[str, str]) -> File:
    """Return what asv has recorded in that file; what cannot be used is refused with a reason, and never raises.

    Args:
        path: of the file.
        types: of benchmarks, by name, as asv has them; what is no time and no size may be negative.
    """
    try:
        found = read_json(path)
        return _file(found, types)
    except Unreadable as error:
        return File(refused=[error.reason], is_unread=not error.damaged)
    except _Damaged as damaged:
        return File(refused=[str(damaged)])


def state(path: Path) -> tuple[int, int, int] | None:
    """Return size, time of change and inode of a regular file; None for anything else."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _of_format(found: object) -> dict:
    if not isinstance(found, dict):
        raise _Damaged("is no file of asv's (no object)")
    version = found.get("version")
    if type(version) is not int:
        raise _Damaged("is no file of asv's (has no version of its format)")
    if version < FORMAT:
        raise _Damaged(f"has asv's older format {version}: `asv update` makes format {FORMAT} of it")
    if version > FORMAT:
        raise _Damaged(f"has asv's format {version}, which is newer than {FORMAT}")
    return found


def _file(value: object, types: dict[str, str]) -> File:
    found = _of_format(value)
    for name in ("commit_hash", "params", "results", "result_columns"):
        if name not in found:
            raise _Damaged(f"lacks {name}")
    commit, params, rows, columns = (found[k] for k in ("commit_hash", "params", "results", "result_columns"))
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _Damaged("commit_hash is no commit")
    if not isinstance(params, dict):
        raise _Damaged("params is no object")
    if not isinstance(rows, dict):
        raise _Damaged("results is no object")
    if not rows:
        raise _Damaged("has no results")
    if not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
        raise _Damaged("result_columns is no list of texts")
    if "result" not in columns or len(set(columns)) < len(columns):
        raise _Damaged("result_columns names no result, or something twice")
    date = found.get("date")
    if date is not None and not _is_number(date):
        raise _Damaged("date is no number")
    if date is not None and not 0 <= date < _LATEST_MS:
        raise _Damaged("date is out of range")
    file = File(commit, None if date is None else date / 1000, _machine(params), _setting(found, params))
    for name, row in rows.items():
        try:
            of = _row(name, dict(zip(columns, row, strict=False)) if isinstance(row, list) else None, types.get(name))
        except _Damaged as damaged:
            file.refused.append(f"a benchmark's {damaged}")
            continue
        if of is not None:
            file.rows.append(of)
    return file


def _machine(params: dict) -> str:
    cpu = str(params.get("cpu") or "").strip()
    if not cpu:  # two kinds of machines whose processor is not known are still two
        known = " ".join(str(params[name]) for name in ("arch", "ram") if params.get(name))
        cpu = f"unknown processor ({known})" if known else "unknown processor"
    return f"{cpu}, {params.get('num_cpu') or '?'} cores"


def _setting(found: dict, params: dict) -> dict[str, str]:
    setting = {"python": str(params.get("python") or found.get("python") or "")}
    requirements = found.get("requirements")
    variables = found.get("env_vars")
    for source, prefix in ((requirements, ""), (params, ""), (variables, "env-")):
        if isinstance(source, dict):
            for name, value in source.items():
                if name not in _OF_THE_MACHINE:
                    # asv writes pip's requirements as "pip+name", and says nothing of a version that is not pinned.
                    setting[prefix + name.removeprefix("pip+")] = "" if value is None else str(value)
        elif source is not None:
            raise _Damaged("requirements or env_vars is no object")
    return {name: value for name, value in sorted(setting.items()) if value}


def _row(name: str, of: dict | None, type_: str | None) -> SeriesRow | None:
    if of is None:
        raise _Damaged("row is no list")
    if not of:
        raise _Damaged("row is empty")  # asv writes when it was begun, also where there is no result
    values = of.get("result")
    if values is None:
        return None  # it could not be built: there is nothing
    if not isinstance(values, list):
        raise _Damaged("values are no list")
    params = _params(of.get("params"))
    count = math.prod(map(len, params))
    if count != len(values):
        raise _Damaged("number of values is not the number of choices of its parameters")
    for value in values:
        if value is not None and not _is_number(value):
            raise _Damaged("value is no number")
        if type_ in _NEVER_NEGATIVE and value is not None and value < 0:
            raise _Damaged("value is a negative time or size")
        if type_ in _NEVER_NEGATIVE and value is not None and value > _LARGEST:
            raise _Damaged("value is no time or size")
    recorded, version = of.get("started_at"), of.get("version")
    if recorded is not None and not (_is_number(recorded) and math.isfinite(recorded) and recorded >= 0):
        raise _Damaged("started_at is no time")
    samples = list(_lists(of.get("samples"), count))
    low, high = ([*_numbers(of.get(key), count, key)] for key in ("stats_ci_99_a", "stats_ci_99_b"))
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise _Damaged("interval ends before it begins")
    floats = [None if value is None else float(value) for value in values]
    return SeriesRow(
        name, "" if version is None else str(version), float(recorded or 0), params, floats, samples, low, high
    )


def _params(found: object) -> list[list[str]]:
    if found is None:
        return []
    if not (isinstance(found, list) and all(isinstance(of, list) for of in found)):
        raise _Damaged("parameters are no list of lists")
    if not all(isinstance(choice, str) for of in found for choice in of):
        raise _Damaged("parameters are no texts")
    return [[_ADDRESS.sub("", choice) for choice in of] for of in found]


def _lists(found: object, count: int) -> Iterator[list[float]]:
    if found is None:
        yield from ([] for _ in range(count))
        return
    if not isinstance(found, list) or len(found) != count:
        raise _Damaged("number of lists of samples is not the number of its values")
    for of in found:
        if of is not None and not (isinstance(of, list) and all(map(_is_number, of))):
            raise _Damaged("samples are no numbers")
        yield of or []


def _numbers(found: object, count: int, name: str) -> Iterator[float]:
    if found is None:
        found = [None] * count
    if not isinstance(found, list) or len(found) != count:
        raise _Damaged("number of interval ends is not the number of its values")
    for of in found:
        if of is not None and not _is_number(of):
            raise _Damaged("interval is no number")
        yield math.nan if of is None else float(of)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(text: str) -> str:
    """Return a name from a file without what a terminal takes for a command, and without asv's quotes."""
    return printable(text).strip("'")
