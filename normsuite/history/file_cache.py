"""A cache of what asv's files hold, by each file's state: only new files are parsed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from ..files import caches
from . import files


class FileCache:
    """A cache of one folder's files: a context manager that stores new entries at its end.

    Without a cache that can be written, all files are read.

    Args:
        folder: whose files they are.
        depends: what else a file's meaning depends on; other bytes, another cache.
    """

    def __init__(self, folder: Path, depends: Iterable[bytes]):
        digest = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape"))
        for each in depends:
            digest.update(hashlib.sha256(each).digest())
        self._source = folder
        self._name = digest.hexdigest()[:24]
        self._cache = caches.folder("history", "read")
        self._parts: dict[str, dict] = {}
        self._used: dict[str, dict] = {}
        self._changed: set[str] = set()

    def __enter__(self) -> "FileCache":
        return self

    def of(self, path: Path, read: Callable[[], list], keep: Callable[[list], bool]) -> list:
        """Return the cached result of reading a file, if its state is unchanged, and else the result of reading it now.

        Args:
            path: within the folder.
            read: what reads it; returns a JSON list.
            keep: whether that list is cached; what could not be read may be readable next time, in the same state.
        """
        found = files.state(self._source / path)
        if found is None:  # no regular file, or gone: the reader says why
            return read()
        state = list(found)
        # One part for each first hex digit of the digest of a file's name: a new file changes one part, not all.
        part = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[0]
        if part not in self._parts:
            self._parts[part] = self._load(part)
        before = self._parts[part].get(str(path))
        if before is None or before[0] != state:
            before = [state, read()]
            if not keep(before[1]):
                return before[1]
            self._changed.add(part)
        self._used.setdefault(part, {})[str(path)] = before
        return before[1]

    def __exit__(self, *error) -> None:
        if error == (None, None, None) and self._cache is not None:
            for part in self._changed:
                text = json.dumps(self._used[part], separators=(",", ":"))
                caches.store(self._cache / self._name / part, self._key(part), text)
            caches.mark_as_used(self._cache / self._name)
            caches.forget(self._cache)

    def _key(self, part: str) -> str:
        return f"{self._name} {part}"

    def _load(self, part: str) -> dict:
        if self._cache is None:
            return {}
        found = caches.recall(self._cache / self._name / part, self._key(part))
        return json.loads(found) if found is not None else {}
