"""The gate's own error rates: tables of a version against itself, and tables with injected slowdowns.

Every table is a gate as users run it, and leaves a record; records of several runs by the same method on the same
processor model and torch add up. In a table with injected slowdowns head's calls make additions behind their own work.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..errors import ArgumentError, NormsuiteError
from ..machine import device as devices
from ..machine import processor
from ..measure import process
from ..records import kinds, provenance, results, source_code
from . import calibrate, compare, decide
from .cells import Cell
from .lock import Lock
from .row import TIME
from .self_check_rates import SHARES, belongs, is_injected
from .summary import rows
from .trees import Tree

T = TypeVar("T")

SLOWER_CELLS = 1 / 2
"""Share of the cells of a table with slowdowns; each of `SHARES` has an equal number of them."""

_METHOD = (
    "alternating.py",
    "budget.py",
    "cells.py",
    "counting.py",
    "decide.py",
    "groups.py",
    "looks.py",
    "compare.py",
    "../machine/allocator.py",
    "../measure/listening.py",
    "../measure/operands.py",
    "../measure/pairs.py",
    "../measure/preloaded.py",
    "../measure/prepared.py",
    "../measure/process.py",
    "preloads.py",
    "processes.py",
    "sides.py",
    "starts.py",
    "turns.py",
    "worker.py",
    "../measure/clock.py",
    "../measure/implementations/ours.py",
    "../measure/workload.py",
    "../statistics/intervals.py",
    "../statistics/moderated.py",
)
_ON_ACCELERATOR = ("../measure/device_clock.py",)
_INJECTION = ("calibrate.py", "slowdowns.py")


def run(
    setup: compare.Setup,
    *,
    tables: int,
    injected_tables: int,
    out: Path,
    on_progress: Callable[[str, float], None] = lambda stage, spent_s: None,
    on_table: Callable[[dict], None] = lambda record: None,
) -> list[dict]:
    """Measure the tables that are missing, until there are so many of either kind.

    Args:
        setup: of the gate; its base is compared with itself.
        tables, injected_tables: how many there shall be in all.
        out: where the records are.
        on_progress: told what the gate says.
        on_table: told each record that was made now.

    Returns:
        The tables' records, and what `asv continuous` said of the same versions, if it was asked
        (`tools/asv_continuous.py`).

    Raises:
        ArgumentError: a negative number.
        NormsuiteError: a table measured nothing.
    """
    for name, value in (("tables", tables), ("injected_tables", injected_tables)):
        if value < 0:
            raise ArgumentError(name, value, "must not be negative")
    of_method = identity(setup)
    found, rivals = (recorded(out, kind, of_method) for kind in (kinds.SELF_CHECK, kinds.ASV_CHECK))
    wanted = {False: tables, True: injected_tables}
    while missing := [kind for kind in (False, True) if sum(is_injected(r) == kind for r in found) < wanted[kind]]:
        # What is least complete comes next, so that an interrupted check has some of both.
        kind = min(missing, key=lambda kind: sum(is_injected(r) == kind for r in found) / wanted[kind])
        number = sum(is_injected(r) == kind for r in found)
        record = _table(setup, kind, number, of_method, on_progress)
        name = f"{kinds.SELF_CHECK.what}-{'injected' if kind else 'same'}-{results.digest(record)}"
        results.write_record(out, name, record)
        found.append(record)
        on_table(record)
    return found + rivals


def recorded(out: Path, kind: kinds.RecordKind, identity: dict) -> list[dict]:
    """Return the records of that kind that were made by this method and with these injections."""
    found = results.different(results.read_records(out, kind.what))
    return [record for record in found if belongs(record, identity, injection())]


def method(device: str = "cpu") -> str:
    """Return the digest of what measures a table there and decides when a cell is measured no more."""
    return _digest(_METHOD if device == "cpu" else (*_METHOD, *_ON_ACCELERATOR))


def injection() -> str:
    """Return the digest of what makes a call slower, and finds by how much."""
    return _digest(_INJECTION)


def _digest(names: Sequence[str]) -> str:
    return source_code.digest(Path(__file__).parent / name for name in names)


def identity(setup: compare.Setup) -> dict:
    """Return what records must share to be counted together."""
    accelerator = devices.name(setup.cells[0].task.device)
    return {
        "method": method(setup.cells[0].task.device),
        "cells": [cell.name for cell in setup.cells],
        "budget_s": setup.budget_s,
        "threads": setup.threads,
        "margin": setup.margins["time"],
        "worse": decide.Thresholds.of(setup.margins).worse,
        "apart": setup.apart,
        "cpu": processor.this().name,
        "cores": provenance.usable_cores(),
        "torch": provenance.version("torch"),
        **({} if accelerator is None else {"accelerator": accelerator}),
    }


def slowdowns(setup: compare.Setup, number: int) -> dict[Cell, float]:
    """Return the slowdowns of the table of that number."""
    draw = random.Random(number)
    count = max(1, round(len(setup.cells) * SLOWER_CELLS / len(SHARES)))
    chosen = draw.sample(list(setup.cells), min(len(setup.cells), count * len(SHARES)))
    return {cell: SHARES[place % len(SHARES)] for place, cell in enumerate(chosen)}


def _table(setup, slower: bool, number: int, identity: dict, on_progress) -> dict:
    """Measure one table."""
    wanted = slowdowns(setup, number) if slower else {}
    added = additions(setup.base, wanted, setup.threads) if wanted else {}
    shares = {cell: wanted[cell] for cell in added}
    begun = time.perf_counter()
    outcome = compare.run(replace(setup, head=setup.base, added=named(added)), on_progress)
    if outcome.interrupted or outcome.record is None:  # which it is after an interruption alone
        raise KeyboardInterrupt
    found = outcome.record
    cells = {
        row.cell: [row.verdict, row.ratio.value, row.ratio.low, row.ratio.high, row.values]
        for row in rows(found)
        if row.metric == TIME and row.ratio is not None
    }
    if not cells:  # it would count as a table without a false alarm
        raise NormsuiteError(f"nothing was measured: {'; '.join(found['notes'])}")
    logs = {name: [round(v, 6) for v in of.values()] for name, of in found["samples"]["log_ratios"].items()}
    return results.make_record(
        kinds.SELF_CHECK.what,
        {"identity": identity, "injection": injection(), "planted": named(shares), "number": number},
        {
            "cells": cells,
            "log_ratios": logs,
            "looks": found["samples"]["looks"],
            "final": found["samples"]["final"],
            "base_s": found["samples"]["base_s"],
            "blocks": found["samples"]["blocks"],
        },
        environment=found["environment"],
        seeds=[number],
        spent_s=found["spent_s"],
        wall_s=round(time.perf_counter() - begun, 1),
        notes=found["notes"],
    )


def additions(base: Tree, shares: Mapping[Cell, float], threads: int, *, way: str | None = None) -> dict[Cell, int]:
    """Return how many additions make each cell slower by its share; `way` as `calibrate.additions` takes it.

    Raises:
        NormsuiteError: that could not be measured.
    """
    try:
        with Lock().alone():
            return calibrate.additions(base, shares, threads, way=way)
    except process.Died as died:
        raise NormsuiteError(f"how much extra work a slowdown takes could not be measured: {died}") from None


def named(of_cells: Mapping[Cell, T]) -> dict[str, T]:
    """Return what belongs to each cell by the cell's name."""
    return {cell.name: value for cell, value in of_cells.items()}
