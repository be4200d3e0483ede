"""Tables of errors against float64. Imports no torch."""

import math
from collections.abc import Iterable

from ..presentation import text
from ..presentation.table import Table
from ..records import kinds, schema
from ..records.schema.numerics import Numerics
from ..spec import NORMS


def error(value: object) -> float:
    """Return an error as recorded, which may be infinite by name; NaN for a reason why there is none."""
    if not isinstance(value, float | int | str):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


def written(value: object) -> str:
    """Return an error as recorded for people, or the reason why there is none."""
    found = error(value)
    return f"n/a: {value}" if math.isnan(found) else text.relative(found)


def titled(record: dict) -> str:
    """Return what a record is of: type, device, activation and shape, and its norms where they are few."""
    found = schema.of(record, Numerics)
    case, norms = found.case, list(dict.fromkeys(row.norm for row in found.samples))
    after = f", {case.activation}" if case.activation else ""
    few = f": {', '.join(norms)}" if len(norms) < len(NORMS) else ""
    return f"{case.dtype} on {case.device}{after}, {' × '.join(map(str, case.shape))}{few}"


def in_order(names: Iterable[str]) -> list[str]:
    """Return the norms, those that this package knows first, in the order of all tables."""
    found = dict.fromkeys(names)
    return [*(name for name in NORMS if name in found), *(name for name in found if name not in NORMS)]


def errors(record: dict) -> Table:
    """Return every error of a record, a column for each norm."""
    checked = schema.of(record, Numerics)
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for kind in ("output", "gradient"):
        for row in checked.samples:
            value = row.output if kind == "output" else row.gradient
            cells.setdefault((kind, f"{row.mean:g}", row.backend), {})[row.norm] = written(value)
    case = checked.case
    norms = in_order(row.norm for row in checked.samples)
    after = f" after {case.activation}" if case.activation else ""
    return Table(
        f"Largest error{after} against float64, relative to the true values' root mean square, {case.dtype} on "
        f"{case.device}, shape {' × '.join(map(str, case.shape))}, input of deviation 1 about the given mean. "
        "Computed on fixed inputs: no interval",
        ("of the", "input mean", "backend", *norms),
        [(*key, *(of_norm.get(norm, "n/a") for norm in norms)) for key, of_norm in cells.items()],
        kinds.NUMERICS.command,
    )
