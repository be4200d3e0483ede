"""Types of records: fields, ranges and lengths of every kind and schema, checked once, when a record is read.

A field that is not named here is let be, so that newer records still read. Ranges exclude NaN; a measurement that may
give NaN or an infinity stores it by name, as JSON has neither.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0, le=1.7e308)]
Number = Annotated[float, Meta(ge=-1.7e308, le=1.7e308)]
ByName = Annotated[str, Meta(pattern="^(nan|inf|-inf)$")]
PositiveByName = Annotated[str, Meta(pattern="^(nan|inf)$")]
AnyNumber = Number | ByName
AnyPositive = Positive | PositiveByName
Error = Positive | str
"""An error of numerics; by name where it is not finite, or the reason why there is none."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Few = Annotated[int, Meta(ge=1, le=10**6)]
Seconds = Positive
Time = Annotated[float, Meta(ge=1e-12, le=1e6)]
Shape = Annotated[list[Size], Meta(min_length=1, max_length=16)]


class Environment(Struct):
    """The machine and the software."""

    cpu: str
    cores: Few
    packages: dict[str, str]
    threads: Few | None = None
    governor: str | None = None
    accelerator: str | None = None
    driver: str | None = None
    system: str | None = None
    python: str | None = None
    allocator: dict[str, str] = {}


class Record(Struct, kw_only=True):
    """Fields of every kind of record."""

    schema: Size
    what: str
    environment: Environment
    case: Any
    samples: Any
    written: str | UnsetType = UNSET
    commit: str | None = None
    source: str | None = None
    seeds: list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]] = []
    depends: dict[str, Any] = {}
    notes: list[str] = []
    workers: Few | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields."""
        if self.written is not UNSET:
            yield from _no_date("written", self.written)


def _no_date(name: str, text: str) -> Iterator[str]:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        yield f"{name}: {text[:40]!r} is no date"


# ---- study ----


class StudyCase(Struct):
    norm: str
    seed: Count
    epochs: Few
    batch_size: Size | None = None
    learning_rate: Positive | None = None
    dataset: str | None = None
    hold_out: Count | None = None


class Epoch(Struct):
    epoch: Few
    train_loss: AnyPositive
    train_accuracy: Share
    test_loss: AnyPositive
    test_accuracy: Share
    seconds: Seconds


class Layer(Struct):
    shift: AnyPositive | None
    gradient_change: AnyPositive | None
    mean: AnyNumber | None = None
    std: AnyPositive | None = None
    gradient_cosine: Annotated[float, Meta(ge=-1.001, le=1.001)] | ByName | None = None


class Watched(Struct):
    step: Count
    layers: list[Layer]


class Mistake(Struct):
    digit: Count
    label: Annotated[int, Meta(ge=0, le=9)]
    taken_for: Annotated[int, Meta(ge=0, le=9)]
    confidence: Share


class StudySamples(Struct):
    epochs: Annotated[list[Epoch], Meta(min_length=1)]
    network_parameters: Size
    norm_parameters: Count
    mistakes: list[Mistake] | UnsetType = UNSET
    tested: Annotated[list[Count], Meta(min_length=10, max_length=10)] | UnsetType = UNSET
    shift: list[Watched] | UnsetType = UNSET


class Study(Record, kw_only=True):
    """A training run."""

    case: StudyCase
    samples: StudySamples

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        epochs = [of.epoch for of in self.samples.epochs]
        if epochs != [*range(1, self.case.epochs + 1)]:
            yield f"samples: epochs: are not 1 to {self.case.epochs}, one after the other"
        watched = self.samples.shift or []
        if len({len(of.layers) for of in watched}) > 1:
            yield "samples: shift: has not the same layers at every step"


# ---- bench ----


Mode = Literal["forward", "step", "backward", "evaluation"]


class Task(Struct, kw_only=True):
    norm: str
    case: str
    shape: Shape
    mode: Mode
    activation: str | None
    meaning: str | None = None
    num_groups: Size | None = None
    channels_last: bool = False
    tiny: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    backend: str | None = None


class BenchTask(Task, kw_only=True):
    tiny: bool


class Process(Struct):
    times_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]]
    own_pools: list[str]
    others_share: Share | None
    host_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]] = {}
    waits_s: dict[str, Seconds] = {}
    clock_mhz: Count | None = None


class Counts(Struct):
    output_error: Error | None = None
    gradient_error: Error | None = None
    peak_bytes: Count | None = None
    saved_bytes: Count | None = None


class BenchSettings(Struct):
    processes: Few
    seconds: Seconds | None = None
    threads: Size | None = None


class BenchSamples(Struct):
    processes: list[Process]
    counts: dict[str, Counts]
    refused: dict[str, str]


class Bench(Record, kw_only=True):
    """Implementations on one task."""

    case: BenchTask
    samples: BenchSamples
    settings: BenchSettings

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        processes = self.samples.processes
        if len(processes) > self.settings.processes:
            yield "samples: processes: are more than were asked for"
        if len({frozenset(of.times_s) for of in processes if of.times_s}) > 1:  # one that died has none
            yield "samples: processes: not all timed the same"
        for of in processes:
            for times in (of.times_s, of.host_s):
                if len({len(values) for values in times.values()}) > 1:
                    yield "samples: processes: rounds are not complete"


# ---- gate ----


class Side(Struct):
    name: str
    commit: str
    subject: str = ""
    digest: str = ""


class Sides(Struct):
    base: dict[str, Error] | UnsetType = UNSET
    head: dict[str, Error] | UnsetType = UNSET


class Absent(Struct):
    base: str | None = None
    head: str | None = None


class ErrorRates(Struct):
    base: Annotated[list[Share], Meta(min_length=1)] | UnsetType = UNSET
    head: Annotated[list[Share], Meta(min_length=1)] | UnsetType = UNSET
    absent: Absent | UnsetType = UNSET


class Cell(Task, kw_only=True):
    """A cell of the plan; results are kept by its name."""

    norm: str | UnsetType = UNSET
    case: str | UnsetType = UNSET
    shape: Shape | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
    activation: str | None = None


class Known(Struct, forbid_unknown_fields=True):
    """An accepted regression."""

    cell: str
    metric: str
    reason: str
    until: str
    at_most: Positive | None = None


class Accepted(Struct, forbid_unknown_fields=True):
    day: str
    entries: list[Known]


class GateCase(Struct):
    base: Side
    head: Side
    cells: Annotated[list[Cell], Meta(min_length=1)]
    margins: dict[str, Positive]
    alpha: Share
    threads: Few | None
    error_rate_norms: list[str]


Ratios = dict[str, dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Annotated[float, Meta(ge=-50, le=50)]]]
"""Logarithms of ratios of cells, by the number of the process."""


class GateSamples(Struct):
    log_ratios: Ratios
    base_s: dict[str, Seconds]
    looks: list[Count]
    counts: dict[str, Sides]
    absent: dict[str, Absent]
    error_rates: dict[str, ErrorRates]
    final: bool = False


class Gate(Record, kw_only=True):
    """Two versions on a plan of cells."""

    case: GateCase
    samples: GateSamples
    spent_s: Seconds
    accepted: Accepted | UnsetType = UNSET

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from self._problems_of_accepted()
        samples = self.samples
        if len(samples.log_ratios) != len(self.case.cells):
            yield f"samples: log_ratios: has {len(samples.log_ratios)} cells of {len(self.case.cells)}"
        for name in ("base_s", "counts", "absent"):
            if strange := getattr(samples, name).keys() - samples.log_ratios.keys():
                yield f"samples: {name}: {min(strange)!r} is no cell"
        for name, sides in samples.counts.items():
            base, head = sides.base or {}, sides.head or {}
            if name not in samples.absent and base.keys() ^ head.keys():
                yield f"samples: counts: {name}: the two versions have not the same"
        for name, of in samples.error_rates.items():
            if (of.base is UNSET) != (of.head is UNSET) or (of.base is UNSET and of.absent is UNSET):
                yield f"samples: error_rates: {name}: one of the two versions is missing"
            elif len(of.base or ()) != len(of.head or ()):
                yield f"samples: error_rates: {name}: the two versions have not as many seeds"
        for name in ("time", "bytes", "error"):
            if name not in self.case.margins:
                yield f"case: margins: lacks {name}"

    def _problems_of_accepted(self) -> Iterator[str]:
        if self.accepted is not UNSET:
            for text in (self.accepted.day, *(entry.until for entry in self.accepted.entries)):
                yield from _no_date("accepted", text)


# ---- the gate's self-check ----


class Identity(Struct):
    cells: list[str] | UnsetType = UNSET
    cpu: str | None = None
    cores: Size | None = None
    budget_s: Seconds | None = None


Planted = dict[str, Annotated[float, Meta(ge=0, le=100)]]


class SelfCheckCase(Struct):
    identity: Identity
    planted: Planted


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
        if strange := self.case.planted.keys() - cells:
            yield f"case: planted: {min(strange)!r} is no cell"


class AsvCase(Struct):
    identity: Identity
    planted: Planted
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


# ---- numerics ----


class NumericsCase(Struct):
    shape: Shape
    dtype: str
    device: str


class Row(Struct):
    norm: str
    mean: Number
    backend: str
    output: Error
    gradient: Error


class Numerics(Record, kw_only=True):
    """Errors against float64."""

    case: NumericsCase
    samples: Annotated[list[Row], Meta(min_length=1)]

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        rows = {(row.norm, row.mean, row.backend) for row in self.samples}
        if len(rows) < len(self.samples):
            yield "samples: a norm, mean and backend are there twice"
        count = 1
        for part in zip(*rows, strict=True):
            count *= len(set(part))
        if count != len(self.samples):
            yield f"samples: has {len(self.samples)} of {count} rows"


# ---- checks ----


class ConformanceCase(Struct):
    target: str
    like: str | None
    args: list[str]
    kwargs: dict[str, str]


class CheckResult(Struct):
    check: str
    sentence: str
    status: Literal["ok", "differs", "unsupported", "fails", "not applicable"]
    text: str
    figure: AnyNumber | None
    beside: AnyNumber | None
    unit: str
    smallest: dict[str, Any] | None
    expected: str | None


class ConformanceSamples(Struct):
    results: Annotated[list[CheckResult], Meta(min_length=1)]
    notes: list[str]


class Conformance(Record, kw_only=True):
    """Checks of one target."""

    case: ConformanceCase
    samples: ConformanceSamples


# ---- kernels compiled ahead of time ----


class AheadCase(Struct):
    capabilities: Annotated[list[Size], Meta(min_length=1)]
    only: str


class Compiled(Struct):
    kernel: str
    capability: Size
    registers: Count
    stack_bytes: Count
    local_bytes: Count
    loads: dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Count]
    local: Count
    atomics: Count


class Kernel(Struct):
    compiled: Compiled
    programs: Count
    widest: Count
    faults: list[str]


class Call(Struct):
    call: str
    capability: Size
    ratio: Positive


class AheadSamples(Struct):
    kernels: Annotated[list[Kernel], Meta(min_length=1)]
    calls: Annotated[list[Call], Meta(min_length=1)]


class Ahead(Record, kw_only=True):
    """Kernels compiled without a device."""

    case: AheadCase
    samples: AheadSamples
    compiler: dict[str, str | None] = {}


KINDS: dict[str, type[Record]] = {
    "study": Study,
    "bench": Bench,
    "gate": Gate,
    "gate-self-check": SelfCheck,
    "gate-self-check-asv": AsvCheck,
    "numerics": Numerics,
    "conformance": Conformance,
    "ahead-of-time": Ahead,
}
"""Types by what a record says that it is of; any other kind is a `Record`."""


def typed(record: dict) -> Record:
    """Return a record as an object of its type.

    Raises:
        ValueError: a value is of another kind, out of range or missing, or two contradict each other; says where.
    """
    what = record.get("what")
    kind = KINDS.get(what, Record) if isinstance(what, str) else Record
    try:
        found = msgspec.convert(record, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if (reason := next(found.problems(), None)) is not None:
        raise ValueError(reason)
    return found


def problem(record: dict) -> str | None:
    """Return why a record is invalid, or None."""
    try:
        typed(record)
    except ValueError as error:
        return str(error)
    return None
