"""Keep the records of a command's run as one compressed file, or write them as files again.

    python -m tools.compact reports/study records.jsonl.xz
    python -m tools.compact --expand records.jsonl.xz reports/study

The compact file is read back before the command ends; nothing is removed.
"""

import argparse
import sys
from pathlib import Path

from normsuite import compact, reading, results
from normsuite.errors import NormsuiteError


def pack(source: Path, target: Path, pattern: str = "*.json") -> int:
    """Write records as one file, as they are; return how many there are.

    Args:
        source: a folder of records, as commands write them, or one of its files.
        target: the file.
        pattern: of names of files in the folder; others are left out.

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
    results.write_bytes(target, compact.packed(members.items()))
    if {member.name: member.value for member in compact.members(target)} != members:
        raise NormsuiteError(f"{target} does not hold what was to be written")
    return len(members)


def expand(source: Path, folder: Path) -> int:
    """Write the records of a compact file into a folder, a file each; return how many there are.

    Raises:
        NormsuiteError: it is damaged, or a file cannot be written.
    """
    return sum(1 for member in compact.members(source) if results.write_value(folder, member.name, member.value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--expand", action="store_true", help="write files again")
    parser.add_argument("--pattern", default="*.json", help="names of the files that are taken")
    given = parser.parse_args()
    try:
        arguments = (given.source, given.target)
        count = expand(*arguments) if given.expand else pack(*arguments, given.pattern)
    except NormsuiteError as error:
        sys.exit(f"{parser.prog}: {error}")
    print(f"{count} records: {given.target}")


if __name__ == "__main__":
    main()
