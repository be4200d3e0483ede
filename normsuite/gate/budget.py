"""The time of a gate: the cost of a cell in a process, the number of its blocks, and of processes that fit."""

import math
import sys
from collections.abc import Mapping, Sequence

from ..measure import pairs
from . import decide

BESIDE_S = 5.0
"""Seconds of the budget that are reserved for a command's start and end, and for a cell that is being measured."""

ALIKE = 50
"""Blocks after which the noise within a process is about as large as the noise between processes, which comes from
where their code and tensors lie and which no further block lessens. (A new layout of the heap for every block lessens
it, but costs more in page faults than it gains.)

Measured by tools/noise.py (AMD EPYC 25-1, 2 cores, 12 processes with four runs of 20 blocks each): a process deviates
as much as the mean of 30 [19, 84] blocks in calls of less than 50 us, and of 127 [73, 483] in longer ones."""

FEWEST_BLOCKS = 20
LONGEST_S = 1.0
"""Bounds on what one cell gets in one process."""

OVERHEAD_S = 0.015
"""Seconds of a cell in a process beside its samples: warming up, and finding how many calls make a sample."""


class Budget:
    """The seconds of one gate.

    Attributes:
        total_s, spent_s: for counts and times; training, and waiting for another gate, do not count.
        start_s: what processes that are started together take until they are ready.
        sample_s: how long a sample of each cell takes, by its name.
        warm_s: seconds of untimed calls before each sample.
        notes: at most one line, that the budget is too short.
    """

    def __init__(self, total_s: float):
        self.total_s, self.spent_s, self.start_s, self.warm_s = total_s, 0.0, 5.0, 0.0
        self.sample_s: dict[str, float] = {}
        self.notes: list[str] = []
        self._first_s = 0.0

    def warn_if_too_short(self, needed_s: float, cells: int) -> None:
        """Print, once and at the beginning, that so many cells need more time than the budget."""
        if needed_s > 1.1 * self.total_s and not self.notes:
            short = f"the budget of {self.total_s:.0f} s is too short for {cells} cells"
            note = f"{short}: they take about {needed_s:.0f} s"
            self.notes.append(note)
            print(f"normsuite: {note}", file=sys.stderr, flush=True)

    def foresee(self, counted: int, cells: int, together: int, before_s: float, seconds: float) -> None:
        """Estimate, by the first cells that are counted, what all take up to the first look.

        Args:
            counted, cells: how many cells these processes have counted, and all that they are to count.
            together: values that processes are started for at once.
            before_s, seconds: spent before these processes, and by them so far.
        """
        if counted == 1:
            self._first_s = seconds
        elif counted == max(3, cells // 20):
            counting_s = self._first_s + (seconds - self._first_s) / (counted - 1) * (cells - 1)
            first_look_s = math.ceil(decide.FIRST_LOOK / together) * self._first_s
            self.warn_if_too_short(before_s + counting_s + first_look_s + BESIDE_S, cells)

    def is_spent(self, further_s: float = 0.0) -> bool:
        """Return whether the budget is used up once so many further seconds are spent.

        `BESIDE_S` is held back: work that was planned in a quiet minute may take longer in the next.
        """
        return self.spent_s + further_s > self.total_s - BESIDE_S

    def cell_s(self, cell: str, blocks: int) -> float:
        """Return the seconds of so many blocks of a cell in a process."""
        return min(LONGEST_S, pairs.SAMPLES * blocks * (self.warm_s + self.sample_s.get(cell, 0.0)))

    def blocks_each(self, cells: Sequence[str], together: int) -> int:
        """Return the number of blocks for each cell, the same for all, however long their calls take.

        A block then leaves alike uncertainty in each. With c seconds for a process and d for a block of each cell, and
        variances of a process and of a block in the ratio 1 : `ALIKE`, a given time leaves the least uncertainty with
        √(`ALIKE` c / d) blocks in each process.

        Args:
            cells: names.
            together: values that processes are started for at once.
        """
        beside_s = self.start_s / together + OVERHEAD_S * len(cells)
        block_s = sum(self.cell_s(cell, 1) for cell in cells)
        return max(FEWEST_BLOCKS, round(math.sqrt(ALIKE * beside_s / max(1e-9, block_s))))

    def needed_s(self, values: int, cells: Sequence[str], blocks: int, *, together: int) -> list[float]:
        """Return the seconds for one value of each cell, for two, and so on.

        Args:
            values: up to how many.
            cells, blocks: what is measured in each process.
            together: values that processes are started for at once.
        """
        turn_s = sum(self.cell_s(cell, blocks) + OVERHEAD_S for cell in cells)
        return [n * turn_s + math.ceil(n / together) * self.start_s for n in range(1, values + 1)]

    @property
    def left_s(self) -> float:
        """Return what is left for processes."""
        return self.total_s - BESIDE_S - self.spent_s

    def learn(self, cell: str, message: Mapping) -> None:
        """Update the seconds that a sample of a cell takes, by a process's message, which has timed more of them."""
        if blocks := message.get("blocks"):
            took = max(0.0, message["spent_s"] - OVERHEAD_S) / (pairs.SAMPLES * blocks)
            self.sample_s[cell] = max(0.0, took - self.warm_s)
