"""Count bytes and errors of all cells, which needs no quiet machine, and find the cells that cannot be measured."""

import math
from collections.abc import Mapping, Sequence

from . import turns
from .budget import Budget
from .processes import Processes, Share
from .setup import Setup
from .sides import SIDES


class Counts:
    """Counted metrics of all cells.

    Attributes:
        counts: of each cell, by its name, for each side the value of each metric.
        absent: of each cell, for each side the reason why it cannot be measured.
    """

    def __init__(self, setup: Setup, processes: Processes, budget: Budget):
        self._cells, self._processes, self._budget = setup.cells, processes, budget
        self.counts: dict[str, dict] = {}
        self.absent: dict[str, dict[str, str]] = {}

    def measurable(self, cell: str) -> bool:
        """Return whether both versions can compute the cell."""
        return cell in self.absent and not self.absent[cell]

    def run(self) -> None:
        """Count bytes and errors of all cells, shared out among all cores.

        A cell at which a process died is tried again in processes of one version each, and the cells behind it without
        it.
        """
        share = math.ceil(len(self._cells) / self._processes.together)
        places = range(len(self._cells))  # neighbours share operands and the float64 reference
        shares: list[Sequence[int]] = [places[first : first + share] for first in range(0, len(places), share)]
        try:
            while shares:
                broken, shares = self._count([(sides, part) for part in shares for sides in self._processes.sides])
                if broken:
                    self._count([((side,), [index]) for index in broken for side in SIDES])
        except turns.Unimportable as failed:
            self._processes.separate(failed)
            self.run()

    def _count(self, shares: Sequence[Share]) -> tuple[list[int], list[Sequence[int]]]:
        """Count those cells in those versions.

        Returns:
            The cells at which a process died, and the shares that are left behind each of them.
        """
        broken: dict[int, None] = {}
        left: dict[int, list[int]] = {}
        sample_s = self._budget.sample_s
        done = self._processes.run(shares, count=True, stage="bytes and errors")
        for job, (sides, indices) in zip(done, shares, strict=True):
            for index, message in job.found.items():
                counted = {
                    side: {metric: value for metric, value in of.items() if value is not None}  # nothing to count
                    for side, of in message["counts"].items()
                }
                self._note(index, counted, message["absent"])
                name = self._cells[index].name
                sample_s[name] = max(sample_s.get(name, 0.0), message.get("sample_s", 0.0))
            if job.died is not None and job.environment is None:
                raise turns.Unimportable(sides[-1], f"the process ended: {job.died}", sides[:-1])
            if job.died is None or job.at is None or job.at in job.found:
                continue  # it did all, or no single cell is to blame
            if len(indices) == len(sides) == 1:
                self._note(job.at, {}, {sides[0]: f"fails: the process that tried it {_how(job.died)}"})
            else:
                broken[job.at] = None
                left[job.at] = [index for index in indices if index not in job.found and index != job.at]
        self._processes.end_if_interrupted()
        return list(broken), [part for part in left.values() if part]

    def _note(self, index: int, counts: Mapping[str, dict], absent: Mapping[str, str]) -> None:
        name = self._cells[index].name
        self.counts.setdefault(name, {}).update(counts)
        self.absent.setdefault(name, {}).update(absent)


def _how(died: str) -> str:
    return died if died.startswith("hangs") else f"ended ({died})"
