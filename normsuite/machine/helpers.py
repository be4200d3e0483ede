"""A pool of processes on the cores that this one leaves, for parts of work of some milliseconds."""

import atexit
import gc
import importlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from . import lazy_imports, processor

MOST = 7
"""Helpers; more would take longer to start than they have to do."""


class Part:
    """Something to compute: by a helper, or here, where none has begun with it when it is asked for."""

    def __init__(self, function: Callable, arguments: tuple, future: Future | None = None):
        self._function, self._arguments, self._future = function, arguments, future

    def result(self):
        """Return what the function returns; raises what it raises."""
        if self._future is not None and not self._future.cancel():
            try:
                return self._future.result()
            except BrokenProcessPool:  # a helper was killed
                pass
        return self._function(*self._arguments)


class Helpers:
    """A pool of helper processes. Before they are started and after the context, work is done in this process.

    On Linux a process of one thread is copied, with all that it has imported. Elsewhere, or with several threads,
    `multiprocessing` imports the program's main module again in each helper. So they are for commands, whose main
    module does nothing when it is imported.

    Args:
        count: how many; as many as there are cores beside this process's where left out.
        modules: what they shall have imported before the first part comes.
        late: what shall be loaded when it is used (`lazy_imports`).
    """

    def __init__(self, count: int | None = None, modules: Sequence[str] = (), late: Sequence[str] = ()):
        self._count = min(MOST, processor.usable_cores() - 1) if count is None else count
        self._libraries = tuple(late), tuple(modules)
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the helper processes, where there are cores for them."""
        if self._pool is None and self._count > 0:
            # The lock that another thread holds would stay locked in a copy.
            copied = sys.platform == "linux" and threading.active_count() == 1
            context = multiprocessing.get_context("fork" if copied else "spawn")
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin, initargs=self._libraries)
            self._pool.submit(int)  # the first part is what starts them

    def give(self, function: Callable, *arguments) -> Part:
        """Send a call to the first free helper process.

        Args:
            function, arguments: what can be pickled.
        """
        future = None
        if self._pool is not None:
            try:
                future = self._pool.submit(function, *arguments)
            except BrokenProcessPool:
                self._pool = None
        return Part(function, arguments, future)

    def __enter__(self) -> "Helpers":
        return self

    def __exit__(self, *error) -> None:
        if self._pool is not None:
            # Waits for what has begun, after Ctrl-C too: a dropped pool of Python 3.11 does all its work.
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


ALONE = Helpers(count=0)
"""A pool without processes: all work is done in this one."""


def _begin(late: Sequence[str], modules: Sequence[str]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then drops what has not begun
    gc.freeze()  # so that a collection does not write to, and thereby copy, the pages of the parent
    gc.enable()
    atexit.register(gc.freeze)  # what is left then ends with the process: there is nothing to search for
    lazy_imports.load(*late)
    for name in modules:
        importlib.import_module(name)
