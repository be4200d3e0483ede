"""Find how many additions make a call take longer by a share: an injected slowdown is made of them.

Found in processes of their own, for the very call that the gate times, so that the slowdown is the same work in every
process that comes after; a real one is no different. `python -m normsuite.gate.calibrate` is such a process.
"""

import math
import random
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from ..errors import NormsuiteError
from ..measure import listening, pairs, process
from ..measure.clock import Call, HostTimer
from ..measure.prepared import PreparedCall
from ..measure.workload import Absent
from ..targets.loading import load
from . import sides, turns
from .cells import Cell, cell_from_dict, modules_of
from .slowdowns import add
from .trees import Tree

_COUNT = 1000
_LARGE = 0.25
"""Extra work with which the slope is measured, as a share of the call's own time: large against noise, and so small
that other threads still wait for the next call without sleeping, as they do with the slowdown itself."""

_BLOCKS, _LONGEST_S = 600, 0.5
_GUESS_S = 0.1
"""Seconds for timing additions alone, which only tells roughly how many make that extra work."""

_PROCESSES = 3
"""How far a call is slowed by additions differs from process to process by a tenth, and more where a process is
disturbed: the median of the numbers that so many find is taken."""


SlowedCalls = Callable[[Call, Cell], Callable[[int], object]]
"""Returns, for a cell's call, a function of a number of additions that makes the call with so many more."""


def additions(tree: Tree, shares: Mapping[Cell, float], threads: int, *, way: str | None = None) -> dict[Cell, int]:
    """Return for each cell the number of additions with which its call takes longer by that share in that version.

    A cell that the version cannot compute is left out.

    Args:
        tree: the version.
        shares: of each cell's time.
        threads: that it is measured with.
        way: import path of a function that returns `SlowedCalls` for the version's packages; where left out, the
            caller makes the additions behind the call, as the gate's worker does.

    Raises:
        Died: the process ended with an error, or hung.
    """
    if not shares:
        return {}
    cells = list(shares)
    job = {
        "folder": str(tree.folder),
        "packages": list(tree.packages),
        "modules": sorted({module for cell in cells for module in modules_of(cell)}),
        "cells": [cell.as_dict() for cell in cells],
        "shares": [shares[cell] for cell in cells],
        "threads": threads,
        "way": way,
    }
    found: dict[Cell, list[int]] = {cell: [] for cell in cells}
    for _ in range(_PROCESSES):
        limits = {"first_s": turns.START_S, "limit_s": turns.SILENT_S}
        for message in listening.messages(["-m", __name__], job, process.variables(threads), **limits):
            found[cells[message["cell"]]].append(message["additions"])
    return {cell: statistics.median(of) for cell, of in found.items() if of}


def _work(job: dict, emit: Callable[[dict], None]) -> None:
    torch.set_num_threads(job["threads"])
    known = job["packages"]
    packages = sides.load(Path(job["folder"]), sides.BASE, known, job["modules"], alone=True)
    slowed: SlowedCalls = _behind if job["way"] is None else load("way", job["way"])(packages)  # type: ignore[operator]
    for index, (found, share) in enumerate(zip(job["cells"], job["shares"], strict=True)):
        cell = cell_from_dict(found)
        given = [None] if isinstance(cell, PreparedCall) else [cell.task.operands()]
        try:
            (call,) = sides.ready(sides.package_for(cell, packages, known), cell, given)
        except Absent:  # the gate shows it as n/a
            continue
        emit({"cell": index, "additions": _additions(cell, share, slowed(call, cell))})


def _behind(call: Call, _: Cell) -> Callable[[int], object]:
    def with_so_many(count: int) -> None:
        call()
        add(count)

    return with_so_many


def _additions(cell: Cell, share: float, with_so_many: Callable[[int], object]) -> int:
    """Return the number of additions, by the slope of a large number of them within the call.

    A loop runs slower there than alone, by how much depends on the call: alone it finds warm caches, and no other
    thread that waits. The large number takes a quarter of the call's time, so that the noise of a time, which would be
    as large as a small share, is a fiftieth of the slope. (By tries with the small share itself, each divided by a time
    with noise and corrected upwards more than downwards, 1 % was 1.27 % in the mean.)
    """

    def compare(base: Callable[[], object], head: Callable[[], object], longest_s: float) -> pairs.CallPair:
        # Additions are the host's work, on whichever device the norm is computed.
        bounds = {"blocks": _BLOCKS, "longest_s": longest_s, "draw": random.Random(0)}
        return pairs.compare(HostTimer(base), HostTimer(head), **bounds)

    with torch.set_grad_enabled(cell.task.gradients):
        alone = compare(partial(add, _COUNT), partial(with_so_many, 0), _GUESS_S)
        large = max(1, round(_COUNT * _LARGE * math.exp(alone.log_ratio)))
        took = math.expm1(compare(partial(with_so_many, 0), partial(with_so_many, large), _LONGEST_S).log_ratio)
    if took <= 0:
        raise NormsuiteError(f"{cell.name}: {large} additions took no time that could be measured")
    return max(1, round(share * large / took))


if __name__ == "__main__":
    process.speak(_work)
