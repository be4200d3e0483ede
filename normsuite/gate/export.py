"""A folder of a commit, written as git has stored it: no attribute, filter or line end changes a byte."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import NormsuiteError
from ..files.git import Git

_FILE, _EXECUTABLE, _LINK = "100644", "100755", "120000"
_ALGORITHMS = {40: "sha1", 64: "sha256"}


class Entry(NamedTuple):
    """A file or link.

    Attributes:
        mode: git's.
        digest: git's name for its content.
        path: within the folder.
    """

    mode: str
    digest: str
    path: PurePosixPath


def listed(git: Git, digest: str) -> list[Entry]:
    """Return the entries of the folder of that digest.

    Raises:
        NormsuiteError: something that is neither a file nor a link, or has a name that leads out of the folder.
    """
    entries = []
    for line in git.bytes("ls-tree", "-r", "-z", "--full-tree", digest).split(b"\0"):
        if not line:
            continue
        kind, _, name = line.partition(b"\t")
        mode, _, content = kind.decode().split()
        path = PurePosixPath(os.fsdecode(name))
        if mode not in (_FILE, _EXECUTABLE, _LINK):
            raise NormsuiteError(
                f"{str(path)!r} is a submodule: its files are in no commit here, and cannot be exported"
            )
        if path.is_absolute() or {"..", ".git", ""} & set(path.parts):
            raise NormsuiteError(f"{str(path)!r} leads out of the folder that is exported")
        entries.append(Entry(mode, content, path))
    return entries


def write(git: Git, entries: Sequence[Entry], folder: Path) -> None:
    """Write the entries into a folder; symbolic links last and as they are, so that nothing is written through one.

    Raises:
        OSError: it cannot be written.
        NormsuiteError: a file cannot be had, as in a clone that has not fetched it.
    """
    folder.mkdir(parents=True)
    content = _contents(git, entries)
    for entry in sorted(entries, key=lambda entry: entry.mode == _LINK):
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == _LINK:
            path.symlink_to(os.fsdecode(content[entry.digest]))
        else:
            path.write_bytes(content[entry.digest])
            path.chmod(0o755 if entry.mode == _EXECUTABLE else 0o644)


def _contents(git: Git, entries: Sequence[Entry]) -> dict[str, bytes]:
    names = list(dict.fromkeys(entry.digest for entry in entries))
    said, found, at = git.bytes("cat-file", "--batch", given=names), {}, 0
    for name in names:
        end = said.index(b"\n", at)
        header = said[at:end].split()
        if len(header) != 3:
            raise NormsuiteError(f"{name}: git has no such file here ({said[at:end].decode(errors='replace')})")
        size = int(header[2])
        found[name] = said[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def is_whole(folder: Path, entries: Sequence[Entry]) -> bool:
    """Return whether the folder holds each entry as git has it, and nothing else but what Python compiles."""
    try:
        if not all(_digest(folder / entry.path, entry) == entry.digest for entry in entries):
            return False
        expected = {folder / entry.path for entry in entries}
        return all(path in expected or path.parent.name == "__pycache__" for path in _files(folder))
    except OSError:
        return False


def _files(folder: Path):
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        yield from (Path(root) / name for name in (*files, *links))


def _digest(path: Path, entry: Entry) -> str | None:
    found = path.lstat()
    if entry.mode == _LINK:
        content = os.fsencode(os.readlink(path)) if stat.S_ISLNK(found.st_mode) else None
    else:
        content = path.read_bytes() if stat.S_ISREG(found.st_mode) else None
    if content is None:
        return None
    algorithm = hashlib.new(_ALGORITHMS[len(entry.digest)], usedforsecurity=False)
    algorithm.update(b"blob %d\0" % len(content))
    algorithm.update(content)
    return algorithm.hexdigest()
