"""Groups of a table's cells whose means are judged beside the cells: all of a norm, of a backend, of a mode.

A slowdown that is too small to be certain in any cell may be certain in the mean of many. A group has a value from each
process that measured all of its cells.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from ..measure.labels import HOST, backend_of


def of_cells(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the members of each group of two cells or more, by the group's name; equal groups once.

    Args:
        names: of cells, as `Cell.name` has them.
    """
    found: dict[str, list[str]] = {}
    split = {name: _parts(name) for name in names}
    for place in range(3):
        by_part: dict[str, list[str]] = {}
        for name, parts in split.items():
            for part in parts[place : place + 1]:
                by_part.setdefault(f"all {part}", []).append(name)
        found |= {name: of for name, of in by_part.items() if len(of) > 1 and of not in found.values()}
    return found


def is_of_host_time(name: str) -> bool:
    """Return whether that is the name of a cell of host time, or of a group of such."""
    return name.endswith(f", {HOST}") or (name.endswith(f"/{HOST}") and name.count("/") > 1)


def _parts(name: str) -> tuple[str, ...]:
    """Return the norm, the backend and the mode in a cell's name; of a call of another project what its name has.

    Cells of host time have groups of their own.
    """
    norm, *rest = name.split("/")
    parts = (norm, backend_of(rest[0]), *rest[2:3]) if rest else (norm,)
    return tuple(f"{part}, {HOST}" for part in parts) if is_of_host_time(name) else parts


Values = Mapping[str, Mapping[int, float]]
"""Logarithms of ratios, by cell or group and by the number of the process."""


def means(groups: Mapping[str, Sequence[str]], values: Values) -> dict[str, dict[int, float]]:
    """Return for each group and process the mean over the group's cells, if the process measured all of them.

    Args:
        groups: the members of each; a cell that no process measured, or that the table lacks, is passed over.
        values: of the cells.
    """
    found = {}
    for name, members in groups.items():
        of_members = [values[cell] for cell in members if values.get(cell)]
        if len(of_members) > 1:
            numbers = sorted(set.intersection(*map(set, of_members)))
            found[name] = {number: math.fsum(of[number] for of in of_members) / len(of_members) for number in numbers}
    return found
