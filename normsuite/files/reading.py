"""Files that others wrote: regular ones only, read up to a size, refused with a reason."""

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError

LIMIT = 256 * 2**20
"""Bytes; no record or setting is nearly as long."""

_LONG_NUMBER = re.compile(r"(?<![\"\w.])-?\d{301,}")
_ESCAPED = re.compile(r"\\u(?:00[01]|007[fF]|00[89]|[dD][89a-fA-F]|20[0-2]|206)")
_SHOWN = 3


class Unreadable(DataError):
    """A file that cannot be used, and why.

    Attributes:
        file: its name, printable.
        reason: what is wrong with it, without its name.
        damaged: its content is what is wrong; else it could not be read at all, and may be whole.
    """

    def __init__(self, file: str, reason: str, *, damaged: bool = True):
        self.file, self.reason, self.damaged = printable(file), reason, damaged
        super().__init__(f"{self.file}: {reason}")

    def __reduce__(self):
        return _unreadable, (self.file, self.reason, self.damaged)


def _unreadable(file: str, reason: str, damaged: bool) -> Unreadable:
    return Unreadable(file, reason, damaged=damaged)


def printable(text: str) -> str:
    """Return the text with every character that a terminal may take for a command, or cannot show, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """Return what a regular file holds; nothing else is opened for longer than it takes to see what it is.

    Raises:
        Unreadable: it is no regular file, too large, or cannot be read.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            kind = os.fstat(handle).st_mode
            if stat.S_ISDIR(kind):
                raise Unreadable(path.name, "is a folder", damaged=False)
            if not stat.S_ISREG(kind):
                raise Unreadable(path.name, "is no regular file", damaged=False)
            with open(handle, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(handle)
    except ValueError as error:  # a null character in its name
        raise Unreadable(path.name, str(error), damaged=False) from None
    except OSError as error:
        if path.is_symlink() and not path.exists():
            raise Unreadable(path.name, "is a link that leads nowhere", damaged=False) from None
        raise Unreadable(path.name, f"cannot be read ({error.strerror or error})", damaged=False) from None
    if len(content) > limit:
        raise Unreadable(path.name, f"is longer than {limit >> 20} MiB", damaged=False)
    return content


def read_text(path: Path, limit: int = LIMIT) -> str:
    """Return a text in UTF-8, without the byte order mark that some editors put before it.

    Raises:
        Unreadable: as `read_bytes`, or it is in another encoding.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(path.name, f"is no UTF-8 ({error.reason} at byte {error.start})") from None


def read_json(path: Path) -> object:
    """Return the JSON value in a file, with NaN and infinities as Python's json has them, and all text printable.

    Raises:
        Unreadable: as `read_text`, or as `json_value`.
    """
    text = read_text(path)
    return printable_value(json_value(text, path.name), text, path.name)


def json_value(text: str, name: str) -> object:
    """Return the JSON value in a text, as it is.

    Raises:
        Unreadable: it is no JSON, nested too deeply, or holds a number of hundreds of digits; names that file.
    """
    if _LONG_NUMBER.search(text):
        raise Unreadable(name, "holds a number of more than 300 digits")
    try:
        return json.loads(text)
    except RecursionError:
        raise Unreadable(name, "is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(name, f"is no JSON ({_of_json(text) or getattr(error, 'msg', error)})") from None


def printable_value(value: Any, text: str, name: str) -> Any:
    """Return the value with all text printable.

    Args:
        value: a JSON value.
        text: that it was read from; where nothing in it has to be escaped, the value is not looked through.
        name: of the file, for the error.

    Raises:
        Unreadable: it is nested too deeply.
    """
    try:
        return _printable(value) if _ESCAPED.search(text) or not _plain(text) else value
    except RecursionError:
        raise Unreadable(name, "is nested too deeply") from None


def read_toml(path: Path) -> dict:
    """Return the settings in a TOML file.

    Raises:
        Unreadable: as `read_text`, or it is no TOML.
    """
    text = read_text(path, 2**20)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable(path.name, "is nested too deeply") from None
    except ValueError as error:  # of tomllib, and of dates and numbers that Python cannot hold
        raise Unreadable(path.name, f"is no TOML ({printable(str(error))})") from None


def _plain(text: str) -> bool:
    return (text.isascii() and "\x7f" not in text) or text.replace("\n", "").replace("\r", "").replace(
        "\t", ""
    ).isprintable()


def _of_json(text: str) -> str | None:
    """Return what a text that is no JSON is instead, where that is easily told."""
    if not text.strip():
        return "it is empty"
    if not text.strip("\0"):
        return "it holds zeros alone"
    if text.startswith("<<<<<<<"):
        return "it holds a merge conflict"
    return (
        "it is a pointer of Git LFS: git lfs pull gets the file" if text.startswith("version https://git-lfs") else None
    )


def _printable(value):
    if isinstance(value, str):
        return printable(value) if "\n" not in value else "\n".join(map(printable, value.split("\n")))
    if isinstance(value, dict):
        return {printable(k): _printable(v) for k, v in value.items()}
    return [_printable(v) for v in value] if isinstance(value, list) else value


def files(folder: Path, suffix: str | tuple[str, ...] = ".json") -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the files of those suffixes under a folder, by name, and what cannot be looked into, with the reason.

    An absent folder has none. Links to folders are not followed.
    """
    found, refused = [], []

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            name = printable(Path(error.filename or folder).name)
            refused.append((name, f"the folder cannot be read ({error.strerror or error})"))

    for root, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        refused += [(printable(name), "is a folder") for name in folders if name.endswith(suffix)]
        found += [Path(root, name) for name in sorted(names) if name.endswith(suffix)]
    return found, refused


def summed(refused: Iterable[tuple[str, str]], one: str, several: str) -> list[str]:
    """Return a note for each reason, with how many files have it, and the names of the first.

    Args:
        refused: (file, reason) of each.
        one, several: what they are called, such as "a result" and "results".
    """
    by_reason: dict[str, list[str]] = {}
    for file, reason in refused:
        by_reason.setdefault(reason, []).append(printable(file))
    notes = []
    for reason, files in by_reason.items():
        count = f"{len(files)} {several}" if len(files) > 1 else one
        notes.append(f"{count} left out: {reason} ({first_of(files)})")
    return notes


def first_of(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
