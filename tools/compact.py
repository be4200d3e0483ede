"""Keep the records of a command's run as one compressed file, or write them as files again.

    python -m tools.compact reports/study records.jsonl.xz
    python -m tools.compact --expand records.jsonl.xz reports/study

The compact file is read back before the command ends; nothing is removed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from normsuite.errors import NormsuiteError
from normsuite.files import reading, writing
from normsuite.records import compact, results


def pack(source: Path, target: Path, pattern: str = "*.json", without: Sequence[str] = ()) -> int:
    """Write records as one file, as they are but for samples that are to be left out; return how many there are.

    Args:
        source: a folder of records, as commands write them, or one of its files.
        target: the file.
        pattern: of names of files in the folder; others are left out.
        without: names of samples that are left out, such as "mistakes"; a note in each record says so.

    Raises:
        NormsuiteError: a record is damaged, two have the same name, or a file cannot be read or written.
    """
    members = {}
    for path in sorted(source.rglob(pattern)) if source.is_dir() else [source]:
        if path.stem in members:
            raise NormsuiteError(f"two records are called {path.stem}")
        members[path.stem] = reading.json_value(reading.read_text(path), path.name)
        if "schema" in members[path.stem]:  # else it is a summary
            results.read_record(path)
            members[path.stem] = _without(members[path.stem], without)
    writing.write_bytes(target, compact.packed(members.items()))
    if {member.name: member.value for member in compact.members(target)} != members:
        raise NormsuiteError(f"{target} does not hold what was to be written")
    return len(members)


def _without(record: dict, names: Sequence[str]) -> dict:
    """Return a record without those samples, where it has them."""
    left_out = [name for name in names if name in record["samples"]]
    if not left_out:
        return record
    samples = {name: of for name, of in record["samples"].items() if name not in left_out}
    notes = [*record.get("notes", ()), f"kept without {', '.join(left_out)}"]
    content = {**record, "samples": samples, "notes": notes}
    content.pop("digest", None)
    return {**content, "digest": results.digest(content)}


def expand(source: Path, folder: Path) -> int:
    """Write the records of a compact file into a folder, a file each; return how many there are.

    Raises:
        NormsuiteError: it is damaged, or a file cannot be written.
    """
    return sum(1 for member in compact.members(source) if results.write_value(folder, member.name, member.value))


def main() -> None:
    """Pack the records of a folder into a file, or expand such a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--expand", action="store_true", help="write files again")
    parser.add_argument("--pattern", default="*.json", help="names of the files that are taken")
    parser.add_argument("--without", action="append", default=[], metavar="SAMPLES", help="such as mistakes")
    given = parser.parse_args()
    try:
        arguments = (given.source, given.target)
        count = expand(*arguments) if given.expand else pack(*arguments, given.pattern, given.without)
    except NormsuiteError as error:
        sys.exit(f"{parser.prog}: {error}")
    print(f"{count} records: {given.target}")


if __name__ == "__main__":
    main()
