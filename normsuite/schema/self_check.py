"""Records of the gate's self-check: one table each."""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from .record import Record
from .values import Positive, Seconds, Size


class Identity(Struct):
    cells: list[str] | UnsetType = UNSET
    cpu: str | None = None
    cores: Size | None = None
    budget_s: Seconds | None = None


Injected = dict[str, Annotated[float, Meta(ge=0, le=100)]]


class SelfCheckCase(Struct):
    identity: Identity
    injected: Injected = field(name="planted")


class SelfCheckSamples(Struct):
    cells: dict[str, Annotated[list[Any], Meta(min_length=1)]]
    log_ratios: dict[str, Any] = {}


class SelfCheck(Record, kw_only=True):
    """One table of the gate about the gate."""

    case: SelfCheckCase
    samples: SelfCheckSamples
    wall_s: Seconds

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        cells, expected = self.samples.cells.keys(), self.case.identity.cells
        if expected is not UNSET and set(expected) != cells:
            yield f"samples: cells: has {len(cells)} cells of {len(expected)}"
        if strange := self.case.injected.keys() - cells:
            yield f"case: planted: {min(strange)!r} is no cell"


class AsvCase(Struct):
    identity: Identity
    injected: Injected = field(name="planted")
    cells: list[str]


class AsvSamples(Struct):
    changes: dict[str, Positive]
    factor: Annotated[float, Meta(ge=1, le=1e6)]


class AsvCheck(Record, kw_only=True):
    """The same of `asv continuous`."""

    case: AsvCase
    samples: AsvSamples
    wall_s: Seconds

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if strange := self.samples.changes.keys() - set(self.case.cells):
            yield f"samples: changes: {min(strange)!r} is no cell"
