"""The user's cache of texts, each with a digest that is verified when it is read; nothing where no folder is writable.

Whatever lies in it can be removed at any time, and is made again.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from ..errors import DataError, OutputError
from .reading import read_text

KEPT_DAYS = 30
"""Entries that were not used for so long are removed."""


def place(*names: str) -> Path | None:
    """Return that folder of the user's cache, which may not exist; None where the user has no place for one."""
    root = _root(os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))
    return None if root is None else root.joinpath(*names)


def folder(*names: str) -> Path | None:
    """Return that folder of the user's cache, made if need be; None where there is none that can be written to.

    A user without an account, without a home, or with one that cannot be written to, computes without a cache.
    """
    found = place(*names)
    if found is None:
        return None
    if found in _writable and found.is_dir():  # it may have been removed since
        return found
    try:
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            _writable.add(found)
            return found
    except OSError:
        return None


def filled(folder: Path, is_whole: Callable[[], bool], fill: Callable[[Path], object]) -> Path:
    """Return a folder that is whole: where it is not, another is filled beside it, and takes its name.

    So no process finds half of it, and one that fills it at the same time does no harm.

    Args:
        folder: whatever lies there is replaced.
        is_whole: returns whether it lies there as it should.
        fill: makes the folder that it is given, and all in it; what it raises is raised.

    Raises:
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not is_whole():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-", ignore_cleanup_errors=True) as part:
            made = Path(part) / "made"
            fill(made)
            if folder.exists():
                folder.rename(Path(part) / "before")
            try:
                made.rename(folder)
            except OSError:
                if not is_whole():  # else another process was faster
                    raise
    return folder


_writable: set[Path] = set()
"""Folders that could be written to when they were first asked for; what then cannot be stored is computed."""


@cache
def _root(cache_home: str | None, home: str | None) -> Path | None:
    """Return the folder for these variables, which decide where it lies."""
    try:
        found = user_cache_path("normsuite")
    except (KeyError, RuntimeError, OSError):  # the user has no account, or it says nothing of a home
        return None
    return found if found.is_absolute() else None


def folder_or_temporary() -> Path:
    """Return the user's cache, or where there is none, a folder of this user's that lasts until the machine restarts.

    Raises:
        OutputError: none can be made, or another user's lies in its place.
    """
    found = folder()
    if found is not None:
        return found
    user = os.getuid() if hasattr(os, "getuid") else 0
    place = Path(tempfile.gettempdir()) / f"normsuite-{user}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        state = place.lstat()
        if not stat.S_ISDIR(state.st_mode) or (hasattr(os, "getuid") and state.st_uid != user):
            raise OutputError(f"{str(place)!r} is not this user's folder: cannot keep anything there")
    except OSError as error:
        raise OutputError(f"cannot write {str(place)!r} ({error.strerror or error})") from None
    return place


def recall(path: Path, key: str) -> str | None:
    """Return the text that was stored there under that key, or None where there is none or it was changed.

    Args:
        key: what the text is of; another key's text in its place is not taken for it.
    """
    try:
        digest, _, text = read_text(path).partition("\n")
    except DataError:
        return None
    return text if digest == _digest(key, text) else None


def store(path: Path, key: str, text: str) -> None:
    """Store a text under that key, whole or not at all; where it cannot be, nothing happens.

    A pipe or a link in its place is replaced, and not written into: the cache holds files of this package's own alone.
    """
    from .writing import replace_text

    with suppress(OutputError):
        replace_text(path, f"{_digest(key, text)}\n{text}")


def _digest(key: str, text: str) -> str:
    found = hashlib.sha256(key.encode(errors="surrogateescape") + b"\0")
    found.update(text.encode())
    return found.hexdigest()


def mark_as_used(path: Path) -> None:
    """Set the time of last use of a file or folder to now, so that it is kept for another `KEPT_DAYS` days."""
    with suppress(OSError):
        os.utime(path)


def forget(all_of_them: Path) -> None:
    """Remove from that folder what was last written, or marked as used, more than `KEPT_DAYS` ago."""
    oldest = time.time() - KEPT_DAYS * 86_400
    with suppress(OSError):
        for each in all_of_them.iterdir():
            with suppress(OSError):  # another process's, which has its name, or is gone, by now
                if each.lstat().st_mtime < oldest:
                    if each.is_dir() and not each.is_symlink():
                        shutil.rmtree(each, ignore_errors=True)
                    else:
                        each.unlink(missing_ok=True)
