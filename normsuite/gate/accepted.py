"""Regressions that a project accepts: a file that says which, why, and until when."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ArgumentError, DataError
from ..files.reading import read_toml

FILE = "gate-accepted.toml"
"""Name of the file beside the project's pyproject.toml; each `[[accepted]]` has the fields of `Accepted`."""


@dataclass(frozen=True)
class Accepted:
    """One regression that is known.

    Attributes:
        cell: a pattern of cells' names, such as "GroupNorm/numba/*/step".
        metric: a pattern of metrics' names, such as "time" or "* bytes".
        reason: why it is accepted.
        until: the last day on which it is.
        at_most: the largest ratio that is accepted; any where left out.
    """

    cell: str
    metric: str
    reason: str
    until: date
    at_most: float | None = None

    def as_dict(self) -> dict:
        """Return the entry as a dictionary for JSON, with the day as "YYYY-MM-DD"."""
        return {**asdict(self), "until": self.until.isoformat()}

    @classmethod
    def from_dict(cls, found: dict) -> "Accepted":
        """Return the entry that `as_dict` describes."""
        return cls(**{**found, "until": date.fromisoformat(found["until"])})

    def covers(self, cell: str, metric: str, ratio: float | None, today: date) -> bool:
        """Return whether that regression is accepted today."""
        small = self.at_most is None or (ratio is not None and ratio <= self.at_most)
        return self.names(cell, metric) and small and today <= self.until

    def names(self, cell: str, metric: str) -> bool:
        """Return whether the patterns match the names of a cell and a metric, whatever the day and the ratio."""
        return _matches(cell, self.cell) and _matches(metric, self.metric)


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern is that name, which may have brackets, or matches it."""
    return name == pattern or fnmatchcase(name, pattern)


def read(path: Path) -> list[Accepted]:
    """Return what that file accepts.

    Raises:
        ArgumentError: it cannot be read, or an entry lacks a field, has one more, or one of another type.
    """
    try:
        entries = read_toml(path).get("accepted", [])
    except DataError as error:
        raise ArgumentError("accepted", str(path), f"cannot be read ({error})") from None
    if not isinstance(entries, list):
        raise ArgumentError("accepted", str(path), "has no list of [[accepted]]")
    return [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _entry(path: Path, number: int, entry: object) -> Accepted:
    here = f"{path.name}, entry {number}"
    known = [field.name for field in fields(Accepted)]
    if not isinstance(entry, dict):
        raise ArgumentError("accepted", here, "is no table")
    if unknown := entry.keys() - set(known):
        raise ArgumentError("accepted", here, f"has the unknown field {min(unknown)!r}; known are {', '.join(known)}")
    if missing := [name for name in known[:4] if name not in entry]:
        raise ArgumentError("accepted", here, f"lacks {', '.join(missing)}")
    for name in ("cell", "metric", "reason"):
        if not isinstance(entry[name], str) or not entry[name].strip():
            raise ArgumentError("accepted", here, f"{name} = {entry[name]!r}: must be text")
    if type(entry["until"]) is not date:
        raise ArgumentError("accepted", here, f"until = {entry['until']!r}: must be a day such as 2030-01-31")
    at_most = entry.get("at_most", 1.0)
    if isinstance(at_most, bool) or not isinstance(at_most, int | float) or not 0 < at_most < math.inf:
        raise ArgumentError("accepted", here, f"at_most = {entry['at_most']!r}: must be a ratio such as 1.1")
    return Accepted(**entry)


def notes(entries: Sequence[Accepted], today: date) -> list[str]:
    """Return a line for each that has expired."""
    return [
        f"accepted until {entry.until}, and no longer: {entry.cell}, {entry.metric} ({entry.reason})"
        for entry in entries
        if today > entry.until
    ]
