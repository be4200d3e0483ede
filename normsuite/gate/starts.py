"""Start the processes of a gate: forked by a parent that has imported torch where that is possible, else fresh."""

import contextlib
import random
from contextlib import ExitStack

from ..measure import preloaded, process
from .turns import Job

_WORKER, _PRELOADS = f"{__package__}.worker", f"{__package__}.preloads"
_MOST_PADDING = 4096


class Starts:
    """Starts processes, and ends their parents with the block.

    Args:
        threads: of each process.
        draw: how much memory is laid before the stack.
        forked: fork processes where that is possible.
    """

    def __init__(self, threads: int, draw: random.Random, *, forked: bool = True):
        self._threads, self._draw, self._forked = threads, draw, forked and preloaded.is_possible()
        self._parents: dict[str, preloaded.Parent] = {}
        self._useless: dict[str, str] = {}  # interpreters whose first parent did not fork, and why
        self._stack = ExitStack()

    def __enter__(self) -> "Starts":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def start(self, job: Job) -> process.Process:
        """Return a new process for a job, which it has not been sent yet; raises `process.Died` if there is none."""
        if not self._forked:
            return process.fresh(["-m", _WORKER], self._environment(job.python), python=job.python)
        if job.python in self._useless:
            raise process.Died(self._useless[job.python])
        is_first = job.python not in self._parents
        if not is_first:
            # Else the system has ended it, for its memory perhaps: that is no fault of a version.
            with contextlib.suppress(process.Died):
                return self._parents[job.python].process(_WORKER)
        parent = preloaded.Parent([_PRELOADS], self._environment(job.python), python=job.python)
        self._parents[job.python] = self._stack.enter_context(parent)
        try:
            return parent.process(_WORKER)
        except process.Died as died:
            if is_first:
                self._useless[job.python] = str(died)
            raise

    def _environment(self, python: str) -> dict[str, str]:
        padding = "x" * self._draw.randrange(_MOST_PADDING)  # its size moves the stack
        return {**process.environment(self._threads, python=python), "NORMSUITE_PADDING": padding}
