"""Run a gate: count bytes and errors, time what is still open, train for error rates; make one record of it.

The parts are `counts`, `looks` and `error_rate`; `processes` starts what they need, and `budget` says how much.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from ..errors import NormsuiteError
from ..measure import metric
from ..measure.operands import SEED
from ..records import results
from . import decide, error_rate
from .budget import Budget
from .counts import Counts
from .lock import Lock
from .looks import Looks
from .processes import Processes
from .setup import Setup
from .sides import SIDES

WHAT = "gate"
MARGINS = {**metric.margins(), "worse": decide.THRESHOLD, "limit": decide.LIMIT}
"""How far from 1 a ratio may lie, and from 0 a difference of error rates, and still count as the same; "worse" and
"limit" are of the time (`decide.Thresholds`)."""


@dataclass
class GateRun:
    """The outcome of a gate: its record, lines on what went wrong, and whether the user interrupted it."""

    record: dict | None = None
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def run(setup: Setup, on_progress: Callable[[str, float], None] = lambda stage, spent_s: None) -> GateRun:
    """Compare two versions; what was measured has a record, also after an interruption.

    Args:
        setup: what and how.
        on_progress: told what is going on, and the seconds that were spent so far.

    Raises:
        ArgumentError: a number out of range, or a version that cannot be imported, which it names.
        NormsuiteError: no process measured anything; the message has the last that one said.
    """
    setup.check()
    budget, lock = Budget(setup.budget_s), Lock()
    with Processes(setup, budget, lock, on_progress) as processes:
        counts = Counts(setup, processes, budget)
        looks = Looks(setup, processes, budget, counts)
        error_rates: dict[str, dict] = {}
        outcome = GateRun(notes=processes.notes)
        try:
            counts.run()
            looks.run()
            if setup.norms:
                error_rates.update(_error_rates(setup, budget, lock, on_progress))
        except KeyboardInterrupt:
            outcome.interrupted = True
    if processes.environment is not None:
        outcome.record = record(setup, processes, budget, counts, looks, error_rates)
    elif not outcome.interrupted:
        raise NormsuiteError(f"nothing was measured: {'; '.join(processes.notes)}")
    return outcome


def _error_rates(setup: Setup, budget: Budget, lock: Lock, on_progress) -> Iterator[tuple[str, dict]]:
    """Train with either version. It needs no quiet machine, but another gate's clock may be running."""
    with lock.alone():
        yield from error_rate.measure(
            {side: setup.tree(side) for side in SIDES},
            setup.norms,
            setup.seeds,
            pythons=setup.pythons,
            targets=setup.targets,
            on_run=lambda done, of: on_progress(f"error rates, run {done} of {of}", budget.spent_s),
        )


def record(
    setup: Setup, processes: Processes, budget: Budget, counts: Counts, looks: Looks, error_rates: dict[str, dict]
) -> dict:
    """Return the record of what was measured."""
    case = {
        "base": setup.base.as_dict(),
        "head": setup.head.as_dict(),
        "cells": [cell.as_dict() for cell in setup.cells],
        "groups": looks.groups,
        "margins": dict(setup.margins),
        "alpha": decide.ALPHA,
        "budget_s": setup.budget_s,
        "threads": setup.threads,
        "apart": processes.apart,
        "error_rate_norms": list(setup.norms),
    }
    samples = {
        "log_ratios": {name: {str(k): v for k, v in of.items()} for name, of in looks.values.items()},
        "base_s": {name: sorted(of)[len(of) // 2] for name, of in looks.base_s.items() if of},
        "looks": looks.looks,
        "final": looks.final,
        "blocks": looks.blocks,
        "counts": counts.counts,
        "absent": {name: of for name, of in counts.absent.items() if of},
        "error_rates": error_rates,
    }
    return results.make_record(
        WHAT,
        case,
        samples,
        environment=processes.environment or {},
        seeds=[SEED],
        spent_s=round(budget.spent_s, 2),
        notes=[*budget.notes, *processes.notes],
    )


def name(record: dict) -> str:
    """Return the name of the record's file: two gates at different times are two records."""
    head = record["case"]["head"]["commit"][:9]
    identity = {k: record[k] for k in ("case", "samples", "written")}
    return f"{WHAT}-{head}-{results.digest(identity)}"


def default_threads() -> int:
    """Return torch's own number of threads."""
    return torch.get_num_threads()
