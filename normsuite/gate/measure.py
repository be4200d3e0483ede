"""A gate's measurements: one process that compiles and counts, then processes that take times, where it is still open.

Time is spent in looks: after the first four processes, then after half as many again, and so on, what is decided is
measured no more, until all is decided or the next process would take longer than the budget has left.
"""

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from filelock import FileLock
from platformdirs import user_cache_path

from .. import results
from ..bench import process
from ..bench.cases import SEED
from ..errors import ArgumentError, NormsuiteError
from . import decide, error_rate
from .cells import Cell
from .sides import BASE, HEAD, SIDES
from .trees import Tree

WHAT = "gate"
MARGINS = {"time": 0.01, "bytes": 0.01, "error": 1.0, "error rate": error_rate.MARGIN}
"""How far from 1 a ratio may lie, and from 0 a difference of error rates, and still count as the same. Below twice an
error lies what another order of the same additions does to it; a lost digit is ten times."""

BUDGET_S = 120.0
_PROCESSES = 9
"""How many the budget is cut for: the third look, which has half of alpha. Processes differ from each other, by where
their code and tensors lie, by about as much as a hundred blocks within one of them do."""

_FEWEST_BLOCKS = 20
_LONGEST_S = 1.0
"""Bounds on what one cell gets in one process."""

_OVERHEAD_S = 0.03
"""What a cell takes beside being timed: operands, first calls, warming up."""


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
        budget_s: of measuring; waiting for another gate does not count.
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


class _Unimportable(Exception):
    def __init__(self, side: str, said: str, beside: list[str]):
        self.side, self.said, self.beside = side, said, beside
        super().__init__(side, said)


class _Gate:
    def __init__(self, setup: Setup, on_progress: Callable[[str, float], None]):
        self._setup, self._on_progress = setup, on_progress
        self._apart = setup.apart
        self._draw = random.Random()
        self._number = 0
        self._start_s = 5.0
        self._spent_s = 0.0
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
        """Bytes and errors of all cells; what cannot be measured is known after it."""
        sides = [SIDES] if not self._apart else [(side,) for side in SIDES]
        try:
            found = [
                self._process(of, range(len(self._setup.cells)), count=True, stage="bytes and errors") for of in sides
            ]
        except _Unimportable as failed:
            self._part(failed)
            return self.count()
        for messages in found:
            for index, message in messages.items():
                name = self._setup.cells[index].name
                self._counts.setdefault(name, {}).update(message["counts"])
                self._absent.setdefault(name, {}).update(message["absent"])
                self._sample_s[name] = max(self._sample_s.get(name, 0.0), message["sample_s"])

    def _part(self, failed: _Unimportable) -> None:
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
        except _Unimportable as failed:  # which of the two is imported first is drawn: it may have gone well before
            self._part(failed)
            self._forget()
            self._look()

    def _forget(self) -> None:
        names = [cell.name for cell in self._setup.cells]
        self._values: dict[str, dict[int, float]] = {name: {} for name in names}
        self._base_s: dict[str, list[float]] = {name: [] for name in names}
        self._looks: list[int] = []
        self._blocks: list[int] = []

    def _look(self) -> None:
        open_cells = [i for i, c in enumerate(self._setup.cells) if self._measurable(c.name)]
        blocks = self._first_blocks(open_cells)
        wanted, processes = decide.FIRST_LOOK, 0
        while open_cells:
            for _ in range(self._affordable(wanted - processes, open_cells, blocks)):
                processes += 1
                self._time(processes, open_cells, blocks)
            if self._looks and processes == self._looks[-1]:
                break  # the budget is spent
            self._looks.append(processes)
            self._blocks.append(blocks)
            decided = decide.decide(self._measured(), self._looks, self._setup.margins["time"], self._comparisons)
            open_cells = [i for i in open_cells if self._is_open(decided, self._setup.cells[i].name)]
            wanted = math.ceil(processes * 1.5)
            if open_cells:  # starting a process should not take longer than measuring in it
                blocks = max(blocks, self._blocks_in(self._start_s, open_cells))

    def _is_open(self, decided: Mapping[str, decide.Decision], name: str) -> bool:
        return name not in decided or decided[name].verdict == decide.UNDECIDED

    def _measurable(self, name: str) -> bool:
        return name in self._absent and not self._absent[name]

    def _measured(self) -> dict[str, dict[int, float]]:
        return {name: of for name, of in self._values.items() if of}

    def _first_blocks(self, indices: Sequence[int]) -> int:
        each = (self._setup.budget_s - self._spent_s) / _PROCESSES / self._starts - self._start_s
        return max(_FEWEST_BLOCKS, self._blocks_in(each - _OVERHEAD_S * len(indices), indices))

    def _blocks_in(self, seconds: float, indices: Sequence[int]) -> int:
        """The same number for each cell, however long its calls take: what a block leaves uncertain is alike."""
        return int(seconds / max(1e-9, sum(self._seconds(i, 1) for i in indices)))

    def _seconds(self, index: int, blocks: int) -> float:
        """What that cell gets in a process: a block has four samples."""
        return min(_LONGEST_S, 4 * blocks * self._sample_s.get(self._setup.cells[index].name, 0.0))

    @property
    def _starts(self) -> int:
        """Processes for one value."""
        return 2 if self._apart else 1

    def _affordable(self, wanted: int, indices: Sequence[int], blocks: int) -> int:
        """How many more the budget has room for; for the first look all, and a word on it if they take longer."""
        one_s = self._starts * (self._start_s + sum(self._seconds(i, blocks) + _OVERHEAD_S for i in indices))
        left = self._setup.budget_s - self._spent_s
        if not self._looks:
            if wanted * one_s > 1.1 * left:
                needed = self._spent_s + wanted * one_s
                self.notes.append(f"the budget of {self._setup.budget_s:.0f} s is too short: about {needed:.0f} s")
            return wanted
        return max(0, min(wanted, int(left / one_s)))

    def _time(self, number: int, indices: Sequence[int], blocks: int) -> None:
        """One value for each of those cells: of one process, or of one for each side, one after the other."""
        stage = f"times, process {number}, {len(indices)} open"
        cells = self._setup.cells
        if not self._apart:
            for index, found in self._process(SIDES, indices, blocks=blocks, stage=stage).items():
                if "log_ratio" in found:
                    self._values[cells[index].name][number] = found["log_ratio"]
                    self._base_s[cells[index].name].append(found["base_s"])
            return
        order = SIDES if number % 2 else SIDES[::-1]
        found = {side: self._process((side,), indices, blocks=blocks, stage=stage) for side in order}
        for index in found[BASE].keys() & found[HEAD].keys():
            base, head = (found[side][index].get("log_s") for side in SIDES)
            if base is not None and head is not None:
                self._values[cells[index].name][number] = head - base
                self._base_s[cells[index].name].append(math.exp(base))

    # ---- error rates, which need no quiet machine and no budget of time ----

    def learn(self) -> None:
        """Where they are asked for."""
        if self._setup.norms:
            trees = {side: self._tree(side) for side in SIDES}
            self._error_rates = error_rate.measure(
                trees,
                self._setup.norms,
                self._setup.seeds,
                lambda done, of: self._on_progress(f"error rates, run {done} of {of}", self._spent_s),
            )

    # ---- processes ----

    def _tree(self, side: str) -> Tree:
        return {BASE: self._setup.base, HEAD: self._setup.head}[side]

    def _process(
        self, sides: Sequence[str], indices: Sequence[int], *, stage: str, count: bool = False, blocks: int = 0
    ) -> dict[int, dict]:
        """What a process found, by the cell's place in the table; less where it died, which is noted."""
        indices = list(indices)
        job = {
            "sides": {side: str(self._tree(side).folder) for side in sides},
            "cells": [self._setup.cells[i].as_dict() for i in indices],
            "count": count,
            "seconds": [self._seconds(i, blocks) for i in indices],
            "threads": self._setup.threads,
            "number": self._draw.getrandbits(32),
        }
        found: dict[int, dict] = {}
        begun_cell = None
        with _alone():
            begun = time.perf_counter()
            self._on_progress(stage, self._spent_s)
            try:
                for message in self._messages(job, sides[0]):
                    if "unimportable" in message:
                        raise _Unimportable(message["unimportable"], message["error"], message["beside"])
                    if "environment" in message:
                        self.environment = self.environment or message["environment"]
                        self._start_s = time.perf_counter() - begun
                    begun_cell = message.get("begin", begun_cell)
                    if "cell" in message:
                        found[indices[message["cell"]]] = message
                        self._on_progress(stage, self._spent_s + time.perf_counter() - begun)
            except process.Died as died:
                where = f" at {self._setup.cells[indices[begun_cell]].name}" if begun_cell is not None else ""
                self.notes.append(f"{stage}: the process ended{where} ({died}); what it had finished is kept")
            finally:
                self._spent_s += time.perf_counter() - begun
        return found

    def _messages(self, job: dict, side: str) -> Iterator[dict]:
        environment = process.environment(self._setup.threads)
        environment["NORMSUITE_PADDING"] = "x" * self._draw.randrange(4096)  # its size moves the stack
        python = self._setup.pythons.get(side, sys.executable)
        return process.messages(["-m", "normsuite.gate.worker"], job, environment, python=python)

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


def _alone() -> FileLock:
    """Processes of two gates on one machine take turns: side by side they would time each other."""
    folder = user_cache_path("normsuite", ensure_exists=True)
    return FileLock(folder / "gate.lock")


def name(record: dict) -> str:
    """Of the record's file: two gates at different times are two records."""
    head = record["case"]["head"]["commit"][:9]
    identity = {k: record[k] for k in ("case", "samples", "written")}
    return f"{WHAT}-{head}-{results.digest(identity)}"


def default_threads() -> int:
    """Torch's own number."""
    return torch.get_num_threads()
