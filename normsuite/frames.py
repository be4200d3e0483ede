"""Records as rows and as pandas frames: `normsuite.read_records("reports").bench.to_frame()`. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from .errors import ArgumentError, UnsupportedError
from .records import kinds, results

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """The records of one kind.

    Attributes:
        what: the kind, such as "bench".
        records: as they are stored, in the order of their files.
        damaged: name and reason of each record in the folder that could not be read; other JSON is passed over.
    """

    what: str
    records: tuple[dict[str, Any], ...]
    damaged: tuple[tuple[str, str], ...]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        beside = f", {len(self.damaged)} files that cannot be read" if self.damaged else ""
        return f"{len(self)} records of {self.what}{beside}"

    def rows(self) -> list[Row]:
        """Return one row for each sample, with the settings that it was taken under."""
        return [row for record in self.records for row in _ROWS[self.what](record)]

    def to_frame(self) -> Any:
        """Return the rows as a pandas frame.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        return frame(self.rows())


class Recorded:
    """The records under a folder, by kind: `study`, `bench`, `gate` and `numerics`.

    Args:
        folder: such as reports; compact files of records are read too.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def __getattr__(self, name: str) -> Kind:
        if name not in _ROWS:
            raise AttributeError(f"no records of {name!r}; known are {', '.join(_ROWS)}")
        found = results.read_records(self._folder, name)
        damaged = ((file, reason) for file, reason in found.damaged if not reason.startswith(results.NO_RECORD))
        kind = Kind(name, tuple(found.good), tuple(damaged))
        self.__dict__[name] = kind  # read once
        return kind

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_ROWS})

    def __repr__(self) -> str:
        return "\n".join(repr(getattr(self, name)) for name in _ROWS)


def read_records(folder: str | Path) -> Recorded:
    """Return the records under a folder, each kind of which is read when it is first asked for.

    Args:
        folder: of records, such as "reports" or "reports/reference".

    Raises:
        ArgumentError: there is no such folder.

    >>> normsuite.read_records("reports").bench.to_frame()
    """
    if not isinstance(folder, str | Path) or not str(folder):
        raise ArgumentError("folder", folder, "must be the path of a folder")
    path = Path(folder)
    if not path.is_dir():
        raise ArgumentError("folder", str(folder), "is no folder")
    return Recorded(path)


def frame(rows: Sequence[Row] | Sequence[tuple[Any, ...]], columns: Sequence[str] | None = None) -> Any:
    """Return rows as a pandas frame.

    Raises:
        UnsupportedError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UnsupportedError("to_frame", "pandas", "is not installed: pip install pandas") from None
    return pandas.DataFrame(rows, columns=columns)


def _of_study(record: dict[str, Any]) -> Iterator[Row]:
    settings = {name: value for name, value in record["case"].items() if name not in ("epochs", "target")}
    for epoch in record["samples"]["epochs"]:
        yield {**settings, **{name: _number(value) for name, value in epoch.items()}}


def _of_bench(record: dict[str, Any]) -> Iterator[Row]:
    from .records import schema

    task = schema.of(record, schema.Bench)
    case = task.case
    settings = {name: getattr(case, name) for name in ("norm", "case", "mode", "activation", "dtype", "device")}
    timed = "wall" if case.device == "cpu" else "device"
    for process, found in enumerate(task.samples.processes, start=1):
        for clock, of_clock in ((timed, found.times_s), ("host", found.host_s)):
            for name, times in of_clock.items():
                for number, seconds in enumerate(times):
                    yield {
                        **settings,
                        "implementation": name,
                        "clock": clock,
                        "process": process,
                        "round": number,
                        "seconds": seconds,
                    }


def _of_gate(record: dict[str, Any]) -> Iterator[Row]:
    from .gate import summary
    from .gate.row import ERROR_RATE
    from .records import schema
    from .records.schema.gate import Gate

    case = schema.of(record, Gate).case
    for row in summary.rows(record):
        value, low, high = (None, None, None) if row.ratio is None else astuple(row.ratio)
        is_difference = row.metric == ERROR_RATE
        yield {
            "base_commit": case.base.commit,
            "head_commit": case.head.commit,
            "cell": row.cell,
            "metric": row.metric,
            "unit": row.unit,
            "base": row.base,
            "head": row.head,
            "ratio": None if is_difference else value,
            "difference": value if is_difference else None,
            "low": low,
            "high": high,
            "verdict": row.verdict,
            "values": row.values,
        }


def _of_numerics(record: dict[str, Any]) -> Iterator[Row]:
    case = record["case"]
    for row in record["samples"]:
        errors = {name: _number(row[name]) for name in ("output", "gradient")}
        settings = {name: case[name] for name in ("dtype", "device", "shape")}
        yield {**settings, "activation": case.get("activation") or "none", **row, **errors}


def _number(value: object) -> object:
    """Return "nan", "inf" and "-inf", which stand for numbers in JSON, as floats, and any other value as it is."""
    return float(value) if value in ("nan", "inf", "-inf") else value  # type: ignore[arg-type]


_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    kinds.STUDY.what: _of_study,
    kinds.BENCH.what: _of_bench,
    kinds.GATE.what: _of_gate,
    kinds.NUMERICS.what: _of_numerics,
}
"""How a record of each kind becomes rows."""
