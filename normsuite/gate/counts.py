"""Count bytes and errors of all cells, which needs no quiet machine, and find the cells that cannot be measured."""

import math
from collections.abc import Mapping, Sequence

from . import turns
from .budget import Budget
from .decide import FAILING
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
        self._retried: list[str] = []
        self._has_hung = False

    def measurable(self, cell: str) -> bool:
        """Return whether both versions can compute the cell."""
        return cell in self.absent and not self.absent[cell]

    def note_failing(self, cell: str, side: str, how: str) -> None:
        """Record that a version's process ended while it timed the cell, which is not measured from then on."""
        self.absent[cell][side] = f"{FAILING}the process that timed it {how}"

    def run(self) -> None:
        """Count bytes and errors of all cells, shared out among all cores.

        A cell that fails or ends its process is tried again in processes of one version each, and the cells behind it
        without it. If it works there, each version is in the other's way, and all is counted and timed apart.
        """
        try:
            self._run()
        except turns.Unimportable as failed:
            self._processes.separate(failed)
            self.run()
        if not self._processes.apart and (name := next(filter(self.measurable, self._retried), None)):
            self._processes.separate_since(f"{name} works in processes of one version alone")
            self.run()

    def _run(self) -> None:
        self.counts, self.absent, self._retried = {}, {}, []
        size = math.ceil(len(self._cells) / self._processes.together)
        places = range(len(self._cells))  # neighbours share operands and the float64 reference
        parts = [places[first : first + size] for first in range(0, len(places), size)]
        shares: list[Share] = [(sides, part) for part in parts for sides in self._processes.sides]
        while shares:
            shares = self._count(shares)
            if not self._processes.apart and (failed := self._failed()):
                self._retried += [self._cells[index].name for index in failed]
                shares += [((side,), failed) for side in SIDES]
            if shares and self._has_hung and self._budget.is_spent():
                self._processes.notes.append("bytes and errors: the budget was spent before all cells were counted")
                return

    def _failed(self) -> list[int]:
        """Return the cells that failed beside the other version and have not been tried again."""
        reasons = {index: self.absent.get(cell.name, {}).values() for index, cell in enumerate(self._cells)}
        return [
            index
            for index, of in reasons.items()
            if self._cells[index].name not in self._retried and any(why.startswith(FAILING) for why in of)
        ]

    def _count(self, shares: Sequence[Share]) -> list[Share]:
        """Count those cells in those versions, and return the shares that are left.

        Of a share whose process died these are the cell at which it did, for each version alone, and the cells behind.
        """
        left: list[Share] = []
        sample_s = self._budget.sample_s
        done = self._processes.run(shares, count=True, stage="bytes and errors")
        for job, (sides, indices) in zip(done, shares, strict=True):
            for index, message in job.found.items():
                counted = {
                    side: {metric: value for metric, value in of.items() if value is not None}  # nothing to count
                    for side, of in message["counts"].items()
                }
                self._note(index, sides, counted, message["absent"])
                name = self._cells[index].name
                sample_s[name] = max(sample_s.get(name, 0.0), message.get("sample_s", 0.0))
            if job.died is not None and not job.has_imported:
                raise turns.Unimportable(sides[-1], f"the process ended: {job.died}", sides[:-1])
            if job.died is None or job.at is None or job.at in job.found:
                continue  # it did all, or no single cell is to blame
            self._has_hung = self._has_hung or job.died.hung_s is not None
            if len(indices) == len(sides) == 1:
                self._note(job.at, sides, {}, {sides[0]: f"{FAILING}the process that tried it {job.died.how('ended')}"})
                continue
            if len(sides) > 1:
                self._retried.append(self._cells[job.at].name)
            left += [((side,), [job.at]) for side in sides]
            if behind := [index for index in indices if index not in job.found and index != job.at]:
                left.append((sides, behind))
        self._processes.end_if_interrupted()
        return left

    def _note(self, index: int, sides: Sequence[str], counts: Mapping[str, dict], absent: Mapping[str, str]) -> None:
        name = self._cells[index].name
        for side in sides:  # what was found beside the other version
            self.absent.get(name, {}).pop(side, None)
        self.counts.setdefault(name, {}).update(counts)
        self.absent.setdefault(name, {}).update(absent)
