"""Start the processes of a gate: forked by a parent that has imported torch where that is possible, else fresh."""

import contextlib
import random
from contextlib import ExitStack

from ..measure import preloaded, process
from .turns import Job

_WORKER, _PRELOADS = f"{__package__}.worker", f"{__package__}.preloads"
_MOST_PADDING = 4096

_TRIES = 2
"""Parents in a row that may fail: an interpreter whose parents do not answer would take minutes for each job."""


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
        self._failures: dict[str, list[str]] = {}  # of the last parents of an interpreter, which did not fork
        self._stack = ExitStack()

    def __enter__(self) -> "Starts":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def start(self, job: Job) -> process.Process:
        """Return a new process for a job, which it has not been sent yet; raises `process.Died` if there is none."""
        if not self._forked:
            return process.fresh(["-m", _WORKER], self._environment(job.python), python=job.python)
        failures = self._failures.setdefault(job.python, [])
        if len(failures) == _TRIES:
            raise process.Died(failures[-1])
        if job.python in self._parents:
            # Else the system has ended it, for its memory perhaps: that is no fault of a version.
            with contextlib.suppress(process.Died):
                return self._parents[job.python].process(_WORKER)
        parent = preloaded.Parent([_PRELOADS], self._environment(job.python), python=job.python)
        self._parents[job.python] = self._stack.enter_context(parent)
        try:
            started = parent.process(_WORKER)
        except process.Died as died:
            failures.append(str(died))
            raise
        failures.clear()
        return started

    def _environment(self, python: str) -> dict[str, str]:
        padding = "x" * self._draw.randrange(_MOST_PADDING)  # its size moves the stack
        return {**process.variables(self._threads, python=python), "NORMSUITE_PADDING": padding}
