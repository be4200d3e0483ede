"""Processes of a gate that are started together and then take turns with the clock.

They are timed cell by cell and process by process; or, where each version has processes of its own, two of them sample
by sample (`alternating`).

Importing torch, making calls ready and counting is most of what a process does, and needs no quiet machine: side by
side it takes a fraction of the time that it takes one after the other.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from ..measure import listening, process
from . import alternating
from .sides import SIDES

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
        found: what it said of each cell, by the cell's place in the job.
        has_imported: its sides were imported.
        environment: the machine and packages, as it described them.
        died: how it ended, where it ended badly; what it had finished is in `found`.
        at: the place of the cell that it began last.
    """

    work: dict
    python: str = sys.executable
    found: dict[int, dict] = field(default_factory=dict)
    has_imported: bool = False
    environment: dict | None = None
    died: process.Died | None = None
    at: int | None = None


class _Started(NamedTuple):
    """A job, its process, and what that says."""

    job: Job
    process: process.Process
    messages: Iterator[dict]

    def tell(self, line: dict) -> None:
        """Send the process a line; if it has ended, the job says how."""
        if self.job.died is None:
            try:
                self.process.tell(line)
            except process.Died as died:
                self.job.died = died

    def listen(self, on_cell: Callable[[], None], *, until: str | None = None) -> None:
        """Store what the process says, until a message has the key `until`, or there are no more."""
        job = self.job
        if job.died is not None:
            return
        try:
            for message in self.messages:
                if "unimportable" in message:
                    failed = Unimportable(message["unimportable"], message["error"], message["beside"])
                    if failed.beside or job.work["count"]:
                        raise failed
                    # It could, when counts were made.
                    job.died = process.Died(f"{failed.side} cannot be imported: {failed.said}")
                    return
                job.has_imported = job.has_imported or "imported" in message
                job.environment = message.get("environment", job.environment)
                job.at = message.get("begin", job.at)
                if "cell" in message:
                    job.found.setdefault(message["cell"], {}).update(message)
                    on_cell()
                if until in message:
                    return
            if job.at is not None and job.at not in job.found:
                job.died = process.Died("exit code 0")  # which a call has ended it with
        except process.Died as died:
            job.died = died

    def ask(self, line: dict) -> dict:
        """Return the process's answer to a line; raises `Died`, which the job keeps, if there is none."""
        try:
            self.process.tell(line)
            for message in self.messages:
                return message
            raise process.Died("it ended without an answer")
        except process.Died as died:
            self.job.died = died
            raise


class Unimportable(Exception):
    """A side cannot be imported.

    Attributes:
        side: which.
        said: why.
        beside: the other sides of its process.
    """

    def __init__(self, side: str, said: str, beside: Sequence[str]):
        self.side, self.said, self.beside = side, said, beside
        super().__init__(side, said)


def take(
    jobs: Sequence[Job],
    start: Callable[[Job], process.Process],
    *,
    in_pairs: bool = False,
    on_ready: Callable[[], None] = lambda: None,
    on_cell: Callable[[], None] = lambda: None,
) -> None:
    """Run all the jobs: prepare at the same time, then time one after the other.

    Args:
        jobs: they get the results; of a pair the job of base does.
        start: starts the process of a job.
        in_pairs: two jobs that follow each other hold a version each, and time the same cells against each other.
        on_ready: called when all are ready to take times.
        on_cell: called for every cell.

    Raises:
        Unimportable: the first that a process told of.
    """
    with ExitStack() as stack:
        started = [_started(job, start, stack) for job in jobs]
        running = [each for each in started if each is not None]
        for each in running:
            each.tell(each.job.work)
        for each in running:
            each.listen(on_cell, until="ready")
        on_ready()
        for each in [] if in_pairs else running:
            each.tell({"go": True})
            each.listen(on_cell)
        for one, other in zip(started[::2], started[1::2], strict=True) if in_pairs else []:
            if one is not None and other is not None:
                _alternate((one, other), on_cell)


def _started(job: Job, start: Callable[[Job], process.Process], stack: ExitStack) -> _Started | None:
    """Start the process of a job, which ends with the stack; where it cannot be started, the job says why."""
    try:
        running = stack.enter_context(start(job))
    except process.Died as died:
        job.died = died
        return None

    def limit_s(_: dict) -> float:
        return START_S if job.at is None else SILENT_S

    return _Started(job, running, listening.heard(running, None, first_s=START_S, limit_s=limit_s))


def _alternate(pair: Sequence[_Started], on_cell: Callable[[], None]) -> None:
    """Time all cells of two processes, and write down in the job of base what was found."""
    by_side = {side: each for each in pair for side in each.job.work["sides"]}
    base, head = (by_side[side] for side in SIDES)
    if base.job.died is not None or head.job.died is not None:
        return
    work = base.job.work
    draw = random.Random(work["number"])
    places = draw.sample(range(len(work["cells"])), len(work["cells"]))
    bounds = {"blocks": work["blocks"], "longest_s": work["longest_s"]}
    for place in places:
        base.job.at = head.job.at = place
        try:
            base.job.found[place] = alternating.compare((base.ask, head.ask), place, draw=draw, **bounds)
        except process.Died:  # the job says how
            return
        on_cell()
