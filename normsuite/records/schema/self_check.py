"""Records of the gate's self-check: one table each."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from .record import Record
from .values import AnyNumber, Count, NonNegative, Seconds, Size


class Identity(Struct):
    """Fields that records must share to be counted together.

    Attributes:
        cells: the plan, by name.
        cpu, cores: the machine's.
        budget_s: seconds for each table.
        worse: the margin of a regression; older records, of a gate without groups, have one margin for all verdicts.
    """

    cells: list[str] | UnsetType = UNSET
    cpu: str | None = None
    cores: Size | None = None
    budget_s: Seconds | None = None
    worse: NonNegative | None = None


Injected = dict[str, Annotated[float, Meta(ge=0, le=100)]]


class SelfCheckCase(Struct):
    """Identity of the table, and by slowed cell the injected slowdown, as a share of the time.

    Attributes:
        injection: a digest of the way in which slowdowns are made; older records have none.
    """

    identity: Identity
    injected: Injected = field(name="planted")
    injection: str | None = None


class SelfCheckSamples(Struct):
    """Results by cell: verdict, ratio and interval in `cells`, and the logarithms of ratios, one for each process.

    Attributes:
        looks: how many processes there had been at each look.
        final: the last look was the final one.
        base_s: by cell, the median of the seconds that a call took in base; older records have none.
        blocks: how many each cell got in a process before each look.
    """

    cells: dict[str, tuple[str, AnyNumber, AnyNumber, AnyNumber, int | None]]
    log_ratios: dict[str, list[Annotated[float, Meta(ge=-50, le=50)]]] = {}
    looks: list[Count] = []
    final: bool = True
    base_s: dict[str, Seconds] = {}
    blocks: list[Count] = []


class SelfCheck(Record, kw_only=True):
    """One table of the gate about the gate."""

    case: SelfCheckCase
    samples: SelfCheckSamples
    wall_s: Seconds

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields: cells that are not in the plan; one may have failed and be missing."""
        yield from super().problems()
        cells, expected = self.samples.cells.keys(), self.case.identity.cells
        known = cells if expected is UNSET else set(expected)
        if strange := cells - known:
            yield f"samples: cells: {min(strange)!r} is no cell of the plan"
        if strange := self.case.injected.keys() - known:
            yield f"case: planted: {min(strange)!r} is no cell"


class AsvCase(Struct):
    """The fields of `SelfCheckCase`, and the cells that asv compared."""

    identity: Identity
    injected: Injected = field(name="planted")
    cells: list[str]
    injection: str | None = None


class AsvSamples(Struct):
    """Cells that `asv continuous` called changed, each with its ratio, and the factor from which on it does so."""

    changes: dict[str, NonNegative]
    factor: Annotated[float, Meta(ge=1, le=1e6)]


class AsvCheck(Record, kw_only=True):
    """The same of `asv continuous`."""

    case: AsvCase
    samples: AsvSamples
    wall_s: Seconds

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields: changes of cells that were not compared."""
        yield from super().problems()
        if strange := self.samples.changes.keys() - set(self.case.cells):
            yield f"samples: changes: {min(strange)!r} is no cell"
