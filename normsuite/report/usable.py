"""Records in a folder that can be used, with notes on the others. Imports no torch."""

from pathlib import Path

from ..files import reading
from ..records import kinds, results


def usable(source: Path, kind: kinds.RecordKind, notes: list[str]) -> list[dict]:
    """Return the records of that kind under the source, with a note on those that are damaged."""
    return usable_in(source / kind.folder, kind, notes)


def usable_in(folder: Path, kind: kinds.RecordKind, notes: list[str]) -> list[dict]:
    """Return the records of that kind in a folder, with a note on those that are damaged."""
    found = results.read_records(folder, kind.what)
    notes.extend(_named(found.damaged))
    return found.good


def _named(damaged: list[tuple[str, str]]) -> list[str]:
    """Return a note for each reason, with the first files that have it."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in damaged:
        by_reason.setdefault(reason, []).append(name)
    notes = []
    for reason, names in by_reason.items():
        if len(names) == 1:
            notes.append(reason if reason.startswith("record ") else f"record {names[0]} {reason}")
        else:
            notes.append(f"{len(names)} records ({reading.first_of(names)}): {reason}")
    return notes


def written(records: list[dict]) -> str:
    """Return when the last of those records was written, as ISO 8601; "" where none says it."""
    return max(record.get("written", "") for record in records)
