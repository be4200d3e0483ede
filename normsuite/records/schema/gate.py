"""Records of a gate, and files that it reads."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from .bench import Mode, TaskCase
from .record import Record, no_date
from .values import AnyNonNegative, Count, Few, NonNegative, Seconds, Shape, Share


class Side(Struct):
    """One of the two versions: its name as given, commit and its subject, and a digest of the package's files."""

    name: str
    commit: str
    subject: str = ""
    digest: str = ""


class Sides(Struct):
    """Counted values of both versions on one cell, by metric; a version that cannot run the cell has none."""

    base: dict[str, AnyNonNegative] | UnsetType = UNSET
    head: dict[str, AnyNonNegative] | UnsetType = UNSET


class Reasons(Struct):
    """Why each version could not be measured; None for one that could."""

    base: str | None = None
    head: str | None = None


class ErrorRates(Struct):
    """Error rates of both versions with one norm, a value for each seed, or why a version has none."""

    base: Annotated[list[Share], Meta(min_length=1)] | UnsetType = UNSET
    head: Annotated[list[Share], Meta(min_length=1)] | UnsetType = UNSET
    absent: Reasons | UnsetType = UNSET


class CellCase(TaskCase, kw_only=True):
    """A cell of the plan; results are kept by its name."""

    norm: str | UnsetType = UNSET
    case: str | UnsetType = UNSET
    shape: Shape | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
    activation: str | None = None


class AcceptedEntry(Struct, forbid_unknown_fields=True):
    """An accepted regression."""

    cell: str
    metric: str
    reason: str
    until: str
    at_most: NonNegative | None = None


class AcceptedFile(Struct, forbid_unknown_fields=True):
    """The file of accepted regressions that the gate read: on which day, and its entries."""

    day: str
    entries: list[AcceptedEntry]


class GateCase(Struct):
    """The compared versions, cells and settings.

    Attributes:
        base, head: the two versions.
        cells: the plan.
        margins: by kind of metric, margins and thresholds of the verdicts, as shares.
        alpha: the probability that any interval of the table misses its true ratio.
        threads: of torch in each process; None where not given.
        error_rate_norms: norms that networks were trained with.
        groups: cells by the name of the group whose mean they make; older records have none.
        budget_s: seconds for the whole table.
        apart: whether each version had processes of its own.
    """

    base: Side
    head: Side
    cells: Annotated[list[CellCase], Meta(min_length=1)]
    margins: dict[str, NonNegative]
    alpha: Share
    threads: Few | None
    error_rate_norms: list[str]
    groups: dict[str, list[str]] = {}
    budget_s: Seconds | None = None
    apart: bool = False


Ratios = dict[str, dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Annotated[float, Meta(ge=-50, le=50)]]]
"""Logarithms of ratios of cells, by the number of the process."""


class GateSamples(Struct):
    """Raw results of a gate.

    Attributes:
        log_ratios: by cell and number of the process, the logarithm of head's time over base's.
        base_s: by cell, the median of the seconds that a call took in base.
        looks: how many processes there had been at each look.
        counts: by cell.
        absent: by cell that one version or both could not run.
        error_rates: by norm.
        final: the last look was the final one; true in older records, whose last look always was.
        blocks: how many each cell got in a process before each look.
    """

    log_ratios: Ratios
    base_s: dict[str, Seconds]
    looks: list[Count]
    counts: dict[str, Sides]
    absent: dict[str, Reasons]
    error_rates: dict[str, ErrorRates]
    final: bool = True
    blocks: list[Count] = []


class Gate(Record, kw_only=True):
    """Two versions on a plan of cells."""

    case: GateCase
    samples: GateSamples
    spent_s: Seconds
    accepted: AcceptedFile | UnsetType = UNSET
    undecided: Literal["pass", "fail"] | None = None
    bisection: bool = False

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields: cells, versions, seeds, margins and dates that do not fit."""
        yield from super().problems()
        yield from self._problems_of_accepted()
        samples = self.samples
        if len(samples.log_ratios) != len(self.case.cells):
            yield f"samples: log_ratios: has {len(samples.log_ratios)} cells of {len(self.case.cells)}"
        for name in ("base_s", "counts", "absent"):
            if strange := getattr(samples, name).keys() - samples.log_ratios.keys():
                yield f"samples: {name}: {min(strange)!r} is no cell"
        for name, sides in samples.counts.items():
            if sides.base is UNSET or sides.head is UNSET:
                continue  # interrupted, or one version cannot
            # Metrics of other packages may be there with the interpreter of one version alone.
            if (
                name not in samples.absent
                and not (sides.base.keys() & sides.head.keys())
                and (sides.base or sides.head)
            ):
                yield f"samples: counts: {name}: the two versions have none in common"
        for name, of in samples.error_rates.items():
            if of.base is UNSET or of.head is UNSET:
                if of.absent is UNSET:
                    yield f"samples: error_rates: {name}: one of the two versions is missing"
            elif len(of.base) != len(of.head):
                yield f"samples: error_rates: {name}: the two versions have not as many seeds"
        for name in ("time", "bytes", "error"):
            if name not in self.case.margins:
                yield f"case: margins: lacks {name}"

    def _problems_of_accepted(self) -> Iterator[str]:
        if self.accepted is not UNSET:
            for text in (self.accepted.day, *(entry.until for entry in self.accepted.entries)):
                yield from no_date("accepted", text, date)
