"""Two folders of records side by side: the same tables, a column for each of the two."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..bench.tables import every_case
from ..history import cost
from ..lesson import claims
from ..numerics.tables import errors
from ..presentation.table import Column, Table
from ..presentation.text import ABSENT
from ..study import tables
from .collect import Collected
from .page import Page, Section, Sentence

Tables = dict[str, tuple[Table, int]]
"""Tables by a name that is the same in both folders, with the number of columns that say what a row is about."""


def _study(collected: Collected) -> Tables:
    if not collected.study:
        return {}
    return {
        "last epoch": (tables.last_epoch(collected.studied), 1),
        "reaching": (tables.reaching(collected.study), 2),
        "verdicts": (tables.verdicts(claims.judge(collected.study)), 2),
    }


def _against(collected: Collected) -> Tables:
    found: dict[tuple, Table | None] = {}
    for bench in collected.benches:
        found.setdefault(bench.key, every_case(bench))  # of several processors the first
    # Two processors stand side by side, and so do two accelerators, whatever they are called.
    first: Tables = {}
    for (device, dtype), cases in found.items():
        if cases:
            first.setdefault(f"{bool(device)} {dtype}", (cases, 4))
    return first


def _cost(collected: Collected) -> Tables:
    found = [*cost.latency(collected.cost), cost.memory(collected.cost), cost.error_rate(collected.cost)]
    return {table.caption: (table, 3) for table in found if table}


def _errors(collected: Collected) -> Tables:
    found: Tables = {}
    for table in map(errors, collected.numerics):  # those with most norms first
        found.setdefault(table.caption, (table, 3))
    return found


_PARTS: dict[str, Callable[[Collected], Tables]] = {
    "Learning": _study,
    "Against the alternatives": _against,
    "One commit": _cost,
    "Numerics": _errors,
}


def compare(left: Collected, right: Collected, left_name: str, right_name: str) -> Page:
    """Return one page of what both have.

    Args:
        left, right: what was collected.
        left_name, right_name: what to call the two folders.
    """
    sections = []
    for title, part in _PARTS.items():
        of_left, of_right = part(left), part(right)
        merged = [merge(table, of_right[name][0], keys) for name, (table, keys) in of_left.items() if name in of_right]
        alone = [f"Only in A: {table.caption}." for name, (table, _) in of_left.items() if name not in of_right]
        alone += [f"Only in B: {table.caption}." for name, (table, _) in of_right.items() if name not in of_left]
        nothing = () if merged or alone else ("In neither folder.",)
        key = title.lower().replace(" ", "-")
        sections.append(Section(key, title, nothing, tuple(map(Sentence, alone)), tables=tuple(merged)))
    lead = (
        f"A is {left_name}, B is {right_name}. Here figures of two machines or versions stand beside each other; "
        "whether they differ is for the gate and the study to say."
    )
    return Page("compare", "Comparison", "Two folders of records", lead, tuple(sections))


def merge(left: Table, right: Table, keys: int) -> Table:
    """Return one table of two that are about the same: for each value a column of the left and one of the right.

    Args:
        left, right: the tables.
        keys: how many of the first columns say what a row is about.
    """
    by_key: list[dict[tuple, dict[str, Any]]] = [
        {row[:keys]: dict(zip(table.names[keys:], row[keys:], strict=True)) for row in table.rows}
        for table in (left, right)
    ]
    columns = {column.name: column for table in (left, right) for column in table.columns[keys:]}
    rows = [
        (*key, *(of.get(key, {}).get(name, ABSENT) for name in columns for of in by_key))
        for key in dict.fromkeys([*by_key[0], *by_key[1]])
    ]
    return Table(
        left.caption if left.caption == right.caption else f"A: {left.caption}. B: {right.caption}",
        (*left.columns[:keys], *(_of_side(column, side) for column in columns.values() for side in "AB")),
        rows,
        left.command,
    )


def _of_side(column: Column, side: str) -> Column:
    return replace(column, name=f"{column.name}: {side}")
