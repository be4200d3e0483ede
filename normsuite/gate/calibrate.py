"""How many additions make a call take longer by a share: what a planted slowdown is made of.

Found once, in a process of its own, for the very call that the gate times, so that the slowdown is the same work in
every process that comes after; a real one is no different. `python -m normsuite.gate.calibrate` is that process.
"""

import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from ..errors import NormsuiteError
from ..measure import pairs, process
from ..measure.clock import HostTimer
from ..measure.prepared import PreparedCall
from . import sides
from .cells import PLANTED_FUNCTIONS, PLANTED_MODULES, Cell, cell_from_dict, module_of, planted_key
from .planted import add, plant
from .trees import PACKAGE, Tree

_COUNT = 1000
_LARGE = 1.0
"""Of the call's own time, what the slope is measured with."""

_BLOCKS, _LONGEST_S = 400, 0.4


def additions(tree: Tree, shares: Mapping[Cell, float], threads: int) -> dict[Cell, int]:
    """Return for each cell the number of additions with which its call takes longer by that share in that version.

    Raises:
        Died: the process ended with an error.
    """
    if not shares:
        return {}
    cells = list(shares)
    job = {
        "folder": str(tree.folder),
        "packages": list(tree.packages),
        "modules": sorted({module for cell in cells if (module := module_of(cell)) is not None}),
        "cells": [cell.as_dict() for cell in cells],
        "shares": [shares[cell] for cell in cells],
        "threads": threads,
    }
    found = process.messages(["-m", __name__], job, process.environment(threads))
    return {cells[m["cell"]]: m["additions"] for m in found}


def _work(job: dict, emit: Callable[[dict], None]) -> None:
    torch.set_num_threads(job["threads"])
    with_so_many = _own(job) if job["packages"] == [PACKAGE] else _anybodys(job)
    for index, (found, share) in enumerate(zip(job["cells"], job["shares"], strict=True)):
        cell = cell_from_dict(found)
        emit({"cell": index, "additions": _additions(cell, share, with_so_many(cell))})


def _own(job: dict) -> Callable[[Cell], Callable[[int], object]]:
    """Return what makes a cell's call with so many additions within the function or module that it calls."""
    package = sides.load(Path(job["folder"]), sides.BASE, "functional", "backends", "modules")
    now: dict[tuple, int] = {}
    plant(vars(package.functional), PLANTED_FUNCTIONS, (), now)
    plant(vars(package.modules), (), PLANTED_MODULES, now)

    def of(cell: Cell) -> Callable[[int], object]:
        (call,) = sides.ready(package, cell, [cell.task.operands()])
        where = planted_key(cell)

        def with_so_many(count: int) -> object:
            now[where] = count
            return call()

        return with_so_many

    return of


def _anybodys(job: dict) -> Callable[[Cell], Callable[[int], object]]:
    """Return what makes a cell's call with so many additions behind it."""
    known = job["packages"]
    packages = sides.load_anybodys(Path(job["folder"]), sides.BASE, known, job["modules"], alone=True)

    def of(cell: Cell) -> Callable[[int], object]:
        given = [None] if isinstance(cell, PreparedCall) else [cell.task.operands()]
        (call,) = sides.ready(sides.package_for(cell, packages, known), cell, given)
        return lambda count: (call(), add(count))

    return of


def _additions(cell: Cell, share: float, with_so_many: Callable[[int], object]) -> int:
    """Return the number of additions, by the slope of a large number of them within the call.

    A loop runs slower there than alone, by how much depends on the call: alone it finds warm caches, and no other
    thread that waits. A large addition is as long as the call itself, so that the noise of a time, which would be as
    large as a small share, is a hundredth of the slope. (By tries with the small share itself, each divided by a time
    with noise and corrected upwards more than downwards, 1 % was 1.27 % in the mean.)
    """

    def compare(base: Callable[[], object], head: Callable[[], object]) -> pairs.Pair:
        # Additions are the host's work, on whichever device the norm is computed.
        bounds = {"blocks": _BLOCKS, "longest_s": _LONGEST_S, "draw": random.Random(0)}
        return pairs.compare(HostTimer(base), HostTimer(head), **bounds)

    with torch.set_grad_enabled(cell.task.gradients):
        alone = compare(partial(add, _COUNT), partial(with_so_many, 0))
        large = max(1, round(_COUNT * _LARGE * math.exp(alone.log_ratio)))
        took = math.expm1(compare(partial(with_so_many, 0), partial(with_so_many, large)).log_ratio)
    if took <= 0:
        raise NormsuiteError(f"{cell.name}: {large} additions took no time that could be measured")
    return max(1, round(share * large / took))


if __name__ == "__main__":
    process.speak(_work)
