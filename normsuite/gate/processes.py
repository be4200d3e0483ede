"""The processes of a gate: which versions each holds, how many are started at once, and what they found."""

import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from ..errors import ArgumentError
from ..records import provenance
from . import alternating, decide, turns
from .budget import LONGEST_S, Budget
from .cells import modules_of
from .lock import Lock
from .setup import Setup
from .sides import SIDES
from .starts import Starts

Share = tuple[Sequence[str], Sequence[int]]
"""What one process does: the sides that it holds, and the places of its cells in the table."""


class _Spent(Exception):
    """The time budget ended while a process was running."""


class Processes:
    """Starts processes, and keeps what they say of the machine and of what went wrong.

    Attributes:
        apart: each version has processes of its own.
        notes: lines on what went wrong.
        interrupted: the user ended a run; what was found is kept until `end_if_interrupted`.
    """

    def __init__(self, setup: Setup, budget: Budget, lock: Lock, on_progress: Callable[[str, float], None]):
        self._setup, self._budget, self._lock, self._on_progress = setup, budget, lock, on_progress
        self._draw = random.Random()
        self._starts = Starts(setup.threads, self._draw)
        self.apart = False
        if setup.apart:
            self._separate()
        self._environments: dict[str, dict] = {}
        self.notes: list[str] = []
        self.interrupted = False

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_) -> None:
        self._starts.__exit__()

    @property
    def environment(self) -> dict | None:
        """Return head's environment; where base has another interpreter, that one's packages are in it too.

        It is None while no process has told it.
        """
        base, head = (self._environments.get(side) for side in SIDES)
        if base is None or head is None:
            return head or base
        differs = {name: base[name] for name in ("packages", "python") if base.get(name) != head.get(name)}
        return {**head, "base": differs} if differs else head

    def note_absence(self, cell: str, absent: Mapping[str, str]) -> None:
        """Add a note, once, on why a cell that was counted could not be timed in a process."""
        for side, why in absent.items():
            note = f"times of {cell}: {side} {why}"
            if note not in self.notes:
                self.notes.append(note)

    def end_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt, once what was found before it is noted, if the user ended a run."""
        if self.interrupted:
            raise KeyboardInterrupt

    @property
    def sides(self) -> list[tuple[str, ...]]:
        """Return the sides of each process that one value takes."""
        return [(side,) for side in SIDES] if self.apart else [SIDES]

    @property
    def together(self) -> int:
        """Return for how many values processes are started at once; each takes a few hundred MiB."""
        return max(1, min(provenance.usable_cores() // len(self.sides), decide.FIRST_LOOK))

    def separate(self, failed: turns.Unimportable) -> None:
        """Run each version in processes of its own from now on.

        Raises:
            ArgumentError: that cannot help, since the version cannot be imported alone either.
        """
        tree = self._setup.tree(failed.side)
        if not failed.beside:
            raise ArgumentError(failed.side, tree.title, f"cannot be imported: {failed.said}") from None
        self.separate_since(f"{tree.title} cannot be imported beside the other ({failed.said})")

    def separate_since(self, reason: str) -> None:
        """Run each version in processes of its own from now on, for a reason that is noted."""
        self.notes.append(f"{reason}: each in its own processes")
        self._separate()

    def _separate(self) -> None:
        self.apart, self._budget.warm_s = True, alternating.WARM_S

    def run(
        self,
        shares: Sequence[Share],
        *,
        stage: str,
        count: bool = False,
        blocks: int = 0,
        may_stop: bool = False,
        in_pairs: bool | None = None,
    ) -> list[turns.Job]:
        """Run the shares in processes, and return their jobs, with what each found; where one died, that is noted.

        Args:
            shares: of all processes.
            stage: what is going on, for people.
            count: bytes and errors instead of times.
            blocks: for each cell.
            may_stop: ends when the budget is spent, and keeps what was found.
            in_pairs: two shares that follow each other hold a version each; as `sides` are where left out.

        Raises:
            Unimportable: the first side that a process could not import.
        """
        jobs = [self._job(share, count, blocks) for share in shares]
        budget = self._budget
        with self._lock.alone():
            before_s, begun = budget.spent_s, time.perf_counter()

            def seconds() -> float:
                return time.perf_counter() - begun

            def ready() -> None:
                if not count:
                    budget.start_s = seconds()
                go_on()

            def go_on() -> None:
                if count:
                    found, wanted = (sum(map(len, of)) for of in ([j.found for j in jobs], [s[1] for s in shares]))
                    budget.foresee(found, wanted, self.together, before_s, seconds())
                self._on_progress(stage, before_s + seconds())
                if may_stop and budget.is_spent(seconds()):
                    raise _Spent

            self._on_progress(stage, before_s)
            try:
                in_pairs = self.apart and not count if in_pairs is None else in_pairs
                turns.take(jobs, self._starts.start, in_pairs=in_pairs, on_ready=ready, on_cell=go_on)
            except _Spent:
                pass  # what was found is kept
            except KeyboardInterrupt:
                self.interrupted = True  # the same, and then all ends
            finally:
                budget.spent_s = before_s + seconds()
        for job, (_, places) in zip(jobs, shares, strict=True):
            self._finish(job, places, stage)
        return jobs

    def _job(self, share: Share, count: bool, blocks: int) -> turns.Job:
        setup, (sides, places) = self._setup, share
        work = {
            "sides": {side: str(setup.tree(side).folder) for side in sides},
            "packages": list(setup.base.packages),
            "modules": sorted({module for cell in setup.cells for module in modules_of(cell)}),
            "cells": [setup.cells[place].as_dict() for place in places],
            "added": [setup.added.get(setup.cells[place].name, 0) for place in places],
            "count": count,
            "blocks": blocks,
            "longest_s": LONGEST_S,
            "threads": setup.threads,
            "number": self._draw.getrandbits(32),
        }
        return turns.Job(work, setup.pythons.get(sides[0], sys.executable))

    def _finish(self, job: turns.Job, places: Sequence[int], stage: str) -> None:
        if job.environment is not None:
            for side in job.work["sides"]:
                self._environments.setdefault(side, job.environment)
        job.found = {places[place]: found for place, found in job.found.items()}
        job.at = None if job.at is None else places[job.at]
        if job.died is not None:
            where = f" at {self._setup.cells[job.at].name}" if job.at is not None else ""
            note = f"{stage}: the process ended{where} ({job.died}); what it had finished is kept"
            if note not in self.notes:
                self.notes.append(note)
