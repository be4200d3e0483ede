"""The workloads that a gate measures, a cell of its table each."""

from dataclasses import replace

from ..measure.prepared import PreparedCall
from ..measure.workload import Workload

Cell = Workload | PreparedCall


def modules_of(cell: Cell) -> tuple[str, ...]:
    """Return the modules in which a cell's call is found; the first one tells its package."""
    return (cell.module,) if isinstance(cell, PreparedCall) else cell.implementation.modules


def with_host_time(cell: Cell, host_time: bool = True) -> Cell:
    """Return the cell of the same call by the other clock: host time, or the device's."""
    if isinstance(cell, PreparedCall):
        return replace(cell, host_time=host_time)
    return replace(cell, task=replace(cell.task, host_time=host_time))


def cell_from_dict(found: dict) -> Cell:
    """Return the cell that its `as_dict` describes, also when it was stored as JSON."""
    return (PreparedCall if "prepare" in found else Workload).from_dict(found)
