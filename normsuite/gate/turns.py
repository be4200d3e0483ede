"""Processes of a gate that are started together and then take turns with the clock.

Importing torch, making calls ready and counting is most of what a process does, and needs no quiet machine: side by
side it takes a fraction of the time that it takes one after the other.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..measure import process

START_S = 600.0
"""How long a process may be silent before its first cell: it imports torch and the versions."""

SILENT_S = 150.0
"""How long it may be silent in one cell, which kernels may be compiled for."""


@dataclass
class Job:
    """The work of one process, and its results.

    Attributes:
        work: its job, as `worker.work` takes it.
        python: the interpreter.
        found: its last message on each cell, by the cell's place in the job.
        environment: the machine and packages, as it described them.
        died: how it ended, where it ended badly; what it had finished is in `found`.
        at: the place of the cell that it began last.
    """

    work: dict
    python: str = sys.executable
    found: dict[int, dict] = field(default_factory=dict)
    environment: dict | None = None
    died: str | None = None
    at: int | None = None


class Unimportable(Exception):
    """A side cannot be imported.

    Attributes:
        side: which.
        said: why.
        beside: the sides that had been imported before it in the same process.
    """

    def __init__(self, side: str, said: str, beside: Sequence[str]):
        self.side, self.said, self.beside = side, said, beside
        super().__init__(side, said)


def take(
    jobs: Sequence[Job],
    start: Callable[[Job], process.Process],
    *,
    on_ready: Callable[[], None] = lambda: None,
    on_cell: Callable[[], None] = lambda: None,
) -> None:
    """Run all the jobs: prepare at the same time, then time one after the other.

    Args:
        jobs: filled in.
        start: starts the process of a job.
        on_ready: called when all are ready to take times.
        on_cell: called for every cell.

    Raises:
        Unimportable: the first that a process told of.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(start(job)) for job in jobs]
        messages = [one.messages() for one in running]
        for job, one, said in zip(jobs, running, messages, strict=True):
            _listen(job, one, said, job.work, on_cell, until="ready")
        on_ready()
        for job, one, said in zip(jobs, running, messages, strict=True):
            _listen(job, one, said, {"go": True}, on_cell)


def _listen(job: Job, one: process.Process, messages, line: dict, on_cell, until: str | None = None) -> None:
    """Send a line to a process and store what it answers, until a message has the key `until`, or there are no more."""
    if job.died is not None:
        return
    watch = process.Watch(one, START_S if job.at is None else SILENT_S)
    try:
        one.tell(line)
        for message in messages:
            watch.again(START_S if job.at is None and "begin" not in message else SILENT_S)
            if "unimportable" in message:
                raise Unimportable(message["unimportable"], message["error"], message["beside"])
            job.environment = message.get("environment", job.environment)
            job.at = message.get("begin", job.at)
            if "cell" in message:
                job.found.setdefault(message["cell"], {}).update(message)
                on_cell()
            if until in message:
                return
    except process.Died as died:
        job.died = f"hangs: ended after {SILENT_S:g} s" if watch.has_ended_it else str(died)
    finally:
        watch.stop()
