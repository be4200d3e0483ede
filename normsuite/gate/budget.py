"""How a gate spends its time: what a cell costs in a process, how many blocks it gets, for how many there is room."""

import math
from collections.abc import Mapping, Sequence

from ..measure import pairs

BESIDE_S = 5.0
"""Of the budget, what a command takes beside its processes: its own start and end, and a cell that was under way."""

ALIKE = 250
"""Blocks after which the noise within a process is about as large as what processes differ by, by where their code and
tensors lie, and which no further block lessens. (To lay the heap out anew for every block lessens it, but costs more
than that: allocated memory then lies where nobody has been.)"""

FEWEST_BLOCKS = 20
LONGEST_S = 1.0
"""Bounds on what one cell gets in one process."""

OVERHEAD_S = 0.015
"""What a cell takes beside being timed, until one was: warming up, and finding out how often to call it in a sample."""


class Budget:
    """The seconds of one gate.

    Attributes:
        total_s, spent_s: of the whole command; waiting for another gate does not count.
        start_s: what processes that are started together take until they are ready.
        sample_s: how long a sample of each cell takes, by its name.
    """

    def __init__(self, total_s: float):
        self.total_s, self.spent_s, self.start_s = total_s, 0.0, 5.0
        self.sample_s: dict[str, float] = {}

    def is_spent(self, further_s: float = 0.0) -> bool:
        """Return whether no more is left after so many further seconds: what was planned by a quiet minute may take
        longer in the next."""
        return self.spent_s + further_s > self.total_s - BESIDE_S

    def cell_s(self, cell: str, blocks: int) -> float:
        """Return the seconds of so many blocks of a cell in a process."""
        return min(LONGEST_S, pairs.SAMPLES * blocks * self.sample_s.get(cell, 0.0))

    def blocks_each(self, cells: Sequence[str], together: int) -> int:
        """Return the number of blocks, the same for each cell, however long its calls take: what a block leaves
        uncertain is alike.

        With c seconds for a process and d for a block of each cell, and variances of a process and of a block in the
        ratio 1 : `ALIKE`, a given time leaves the least uncertainty with √(`ALIKE` c / d) blocks in each process.

        Args:
            cells: names.
            together: values that processes are started for at once.
        """
        beside_s = self.start_s / together + OVERHEAD_S * len(cells)
        block_s = sum(self.cell_s(cell, 1) for cell in cells)
        return max(FEWEST_BLOCKS, round(math.sqrt(ALIKE * beside_s / max(1e-9, block_s))))

    def needed_s(self, values: int, cells: Sequence[str], blocks: int, *, starts: int, together: int) -> list[float]:
        """Return the seconds for one value of each cell, for two, and so on.

        Args:
            values: up to how many.
            cells, blocks: what is measured in each process.
            starts: processes for one value.
            together: values that processes are started for at once.
        """
        turn_s = starts * sum(self.cell_s(cell, blocks) + OVERHEAD_S for cell in cells)
        return [n * turn_s + math.ceil(n / together) * self.start_s for n in range(1, values + 1)]

    @property
    def left_s(self) -> float:
        """Return what is left for processes."""
        return self.total_s - BESIDE_S - self.spent_s

    def learn(self, cell: str, message: Mapping) -> None:
        """Take what a sample takes from a process's message on a cell, which timed more of them than there were
        before."""
        if blocks := message.get("blocks"):
            self.sample_s[cell] = max(0.0, message["spent_s"] - OVERHEAD_S) / (pairs.SAMPLES * blocks)
