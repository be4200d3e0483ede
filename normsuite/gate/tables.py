"""Tables of a gate: two versions, how often the gate is wrong, where it was measured. Imports no torch."""

from collections.abc import Sequence

from ..presentation import accelerator, text
from ..presentation.table import Column, Table
from ..records import kinds, schema
from ..records.schema.gate import Gate, Side
from ..records.schema.record import DeviceState, Environment, Record
from . import self_check_rates
from .decide import TONES
from .row import CellRow
from .summary import said_of_threads, said_of_thresholds, title


def verdicts(record: dict, found: Sequence[CellRow]) -> Table:
    """Return a table of those rows, in their order."""
    gate = schema.of(record, Gate)
    return Table(
        f"{title(record)}: intervals hold together with {1 - gate.case.alpha:.0%} probability",
        (
            "cell",
            "metric",
            Column("base", is_number=True, only_pages=True),
            Column("head", is_number=True, only_pages=True),
            "head against base",
            Column("verdict", tones=TONES),
            "note",
            Column("values", is_number=True),
        ),
        [
            (
                row.cell,
                row.metric,
                *(text.value(value, row.unit) for value in (row.base, row.head)),
                row.comparison or text.ABSENT,
                row.verdict,
                row.remark,
                "" if row.values is None else str(row.values),
            )
            for row in found
        ],
        kinds.GATE.command,
        note=f"Over all cells and interim looks; {said_of_thresholds(gate)}. Values are the processes or seeds from "
        "which an interval is made; counted bytes and errors have none",
    )


def error_rates(records: Sequence[dict]) -> Table:
    """Return how often the gate is wrong, from tables that were made to find out."""
    of = self_check_rates.found(records)
    asked = [
        ("equal", "tables with a false alarm", of.false_alarms),
        ("equal", "tables with something called better", of.false_improvements),
        ("equal", "tables with an interval that misses 1", of.missed),
        ("equal", "cells called the same", of.same),
        ("not slower", "cells called worse", of.false_cells),
        ("not slower", "cells undecided", of.undecided),
        *((f"slower by {100 * share:g}%", "cells called worse", rate) for share, rate in of.injected.items()),
        *(
            (f"measured {size} slower", "cells called worse", rate)
            for size, rate in self_check_rates.by_size(records).items()
        ),
        *(
            (f"slower by {100 * share:g}%, {length}", "cells called worse", rate)
            for share in self_check_rates.SHARES[:3]
            for length, rate in self_check_rates.by_length(records, share).items()
        ),
    ]
    environment = schema.of(records[-1], Record).environment
    typical, longest = map(text.seconds, of.seconds)
    measured = self_check_rates.measured_means(records).items()
    means = [f"{100 * share:g}% as {text.interval(of, text.percent)}" for share, of in measured]
    sizes = f"Injected slowdowns were measured, in the mean up to the first look: {', '.join(means)}. " if means else ""
    offset = self_check_rates.offset(records)
    equal = "" if offset is None else f"Equal versions differ there by {text.interval(offset, _offset)}. "
    return Table(
        f"The gate's own error rates, from {len(records)} tables on {environment.cpu}, {environment.cores} cores",
        (
            "versions",
            "counted",
            *(Column(name, is_number=True) for name in ("found", "of", "at least", "at most")),
        ),
        [
            (versions, counted, str(rate.k), str(rate.n), f"{rate.at_least:.3g}", f"{rate.at_most:.3g}")
            for versions, counted, rate in asked
            if rate.n
        ],
        kinds.SELF_CHECK.command,
        note="A table has a false alarm, or something called better, if one of its cells or group means has. Bounds: "
        "one-sided, 95 %, Clopper and Pearson, as if all tables and all cells of one table were independent. Cells of "
        f"one table are not: divide numbers of cells by {self_check_rates.DESIGN_EFFECT} before reading their bounds. "
        f"Sizes come from the processes that decided. {sizes}{equal}A table took {typical} in the median, {longest} at "
        "most",
    )


def _offset(share: float) -> str:
    return f"{share:+.3%}"


def method(record: dict) -> Table:
    """Return where and how a gate was measured."""
    gate = schema.of(record, Gate)
    environment, state = gate.environment, gate.environment.device_state
    rows = [
        ("processor", environment.cpu),
        ("cores", str(environment.cores)),
        ("threads", said_of_threads(gate)),
        *([("accelerator", environment.accelerator)] if environment.accelerator else []),
        *accelerator.rows(environment.device, [state] if isinstance(state, DeviceState) else []),
        *environment.packages.items(),
        *_of_base(environment),
        ("base", _commit(gate.case.base)),
        ("head", _commit(gate.case.head)),
        ("time spent", text.seconds(gate.spent_s)),
    ]
    return Table("The gate", ("what", "value"), rows, kinds.GATE.command)


def _of_base(environment: Environment) -> list[tuple[str, str]]:
    """Return the packages of base that differ from head's, where base has an interpreter of its own."""
    if environment.base is None:
        return []
    python = {} if environment.base.python is None else {"python": environment.base.python}
    found = python | (environment.base.packages or {})
    return [(f"{name} of base", found[name]) for name in found if found[name] != environment.packages.get(name)]


def _commit(side: Side) -> str:
    return f"{side.commit} {side.subject}".strip()
