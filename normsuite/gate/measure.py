"""A gate's measurements: processes that compile and count, then processes that take times, where it is still open.

Time is spent in looks: after the first four processes, then after half as many again, and so on, what is decided is
measured no more, until all is decided or the budget has no room for another process; then comes the final look.
Processes are started as many at once as there are cores, and then take turns with the clock: importing torch is most of
what they do.
"""

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from filelock import FileLock, Timeout

from .. import caches, results
from ..errors import ArgumentError, NormsuiteError, OutputError
from ..measure import pairs
from ..measure.cases import SEED
from . import decide, error_rate, turns
from .cells import Cell
from .sides import BASE, HEAD, SIDES
from .trees import Tree

WHAT = "gate"
MARGINS = {"time": 0.01, "bytes": 0.01, "error": 1.0, "error rate": error_rate.MARGIN}
"""How far from 1 a ratio may lie, and from 0 a difference of error rates, and still count as the same. Below twice an
error lies what another order of the same additions does to it; a lost digit is ten times."""

BUDGET_S = 120.0

_BESIDE_S = 5.0
"""Of the budget, what a command takes beside its processes: its own start and end, and a cell that was under way."""

_ALIKE = 250
"""Blocks after which the noise within a process is about as large as what processes differ by, by where their code and
tensors lie, and which no further block lessens. (To lay the heap out anew for every block lessens it, but costs more
than that: allocated memory then lies where nobody has been.)"""

_FEWEST_BLOCKS = 20
_LONGEST_S = 1.0
"""Bounds on what one cell gets in one process."""

_OVERHEAD_S = 0.015
"""What a cell takes beside being timed, until one was: warming up, and finding out how often to call it in a sample."""


@dataclass
class Outcome:
    """The record, lines on what went wrong, and whether the user cut it short."""

    record: dict | None = None
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True)
class Setup:
    """What is compared, and how.

    Attributes:
        base, head: the two versions.
        cells: what is measured.
        margins: for each kind of metric.
        budget_s: for the whole command; waiting for another gate does not count.
        threads: of each process.
        apart: each version in processes of its own, instead of both in one.
        pythons: for each side the interpreter; another one than this program's wants `apart`.
        norms, seeds: whose error rates are compared, and with how many seeds.
    """

    base: Tree
    head: Tree
    cells: Sequence[Cell]
    margins: Mapping[str, float]
    budget_s: float
    threads: int
    apart: bool = False
    pythons: Mapping[str, str] = field(default_factory=dict)
    norms: Sequence[str] = ()
    seeds: int = error_rate.SEEDS


def run(setup: Setup, on_progress: Callable[[str, float], None] = lambda stage, spent_s: None) -> Outcome:
    """Compare two versions; what was measured has a record, also after an interruption.

    Args:
        setup: what and how.
        on_progress: told what is going on, and the seconds that were spent so far.

    Raises:
        ArgumentError: a number out of range, or a version that cannot be imported, which it names.
        NormsuiteError: no process measured anything; the message has the last that one said.
    """
    if setup.threads < 1:
        raise ArgumentError("threads", setup.threads, "must be at least 1")
    if not 0 < setup.budget_s < math.inf:
        raise ArgumentError("budget", setup.budget_s, "must be a positive number of seconds")
    if setup.norms and setup.seeds < 2:
        raise ArgumentError("seeds", setup.seeds, "must be at least 2, since one says nothing of the spread")
    for name, margin in setup.margins.items():
        if not 0 < margin < math.inf:
            raise ArgumentError("margin", f"{name}={margin}", "must be positive")
    gate = _Gate(setup, on_progress)
    outcome = Outcome(notes=gate.notes)
    try:
        gate.count()
        gate.look()
        gate.learn()
    except KeyboardInterrupt:
        outcome.interrupted = True
    if gate.environment is not None:
        outcome.record = gate.record()
    elif not outcome.interrupted:
        raise NormsuiteError(f"nothing was measured: {'; '.join(gate.notes)}")
    return outcome


class _Spent(Exception):
    """The budget is, in the middle of a process."""


class _Gate:
    def __init__(self, setup: Setup, on_progress: Callable[[str, float], None]):
        self._setup, self._on_progress = setup, on_progress
        self._apart = setup.apart
        self._draw = random.Random()
        self._start_s = 5.0
        self._spent_s = 0.0
        self._has_waited = False
        self.notes: list[str] = []
        self.environment: dict | None = None
        self._counts: dict[str, dict] = {}
        self._sample_s: dict[str, float] = {}
        self._absent: dict[str, dict[str, str]] = {}
        self._forget()
        self._error_rates: dict[str, dict] = {}
        self._comparisons = len(setup.cells) + len(setup.norms)

    # ---- counting, which also compiles ----

    def count(self) -> None:
        """Bytes and errors of all cells; what cannot be measured is known after it.

        It needs no quiet machine, so that the cells are shared out among all cores. A cell at which a process died is
        tried again in processes of one version each, and the cells behind it without it.
        """
        share = math.ceil(len(self._setup.cells) / self._together)
        places = range(len(self._setup.cells))  # neighbours share their operands, and the truth that they miss
        shares = [places[first : first + share] for first in range(0, len(places), share)]
        try:
            while shares:
                broken, shares = self._count([(sides, part) for part in shares for sides in self._sides])
                if broken:
                    self._count([((side,), [index]) for index in broken for side in SIDES])
        except turns.Unimportable as failed:
            self._part(failed)
            return self.count()

    def _count(self, jobs: Sequence[tuple[Sequence[str], Sequence[int]]]) -> tuple[list[int], list[Sequence[int]]]:
        """Count those cells on those sides.

        Returns:
            The cells at which a process died, and the shares that are left behind each of them.
        """
        broken, left = {}, {}
        done = self._processes(jobs, count=True, stage="bytes and errors")
        for job, (sides, indices) in zip(done, jobs, strict=True):
            for index, message in job.found.items():
                self._note(index, message["counts"], message["absent"])
                name = self._setup.cells[index].name
                self._sample_s[name] = max(self._sample_s.get(name, 0.0), message.get("sample_s", 0.0))
            if job.died is not None and job.environment is None:
                raise turns.Unimportable(sides[-1], f"the process ended: {job.died}", sides[:-1])
            if job.died is None or job.at is None or job.at in job.found:
                continue  # it did all, or no single cell is to blame
            if len(indices) == len(sides) == 1:
                self._note(job.at, {}, {sides[0]: f"fails: the process that tried it ended ({job.died})"})
            else:
                broken[job.at] = None
                left[job.at] = [index for index in indices if index not in job.found and index != job.at]
        return list(broken), [part for part in left.values() if part]

    def _note(self, index: int, counts: Mapping[str, dict], absent: Mapping[str, str]) -> None:
        name = self._setup.cells[index].name
        self._counts.setdefault(name, {}).update(counts)
        self._absent.setdefault(name, {}).update(absent)

    def _part(self, failed: turns.Unimportable) -> None:
        """Each version in processes of its own from now on, if that can help."""
        tree = self._tree(failed.side)
        if not failed.beside:
            raise ArgumentError(failed.side, tree.title, f"cannot be imported: {failed.said}") from None
        self.notes.append(
            f"{tree.title} cannot be imported beside the other ({failed.said}): each in its own processes"
        )
        self._apart = True

    # ---- times ----

    def look(self) -> None:
        """Measure, look, and go on where it is open."""
        try:
            self._look()
        except turns.Unimportable as failed:
            # Which of the two is imported first is drawn: it may have gone well before.
            self._part(failed)
            self._forget()
            self._look()

    def _forget(self) -> None:
        names = [cell.name for cell in self._setup.cells]
        self._values: dict[str, dict[int, float]] = {name: {} for name in names}
        self._base_s: dict[str, list[float]] = {name: [] for name in names}
        self._looks: list[int] = []
        self._blocks: list[int] = []
        self._final = False

    def _look(self) -> None:
        open_cells = [i for i, c in enumerate(self._setup.cells) if self._measurable(c.name)]
        wanted, processes = decide.FIRST_LOOK, 0
        while open_cells:
            blocks = self._blocks_each(open_cells)
            affordable = self._affordable(wanted - processes, open_cells, blocks)
            self._time(range(processes + 1, processes + affordable + 1), open_cells, blocks)
            processes += affordable
            self._looks.append(processes)
            self._blocks.append(blocks)
            self._final = not self._affordable(1, open_cells, blocks)
            decided = decide.decide(
                self._measured(),
                self._looks,
                self._setup.margins["time"],
                self._comparisons,
                final=self._final,
            )
            if self._final:
                break
            open_cells = [i for i in open_cells if self._is_open(decided, self._setup.cells[i].name)]
            wanted = math.ceil(processes * 1.5 / self._together) * self._together

    def _is_open(self, decided: Mapping[str, decide.Decision], name: str) -> bool:
        return name not in decided or decided[name].verdict == decide.UNDECIDED

    def _measurable(self, name: str) -> bool:
        return name in self._absent and not self._absent[name]

    def _measured(self) -> dict[str, dict[int, float]]:
        return {name: of for name, of in self._values.items() if of}

    def _blocks_each(self, indices: Sequence[int]) -> int:
        """The same number for each cell, however long its calls take: what a block leaves uncertain is alike.

        With c seconds for a process and d for a block of each cell, and variances of a process and of a block in the
        ratio 1 : `_ALIKE`, a given time leaves the least uncertainty with √(`_ALIKE` c / d) blocks in each process.
        """
        beside_s = self._start_s / self._together + _OVERHEAD_S * len(indices)
        block_s = sum(self._seconds(i, 1) for i in indices)
        return max(_FEWEST_BLOCKS, round(math.sqrt(_ALIKE * beside_s / max(1e-9, block_s))))

    def _seconds(self, index: int, blocks: int) -> float:
        """What that cell gets in a process."""
        return min(_LONGEST_S, pairs.SAMPLES * blocks * self._sample_s.get(self._setup.cells[index].name, 0.0))

    @property
    def _sides(self) -> list[tuple[str, ...]]:
        """Of each process for one value."""
        return [(side,) for side in SIDES] if self._apart else [SIDES]

    @property
    def _starts(self) -> int:
        """Processes for one value."""
        return len(self._sides)

    @property
    def _together(self) -> int:
        """For how many values processes are started at once; each takes a few hundred MiB."""
        return max(1, min(results.usable_cores() // self._starts, decide.FIRST_LOOK))

    def _affordable(self, wanted: int, indices: Sequence[int], blocks: int) -> int:
        """How many more the budget has room for; for the first look all, and a word on it if they take longer."""
        turn_s = self._starts * sum(self._seconds(i, blocks) + _OVERHEAD_S for i in indices)
        left = self._setup.budget_s - _BESIDE_S - self._spent_s
        needed = [n * turn_s + math.ceil(n / self._together) * self._start_s for n in range(1, wanted + 1)]
        if not self._looks:
            if needed[-1] > 1.1 * left:
                total = self._spent_s + needed[-1]
                self.notes.append(f"the budget of {self._setup.budget_s:.0f} s is too short: about {total:.0f} s")
            return wanted
        return sum(seconds <= left for seconds in needed)

    def _is_spent(self, further_s: float = 0.0) -> bool:
        """What was planned by a quiet minute may take longer in the next. The first look is taken all the same."""
        return bool(self._looks) and self._spent_s + further_s > self._setup.budget_s - _BESIDE_S

    def _plan_by(self, index: int, message: Mapping) -> None:
        """What a sample takes, by more of them than there were before."""
        if blocks := message.get("blocks"):
            self._sample_s[self._setup.cells[index].name] = max(0.0, message["spent_s"] - _OVERHEAD_S) / (
                pairs.SAMPLES * blocks
            )

    def _time(self, numbers: Sequence[int], indices: Sequence[int], blocks: int) -> None:
        """One value for each of those cells and numbers: of one process, or of one for each side."""
        cells = self._setup.cells
        while numbers and not self._is_spent():
            batch, numbers = numbers[: self._together], numbers[self._together :]
            stage = f"times, process {batch[-1]}, {len(indices)} open"
            jobs = [(sides, indices) for number in batch for sides in self._sides[:: 1 if number % 2 else -1]]
            found = iter(self._processes(jobs, blocks=blocks, stage=stage))
            for number in batch:
                merged: dict[int, dict] = {}
                for _ in range(self._starts):
                    for index, message in next(found).found.items():
                        self._plan_by(index, message)
                        merged.setdefault(index, {})[message.get("side", "")] = message
                for index, of in merged.items():
                    name = cells[index].name
                    if "log_ratio" in of.get("", {}):
                        self._values[name][number] = of[""]["log_ratio"]
                        self._base_s[name].append(of[""]["base_s"])
                    elif of.keys() == set(SIDES):
                        self._values[name][number] = of[HEAD]["log_s"] - of[BASE]["log_s"]
                        self._base_s[name].append(math.exp(of[BASE]["log_s"]))

    # ---- error rates, which need no quiet machine and no budget of time ----

    def learn(self) -> None:
        """Where they are asked for."""
        if self._setup.norms:
            with _alone(self._waits):  # another gate's clock may be running
                self._error_rates = error_rate.measure(
                    {side: self._tree(side) for side in SIDES},
                    self._setup.norms,
                    self._setup.seeds,
                    pythons=self._setup.pythons,
                    on_run=lambda done, of: self._on_progress(f"error rates, run {done} of {of}", self._spent_s),
                )

    # ---- processes ----

    def _waits(self) -> None:
        if not self._has_waited:
            self._has_waited = True
            print("normsuite: another gate is measuring on this machine: waiting for it", file=sys.stderr, flush=True)

    def _tree(self, side: str) -> Tree:
        return {BASE: self._setup.base, HEAD: self._setup.head}[side]

    def _processes(
        self, shares: Sequence[tuple[Sequence[str], Sequence[int]]], *, stage: str, count: bool = False, blocks: int = 0
    ) -> list[turns.Job]:
        """What a process found for each share (of sides and of cells), by the cells' places in the table.

        Less where it died, which is noted.
        """
        cells, setup = self._setup.cells, self._setup
        jobs = [
            turns.Job(
                {
                    "sides": {side: str(self._tree(side).folder) for side in sides},
                    "cells": [cells[i].as_dict() for i in indices],
                    "count": count,
                    "blocks": blocks,
                    "longest_s": _LONGEST_S,
                    "threads": setup.threads,
                    "number": self._draw.getrandbits(32),
                },
                setup.pythons.get(sides[0], sys.executable),
            )
            for sides, indices in shares
        ]
        with _alone(self._waits):
            before_s, begun = self._spent_s, time.perf_counter()

            def seconds() -> float:
                return time.perf_counter() - begun

            def ready() -> None:
                if not count:
                    self._start_s = seconds()
                go_on()

            def go_on() -> None:
                self._on_progress(stage, before_s + seconds())
                if self._is_spent(seconds()):
                    raise _Spent

            self._on_progress(stage, before_s)
            try:
                turns.take(jobs, self._draw, on_ready=ready, on_cell=go_on)
            except _Spent:
                pass  # what was found is kept
            finally:
                self._spent_s = before_s + seconds()
        for job, (_, indices) in zip(jobs, shares, strict=True):
            self.environment = self.environment or job.environment
            job.found = {indices[place]: found for place, found in job.found.items()}
            job.at = None if job.at is None else indices[job.at]
            if job.died is not None:
                where = f" at {cells[job.at].name}" if job.at is not None else ""
                self.notes.append(f"{stage}: the process ended{where} ({job.died}); what it had finished is kept")
        return jobs

    def record(self) -> dict:
        setup = self._setup
        case = {
            "base": setup.base.as_dict(),
            "head": setup.head.as_dict(),
            "cells": [cell.as_dict() for cell in setup.cells],
            "margins": dict(setup.margins),
            "alpha": decide.ALPHA,
            "budget_s": setup.budget_s,
            "threads": setup.threads,
            "apart": self._apart,
            "error_rate_norms": list(setup.norms),
        }
        samples = {
            "log_ratios": {name: {str(k): v for k, v in of.items()} for name, of in self._values.items()},
            "base_s": {name: sorted(of)[len(of) // 2] for name, of in self._base_s.items() if of},
            "looks": self._looks,
            "final": self._final,
            "blocks": self._blocks,
            "counts": self._counts,
            "absent": {name: of for name, of in self._absent.items() if of},
            "error_rates": self._error_rates,
        }
        return results.make_record(
            WHAT,
            case,
            samples,
            environment=self.environment,
            seeds=[SEED],
            spent_s=round(self._spent_s, 2),
            notes=list(self.notes),
        )


@contextmanager
def _alone(on_wait: Callable[[], None]) -> Iterator[None]:
    """Processes of two gates on one machine take turns: side by side they would time each other.

    Args:
        on_wait: told where another gate is waited for.
    """
    path = caches.temporary_if_none(caches.folder()) / "gate.lock"
    lock = FileLock(path)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            on_wait()
            lock.acquire()
    except OSError as error:
        raise OutputError(f"cannot lock {str(path)!r} ({error.strerror or error})") from None
    try:
        yield
    finally:
        lock.release()


def name(record: dict) -> str:
    """Of the record's file: two gates at different times are two records."""
    head = record["case"]["head"]["commit"][:9]
    identity = {k: record[k] for k in ("case", "samples", "written")}
    return f"{WHAT}-{head}-{results.digest(identity)}"


def default_threads() -> int:
    """Torch's own number."""
    return torch.get_num_threads()
