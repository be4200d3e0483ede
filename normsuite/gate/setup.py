"""The setup of a gate: versions, cells, margins and budget."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..conventions.defaults import ERROR_RATE_SEEDS
from ..errors import ArgumentError
from ..targets.target import Target
from .cells import Cell
from .sides import BASE, HEAD
from .trees import Tree


@dataclass(frozen=True)
class Setup:
    """The compared versions and cells, and how to compare them.

    Attributes:
        base, head: the two versions.
        cells: what is measured.
        margins: for each kind of metric.
        budget_s: for counts and times; training, and waiting for another gate, do not count.
        threads: of each process.
        apart: each version in processes of its own, instead of both in one.
        pythons: for each side the interpreter; another one than this program's wants `apart`.
        norms, seeds: whose error rates are compared, and with how many seeds.
        targets: those of `norms` that are targets of a project, by name.
        added: additions that a cell's call makes in head beside its own work, by the cell's name: a self-check's
            injected slowdowns.
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
    seeds: int = ERROR_RATE_SEEDS
    targets: Mapping[str, Target] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)

    def tree(self, side: str) -> Tree:
        """Return the version on that side."""
        return {BASE: self.base, HEAD: self.head}[side]

    def check(self) -> None:
        """Raise an ArgumentError for a number out of range."""
        if self.threads < 1:
            raise ArgumentError("threads", self.threads, "must be at least 1")
        if not 0 < self.budget_s < math.inf:
            raise ArgumentError("budget", self.budget_s, "must be a positive number of seconds")
        if self.norms and self.seeds < 2:
            raise ArgumentError("seeds", self.seeds, "must be at least 2, since one says nothing of the spread")
        for name, margin in self.margins.items():
            if not 0 < margin < math.inf:
                raise ArgumentError("margin", f"{name}={margin}", "must be positive")
