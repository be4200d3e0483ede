"""Types of records: fields, ranges and lengths of every kind and schema, checked once, when a record is read.

A field that is not named here is let be, so that newer records still read.
"""

from typing import TypeVar

import msgspec

from ...files.writing import finite
from .. import kinds
from .ahead import Ahead
from .bench import Bench
from .conformance import Conformance
from .gate import Gate
from .numerics import Numerics
from .record import Record
from .self_check import AsvCheck, SelfCheck
from .study import Study

KINDS: dict[str, type[Record]] = {
    kinds.STUDY.what: Study,
    kinds.BENCH.what: Bench,
    kinds.GATE.what: Gate,
    kinds.SELF_CHECK.what: SelfCheck,
    kinds.ASV_CHECK.what: AsvCheck,
    kinds.NUMERICS.what: Numerics,
    kinds.CONFORMANCE.what: Conformance,
    kinds.AHEAD.what: Ahead,
}
"""Types by what a record says that it is of; any other kind is a `Record`."""


T = TypeVar("T", bound=Record)


def of(record: dict, kind: type[T]) -> T:
    """Return a record as an object of its type, a copy: once a table or chart, not once a row.

    NaN and infinities are texts there, as in a file. That values fit each other is checked where a record is read
    (`typed`), not here.

    Args:
        record: just read, or just made.
        kind: its type.

    Raises:
        ValueError: a value is of another kind, out of range or missing; says where.
    """
    return _converted(finite(record), kind)


def _converted(record: dict, kind: type[T]) -> T:
    try:
        return msgspec.convert(record, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(str(error)) from None


def typed(record: dict) -> Record:
    """Return a record as an object of its type.

    Raises:
        ValueError: a value is of another kind, out of range or missing, or two contradict each other; says where.
    """
    what = record.get("what")
    found = _converted(record, KINDS.get(what, Record) if isinstance(what, str) else Record)
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
