"""A lock that gates on this machine take in turn, so that none measures while another's clock runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from ..errors import OutputError
from ..files import caches


class Lock:
    """The lock that gates of one user share; says once that it waits."""

    def __init__(self):
        self._has_waited = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock within the block.

        Raises:
            OutputError: it cannot be had.
        """
        path = caches.folder_or_temporary() / "gate.lock"
        lock = FileLock(path)
        try:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                self._say()
                lock.acquire()
        except OSError as error:
            raise OutputError(f"cannot lock {str(path)!r} ({error.strerror or error})") from None
        try:
            yield
        finally:
            lock.release()

    def _say(self) -> None:
        if not self._has_waited:
            self._has_waited = True
            print("normsuite: another gate is measuring on this machine: waiting for it", file=sys.stderr, flush=True)
