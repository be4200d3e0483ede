"""The process that this machine's workers are forked from.

It imports what takes seconds to import, once, while the process that asks for workers does the same; then it waits, and
a worker is there at once. It does nothing in parallel itself: a forked child cannot use threads that were started
before it.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..machine import allocator

# Nothing of this package's: in the folder where one stands may lie another version of it.
_IMPORTED = ["torch", "torch._dynamo", "torchvision.datasets", "numba"]


def begin() -> None:
    """Start the fork server, unless it runs, without waiting for it."""
    if _exists():
        from multiprocessing import forkserver  # which cannot be imported where there is none

        multiprocessing.set_forkserver_preload(_IMPORTED)
        with allocator.pinned(), _without_interrupts():
            forkserver.ensure_running()


def context() -> multiprocessing.context.BaseContext:
    """Return the context for executors whose workers come from the server.

    Where the system has no such thing, they are started from nothing.
    """
    begin()
    return multiprocessing.get_context("forkserver" if _exists() else "spawn")


def _exists() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in processes that are started within the block, since their parent handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
