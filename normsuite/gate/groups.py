"""Groups of a table's cells whose means are judged beside the cells: all of a norm, of a backend, of a mode.

A slowdown that is too small to be certain in any cell may be certain in the mean of many. A group has a value from each
process that measured all of its cells.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

_PLACES = (0, 1, 3)
"""Of the norm, the backend and the mode in a cell's name."""


def of_cells(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the members of each group of two cells or more, by the group's name; equal groups once.

    Args:
        names: of cells, as `Cell.name` has them.
    """
    split = {name: name.split("/") for name in names}
    found: dict[str, list[str]] = {}
    for place in _PLACES:
        for parts in (parts for parts in split.values() if place < len(parts)):  # a prepared call has no backend
            name = f"all {parts[place]}"
            members = [cell for cell, of in split.items() if of[place : place + 1] == [parts[place]]]
            if len(members) > 1 and members not in found.values():
                found[name] = members
    return found


Values = Mapping[str, Mapping[int, float]]
"""Of each cell or group, for each process by its number the logarithm of its ratio."""


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
