"""Files of many records: one JSON value a line with its name, compressed; the same records give the same bytes.

A command writes a file for each record, since it may be ended at any time. What it left can be kept as one file, which
is read like the folder that it was made of.
"""

import io
import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..files import reading

SUFFIX = ".jsonl.xz"


class Member(NamedTuple):
    """A line.

    Attributes:
        name: of the file that it was, without its suffix.
        value: what that held.
        text: the line.
    """

    name: str
    value: object
    text: str


def packed(members: Iterable[tuple[str, object]]) -> bytes:
    """Return the compressed lines, by name.

    Args:
        members: names and JSON values.
    """
    lines = [
        json.dumps({"name": name, "record": value}, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        for name, value in sorted(members, key=lambda member: member[0])
    ]
    return lzma.compress("".join(lines).encode(), check=lzma.CHECK_SHA256, preset=9 | lzma.PRESET_EXTREME)


def members(path: Path, limit: int = reading.LIMIT) -> Iterator[Member]:
    """Yield what the lines of such a file hold.

    Raises:
        Unreadable: it cannot be read, is longer than the limit once it is unpacked, is no such file, or is damaged;
            nothing of a damaged file is used, since the compression checks the whole.
    """
    content = reading.read_bytes(path, limit)
    try:
        unpacked = lzma.LZMADecompressor(memlimit=2**28)
        whole = unpacked.decompress(content, max_length=limit + 1)
        if len(whole) > limit:
            raise reading.Unreadable(path.name, f"holds more than {limit >> 20} MiB", damaged=False)
        if not unpacked.eof or unpacked.unused_data:
            raise reading.Unreadable(path.name, "is cut off, or has something behind its end")
        text = whole.decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise reading.Unreadable(path.name, f"is no whole xz file ({error})") from None
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        found = reading.json_value(line, f"{path.name}, line {number}")
        if not isinstance(found, dict) or "record" not in found or not isinstance(found.get("name"), str):
            raise reading.Unreadable(path.name, f"line {number} is no named record")
        yield Member(found["name"], found["record"], line)
