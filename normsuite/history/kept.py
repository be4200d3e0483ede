"""What was read of files before, in the user's own cache: of a thousand of asv's files, one is new."""

import hashlib
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

KEPT_DAYS = 30
"""What nobody has read for so long is removed."""


class Kept:
    """Of one folder; a context, which writes what is new when it ends. Where nothing can be kept, all is read.

    Args:
        folder: whose files they are.
        depends: what else a file's meaning depends on; other bytes, another cache.
    """

    def __init__(self, folder: Path, depends: Iterable[bytes]):
        digest = hashlib.sha256(str(folder.resolve()).encode())
        for each in depends:
            digest.update(hashlib.sha256(each).digest())
        self._source = folder
        self._all = user_cache_path("normsuite") / "history" / "read"
        self._folder = self._all / digest.hexdigest()[:24]
        self._parts: dict[str, dict] = {}
        self._used: dict[str, dict] = {}
        self._changed: set[str] = set()

    def __enter__(self) -> "Kept":
        return self

    def of(self, path: Path, read: Callable[[], object]) -> object:
        """What was read of that file, if it is as large and as old as it was; or what is read now.

        Args:
            path: within the folder.
            read: what reads it.
        """
        found = (self._source / path).stat()
        state = (found.st_size, found.st_mtime_ns)
        # A part each for the first digits of commits: a new file changes one part, not all.
        part = hashlib.sha256(path.name.encode()).hexdigest()[0]
        if part not in self._parts:
            self._parts[part] = self._load(part)
        before = self._parts[part].get(str(path))
        if before is None or before[0] != state:
            before = (state, read())
            self._changed.add(part)
        self._used.setdefault(part, {})[str(path)] = before
        return before[1]

    def __exit__(self, *error) -> None:
        if error == (None, None, None):
            with suppress(OSError):
                self._write()

    def _load(self, part: str) -> dict:
        # Whatever a damaged file makes of it: it is written again.
        with suppress(Exception):
            found = pickle.loads((self._folder / part).read_bytes())
            if isinstance(found, dict):
                return found
        return {}

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for part in self._changed:
            # In a folder of its own, of which nothing is left if this is interrupted.
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".part-") as aside:
                written = Path(aside) / part
                written.write_bytes(pickle.dumps(self._used[part], protocol=pickle.HIGHEST_PROTOCOL))
                written.replace(self._folder / part)
        os.utime(self._folder)
        forget(self._all)


def forget(all_of_them: Path) -> None:
    """Remove from that folder what was last written, or marked as used, more than `KEPT_DAYS` ago."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for each in all_of_them.iterdir():
        if each.stat().st_mtime < oldest:
            if each.is_dir():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
