"""Settings of glibc's memory allocator, for processes that train or measure.

By itself it gives large blocks back to the system and has them faulted in again, at one time and not at another, so
that the same call takes up to 1.7 × as long in one process as in the next. The settings are read when a process starts.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

PINNED = {"MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""Environment variables, in bytes: the heap is never trimmed, and blocks of less than 32 MiB are used again."""


@contextmanager
def pinned() -> Iterator[None]:
    """Set the allocator for processes that are started within the block; what the user has set stays."""
    missing = {name: value for name, value in PINNED.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
