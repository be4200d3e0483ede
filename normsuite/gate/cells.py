"""The workloads that a gate measures, a cell of its table each."""

from ..measure.prepared import PreparedCall
from ..measure.workload import Workload

Cell = Workload | PreparedCall


def modules_of(cell: Cell) -> tuple[str, ...]:
    """Return the modules in which a cell's call is found; the first one tells its package."""
    return (cell.module,) if isinstance(cell, PreparedCall) else cell.implementation.modules


def cell_from_dict(found: dict) -> Cell:
    """Return the cell that its `as_dict` describes, also when it was stored as JSON."""
    return (PreparedCall if "prepare" in found else Workload).from_dict(found)
