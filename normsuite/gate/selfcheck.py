"""The gate's own error rates: tables of a version against itself, and tables with injected slowdowns.

Every table is a gate as users run it, and leaves a record; records of several runs by the same method on the same
processor model and torch add up. In a table with injected slowdowns head's calls make additions behind their own work.
"""

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from .. import device as devices
from .. import kinds, processor, provenance, results, source_code
from ..errors import ArgumentError, NormsuiteError
from ..measure import process
from . import asv_continuous, calibrate, decide, injected_commits, measure
from .cells import Cell
from .lock import Lock
from .rates import SHARES, belongs, is_injected
from .summary import TIME, rows
from .trees import Tree

SLOWER_CELLS = 1 / 2
"""Share of the cells of a table with slowdowns; each of `SHARES` has an equal number of them."""

_METHOD = (
    "alternating.py",
    "budget.py",
    "cells.py",
    "decide.py",
    "groups.py",
    "looks.py",
    "measure.py",
    "../allocator.py",
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
    setup: measure.Setup,
    *,
    tables: int,
    planted_tables: int,
    asv_pairs: int = 0,
    repository: Path,
    out: Path,
    on_progress: Callable[[str, float], None] = lambda stage, spent_s: None,
    on_table: Callable[[dict], None] = lambda record: None,
) -> list[dict]:
    """Measure the tables that are missing, until there are so many of either kind.

    Args:
        setup: of the gate; its base is compared with itself.
        tables, planted_tables: how many there shall be in all.
        asv_pairs: how many of the versions with slowdowns `asv continuous` shall have compared too, in all; and as
            many times the base with itself.
        repository: of the base.
        out: where the records are.
        on_progress: told what the gate says.
        on_table: told each record that was made now.

    Returns:
        The tables' records, and those of asv.

    Raises:
        ArgumentError: a negative number, or pairs for asv where its benchmarks have none of the cells.
        NormsuiteError: a table measured nothing.
    """
    for name, value in (("tables", tables), ("planted_tables", planted_tables), ("asv_pairs", asv_pairs)):
        if value < 0:
            raise ArgumentError(name, value, "must not be negative")
    identity = _identity(setup)
    found = [
        record for record in results.read_records(out, kinds.SELF_CHECK.what) if belongs(record, identity, injection())
    ]
    wanted = {False: tables, True: planted_tables}
    if asv_pairs and not any(asv_continuous.able(cell, repository) for cell in setup.cells):
        raise ArgumentError("asv_pairs", asv_pairs, "none of the cells is among asv's benchmarks here")
    with injected_commits.clone(setup.base, repository) if asv_pairs else nullcontext() as clone:
        while missing := [kind for kind in (False, True) if sum(is_injected(r) == kind for r in found) < wanted[kind]]:
            # What is least complete comes next, so that an interrupted check has some of both.
            kind = min(missing, key=lambda kind: sum(is_injected(r) == kind for r in found) / wanted[kind])
            number = sum(is_injected(r) == kind for r in found)
            record = _table(setup, kind, number, identity, on_progress)
            results.write_record(
                out, f"{kinds.SELF_CHECK.what}-{'planted' if kind else 'same'}-{results.digest(record)}", record
            )
            found.append(record)
            on_table(record)
        rivals = [
            record
            for record in results.read_records(out, kinds.ASV_CHECK.what)
            if belongs(record, identity, injection())
        ]
        if clone is not None:
            done = {record["case"]["number"] for record in rivals}
            for number in (number for number in range(2 * asv_pairs) if number not in done):
                on_progress(f"asv continuous, pair {number + 1} of {2 * asv_pairs}", 0.0)
                record = _by_asv(setup, clone, number, identity, repository)
                results.write_record(out, f"{kinds.ASV_CHECK.what}-{results.digest(record)}", record)
                rivals.append(record)
                on_table(record)
    return found + rivals


def method(device: str = "cpu") -> str:
    """Return the digest of what measures a table there and decides when a cell is measured no more."""
    return _digest(_METHOD if device == "cpu" else (*_METHOD, *_ON_ACCELERATOR))


def injection() -> str:
    """Return the digest of what makes a call slower, and finds by how much."""
    return _digest(_INJECTION)


def _digest(names: Sequence[str]) -> str:
    here, digest = Path(__file__).parent, hashlib.sha256()
    for name in names:
        digest.update(source_code.decisive(here / name))  # a comment must not set hours of records aside
    return digest.hexdigest()[:16]


def _identity(setup: measure.Setup) -> dict:
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


def _shares(setup: measure.Setup, number: int) -> dict[Cell, float]:
    """Return the slowdowns of the table of that number."""
    draw = random.Random(number)
    count = max(1, round(len(setup.cells) * SLOWER_CELLS / len(SHARES)))
    chosen = draw.sample(list(setup.cells), min(len(setup.cells), count * len(SHARES)))
    return {cell: SHARES[place % len(SHARES)] for place, cell in enumerate(chosen)}


def _table(setup, slower: bool, number: int, identity: dict, on_progress) -> dict:
    """Measure one table."""
    shares = _shares(setup, number) if slower else {}
    added = {cell.name: count for cell, count in _additions(setup.base, shares, setup.threads).items()}
    begun = time.perf_counter()
    outcome = measure.run(replace(setup, head=setup.base, added=added), on_progress)
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
        {"identity": identity, "injection": injection(), "planted": _named(shares), "number": number},
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


def _additions(base: Tree, shares: Mapping[Cell, float], threads: int, *, within: bool = False) -> dict[Cell, int]:
    try:
        with Lock().alone():
            return calibrate.additions(base, shares, threads, within=within)
    except process.Died as died:
        raise NormsuiteError(f"how much extra work a slowdown takes could not be measured: {died}") from None


def _named(shares: Mapping[Cell, float]) -> dict[str, float]:
    return {cell.name: share for cell, share in shares.items()}


def _by_asv(setup: measure.Setup, clone: Path, number: int, identity: dict, repository: Path) -> dict:
    """Compare versions with slowdowns, and a version with itself, in turn: those cells that asv's benchmarks have."""
    cells = [cell for cell in setup.cells if asv_continuous.able(cell, repository)]
    shares = {} if number % 2 else {c: s for c, s in _shares(setup, number // 2).items() if c in cells}
    base = injected_commits.commit(clone, {})
    additions = _additions(base, shares, setup.threads, within=True)
    head = injected_commits.commit(clone, additions, said=f"pair {number}")
    changes, spent_s = asv_continuous.compare(repository, clone, base.commit, head.commit, cells)
    return results.make_record(
        kinds.ASV_CHECK.what,
        {
            "identity": identity,
            "injection": injection(),
            "planted": _named(shares),
            "number": number,
            "cells": [cell.name for cell in cells],
        },
        {"changes": changes, "factor": asv_continuous.FACTOR},
        environment=provenance.environment(),
        seeds=[number],
        wall_s=round(spent_s, 1),
    )
