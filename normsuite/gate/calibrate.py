"""How many additions take as long as a share of a call: what a planted slowdown is made of.

Found once, in a process of its own, for the very call that the gate times, so that the slowdown is the same work in
every process that comes after; a real one is no different. `python -m normsuite.gate.calibrate` is that process.
"""

import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from ..bench import process
from . import pairs, sides
from .cells import Cell
from .planted import add
from .trees import Tree

_COUNT = 1000
_BLOCKS, _LONGEST_S = 400, 1.0


def additions(tree: Tree, shares: Mapping[Cell, float], threads: int) -> dict[Cell, int]:
    """For each cell the number of additions that take that share of its call's time in that version.

    Raises:
        Died: the process ended with an error.
    """
    if not shares:
        return {}
    cells = list(shares)
    job = {"folder": str(tree.folder), "cells": [cell.as_dict() for cell in cells], "threads": threads}
    found = process.messages(["-m", __name__], job, process.environment(threads))
    return {cells[m["cell"]]: round(shares[cells[m["cell"]]] * m["additions"]) for m in found}


def _work(job: dict, emit: Callable[[dict], None]) -> None:
    torch.set_num_threads(job["threads"])
    package = sides.load(Path(job["folder"]), sides.BASE, "functional", "backends")
    draw = random.Random(0)
    for index, cell in enumerate(Cell.from_dict(found) for found in job["cells"]):
        given = cell.task.operands()
        given.input.requires_grad_(cell.task.gradients)
        call = sides.ready(package, cell, given)
        with torch.set_grad_enabled(cell.task.gradients):
            found = pairs.compare(
                partial(add, _COUNT), call, blocks=_BLOCKS, longest_s=_LONGEST_S, draw=draw, device=cell.task.device
            )
        emit({"cell": index, "additions": _COUNT * math.exp(found.log_ratio)})


if __name__ == "__main__":
    process.speak(_work)
