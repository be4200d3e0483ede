"""Times of all cells, in interim looks and a final one: what is decided is measured no more.

After the first four processes, then after 1.3 times as many, and so on, the verdicts are taken, until all is decided or
the budget has no room for another process; then comes the final look. As many processes are started at once as there
are cores, and then they take turns with the clock.
"""

import math
from collections.abc import Sequence

from . import decide, groups, turns
from .budget import Budget
from .counts import Counts
from .processes import Processes
from .setup import Setup
from .sides import SIDES

GROWTH = 1.3
"""Processes at one look as a multiple of those at the look before: what is decided should leave the table soon."""


class Looks:
    """Times of all cells, and the looks at them.

    Attributes:
        groups: the cells of each group, whose means are judged beside the cells.
        values: of each cell, by its name, for each process by its number the logarithm of its ratio head / base.
        base_s: of each cell, seconds of a call of base in each process.
        looks, blocks: the highest number of a process before each look, and how many blocks were planned for a cell.
        final: whether the last look was the final one.
    """

    def __init__(self, setup: Setup, processes: Processes, budget: Budget, counts: Counts):
        self._setup, self._processes, self._budget, self._counts = setup, processes, budget, counts
        self.groups = groups.of_cells(cell.name for cell in setup.cells)
        self._comparisons = len(setup.cells) + len(self.groups) + len(setup.norms)
        self._begin()

    def _begin(self) -> None:
        names = [cell.name for cell in self._setup.cells]
        self.values: dict[str, dict[int, float]] = {name: {} for name in names}
        self.base_s: dict[str, list[float]] = {name: [] for name in names}
        self.looks: list[int] = []
        self.blocks: list[int] = []
        self.final = False
        self._ended: set[str] = set()  # cells that have ended a process
        self._given_up: set[str] = set()

    def run(self) -> None:
        """Measure the cells and decide, look after look, until all are decided or the budget is spent."""
        try:
            self._look()
        except turns.Unimportable as failed:
            # Which of the two is imported first is drawn: it may have gone well before.
            self._processes.separate(failed)
            self._begin()
            self._look()

    def _look(self) -> None:
        open_cells = [i for i, cell in enumerate(self._setup.cells) if self._counts.measurable(cell.name)]
        wanted, processes = decide.FIRST_LOOK, 0
        while open_cells:
            together = self._processes.together
            blocks = self._budget.blocks_each(self._names(open_cells), together)
            affordable = self._affordable(wanted - processes, open_cells, blocks)
            self._time(range(processes + 1, processes + affordable + 1), open_cells, blocks)
            processes += affordable
            self.looks.append(processes)
            self.blocks.append(blocks)
            self.final = not self._affordable(1, open_cells, blocks)
            if self.final:
                break
            still_open = self._still_open()
            open_cells = [i for i in open_cells if self._setup.cells[i].name in still_open and self._is_timed(i)]
            wanted = math.ceil(processes * GROWTH / together) * together

    def _still_open(self) -> set[str]:
        """Return the names of cells that are to be measured on; those without a value so far are among them."""
        measured = {name: of for name, of in self.values.items() if of}
        means = groups.means(self.groups, measured)
        looked = (self.looks, decide.Thresholds.of(self._setup.margins), self._comparisons)
        cells, of_groups = (decide.decide(of, *looked, final=False) for of in (measured, means))
        return decide.still_open(cells, of_groups, self.groups) | (self.values.keys() - measured.keys())

    def _names(self, indices: Sequence[int]) -> list[str]:
        return [self._setup.cells[i].name for i in indices]

    def _affordable(self, wanted: int, indices: Sequence[int], blocks: int) -> int:
        """Return how many more values there is time for; for the first look all, with a note if they take longer."""
        budget, together = self._budget, self._processes.together
        needed = budget.needed_s(wanted, self._names(indices), blocks, together=together)
        if not self.looks:
            if needed[-1] > 1.1 * budget.left_s:
                budget.warn_if_too_short(budget.total_s - budget.left_s + needed[-1], len(self._setup.cells))
            return wanted
        return sum(seconds <= budget.left_s for seconds in needed)

    def _time(self, numbers: Sequence[int], indices: Sequence[int], blocks: int) -> None:
        """Measure one value for each of those cells and process numbers.

        A value comes from one process, or from one for each version. The first look is taken whatever the budget.
        """
        together, sides, may_stop = self._processes.together, self._processes.sides, bool(self.looks)
        while numbers and indices and not (may_stop and self._budget.is_spent()):
            batch, numbers = numbers[:together], numbers[together:]
            stage = f"times, process {batch[-1]}, {len(indices)} open"
            shares = [(of, indices) for number in batch for of in sides[:: 1 if number % 2 else -1]]
            jobs = self._processes.run(shares, blocks=blocks, stage=stage, may_stop=may_stop)
            found = iter(jobs)
            for number in batch:
                for index, message in (item for _ in sides for item in next(found).found.items()):
                    name = self._setup.cells[index].name
                    self._budget.learn(name, message)
                    if "log_ratio" in message:
                        self.values[name][number] = message["log_ratio"]
                        self.base_s[name].append(message["base_s"])
                    elif "absent" in message:
                        self._processes.note_absence(name, message["absent"])
            self._processes.end_if_interrupted()
            ended = {job.at for job in jobs if job.died is not None and job.at not in job.found}
            for index in sorted(index for index in ended if index is not None):
                self._find_failing(index, blocks)
            indices = [index for index in indices if self._is_timed(index)]

    def _is_timed(self, index: int) -> bool:
        name = self._setup.cells[index].name
        return self._counts.measurable(name) and name not in self._given_up

    def _find_failing(self, index: int, blocks: int) -> None:
        """Time a cell that ended its process once more, in processes of one version each: the one that ends fails."""
        name = self._setup.cells[index].name
        if self._budget.is_spent() or name in self._ended:  # it may hang again, or did so beside the other alone
            self._given_up.add(name)
            return
        self._ended.add(name)
        shares = [((side,), [index]) for side in SIDES]
        jobs = self._processes.run(shares, blocks=blocks, stage=f"times of {name} again", in_pairs=True)
        for side, job in zip(SIDES, jobs, strict=True):
            if job.died is not None and job.at is not None:
                self._counts.note_failing(name, side, job.died.how("ended"))
        self._processes.end_if_interrupted()
