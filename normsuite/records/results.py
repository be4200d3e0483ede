"""Records of measurements: one JSON value a run, written once and whole; what cannot be read has a reason. No torch.

A record says what was measured, with which settings, the raw samples, and everything that the numbers depend on. It
names no host and no folder.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError
from ..files import reading
from ..files.writing import to_json, write_text
from . import compact
from .provenance import commit, source_digest

SCHEMA = 1
"""Version of the record's layout. Readers take every version up to this one."""

SUFFIXES = (".json", compact.SUFFIX)
"""Suffixes of files of one record, and of many."""


def digest(value: object) -> str:
    """Return a short name for a JSON value: the same value, the same name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def make_record(
    what: str, case: dict, samples: object, *, environment: dict, seeds: list[int], **further: object
) -> dict:
    """Return a record of one run.

    Args:
        what: the kind of measurement, such as "study".
        case: every setting that was chosen.
        samples: the raw values.
        environment: as `provenance.environment` returns it.
        seeds: the seeds used.
        further: what else the numbers depend on, by name.
    """
    return {
        **further,
        "schema": SCHEMA,
        "what": what,
        "case": case,
        "samples": samples,
        "seeds": seeds,
        "commit": commit(),
        "source": source_digest(),
        "environment": environment,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_record(folder: Path, name: str, record: dict) -> Path:
    """Store a record under that name; what was stored before under another name stays.

    Raises:
        OutputError: it could not be written.
        ArgumentError: the name is none of a file in that folder.
    """
    content = json.loads(to_json(record, None))
    content.pop("digest", None)
    # A value that changes later is damage then, however likely it looks.
    return write_value(folder, name, {**record, "digest": digest(content)})


def write_value(folder: Path, name: str, value: object) -> Path:
    """Store a JSON value under that name, as it is.

    Raises:
        OutputError: it could not be written.
        ArgumentError: the name is none of a file in that folder.
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ArgumentError("name", name, "is no name of a file in a folder")
    return write_text(folder / f"{name}.json", to_json(value) + "\n")


@dataclass
class Records:
    """Records read from a folder, and the files that could not be read, with the reason.

    Attributes:
        good: in the order of their files' names.
        names: of the files of these.
        damaged: file name and reason.
    """

    good: list[dict] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict]:
        return iter(self.good)


def read_record(path: Path) -> dict:
    """Return a record, of this or any earlier schema, checked.

    Args:
        path: of a record, or of a compact file of a single one.

    Raises:
        ArgumentError: it is damaged, or of a newer schema; the message says which.
        DataError: it cannot be read at all; it may be whole.
    """
    name = reading.printable(path.name)
    try:
        found = list(_values(path))
        if len(found) != 1:
            raise ArgumentError("record", name, f"has {len(found)} records, not one")
        ((_, value, text),) = found
        if (reason := _problem(value)) is not None:
            raise ArgumentError("record", name, reason)
        return _unsealed(value, text, name)
    except reading.Unreadable as error:
        if error.damaged:
            raise ArgumentError("record", error.file, f"is damaged ({error.reason})") from None
        raise DataError(f"record {error.file}: {error.reason}") from None


NO_RECORD = "is damaged (lacks schema, what"
"""Beginning of the reason for a JSON file that is no record at all."""


def read_records(folder: Path, what: str) -> Records:
    """Return all records of that kind under a folder, in the order of their files; an absent folder has none.

    A folder may hold records, compact files of them, or both.
    """
    records = Records()
    paths, refused = reading.files(folder, SUFFIXES)
    records.damaged += [(name, f"record {name}: {reason}") for name, reason in refused]
    for path in sorted(paths):
        try:
            for name, value, text in list(_values(path)):  # of a damaged file nothing is used
                if (reason := _problem(value)) is not None:
                    records.damaged.append((name, reason))
                elif value["what"] == what:
                    records.good.append(_unsealed(value, text, name))
                    records.names.append(name)
        except reading.Unreadable as error:
            reason = f"is damaged ({error.reason})" if error.damaged else f"record {error.file}: {error.reason}"
            records.damaged.append((error.file, reason))
    return records


def different(records: Iterable[dict]) -> list[dict]:
    """Return the records without copies, such as a file beside the compact file that it was packed into."""
    return list({digest(record): record for record in records}.values())


def _values(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Yield what a file holds: names, JSON values, and the texts of these."""
    name = reading.printable(path.name)
    if path.name.endswith(compact.SUFFIX):
        for member in compact.members(path):
            yield f"{reading.printable(member.name)} in {name}", member.value, member.text
    else:
        text = reading.read_text(path)
        yield name, reading.json_value(text, path.name), text


def _problem(value: Any) -> str | None:
    """Return why it is no record that can be used, or None."""
    from . import schema  # with msgspec, which asv's environments do without: they write records, and read none

    needed = ("schema", "what", "case", "samples", "environment")
    missing = [name for name in needed if name not in value] if isinstance(value, dict) else list(needed)
    if missing:
        return f"is damaged (lacks {', '.join(missing)})"
    if type(value["schema"]) is not int or value["schema"] > SCHEMA:
        return f"has schema {value['schema']!r}; this version reads up to {SCHEMA}"
    if "digest" in value:  # earlier records have none
        content = {name: of for name, of in value.items() if name != "digest"}
        if value["digest"] != digest(content):
            return f"is damaged ({schema.problem(value) or 'its content is not that of its digest'})"
    reason = schema.problem(value)
    return None if reason is None else f"is damaged ({reason})"


def _unsealed(value: dict, text: str, name: str) -> dict:
    content = {name: of for name, of in value.items() if name != "digest"}
    return reading.printable_value(content, text, name)
