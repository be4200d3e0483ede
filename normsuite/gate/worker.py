"""A process of a gate: it holds both versions, or one of them, and measures cells.

`python -m normsuite.gate.worker` is started by `starts`; results go out as one line each.
"""

import gc
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch

from ..errors import one_line
from ..measure import clock, environment, pairs, process, workload
from ..measure.clock import Call
from ..measure.operands import Operands
from ..measure.prepared import PreparedCall, PreparedTask
from ..measure.task import Task
from ..measure.workload import Absent
from . import alternating, counting, sides, slowdowns, turns
from .cells import Cell, cell_from_dict, with_host_time
from .sides import BASE, HEAD

_MOST_PADDING = 1 << 16


def work(job: dict, emit: Callable[[dict], None]) -> None:
    """Measure the cells of a job.

    Args:
        job: "sides" (folder of each that is to be loaded), "packages" and "modules" (names of what they import),
            "cells", "added" (additions of each in head), "count" (bytes and errors instead of times), "blocks" and
            "longest_s" (for each cell), "threads", "number" (of the process, its seed).
        emit: sends a message: that the sides are imported, the environment, then what was counted of each cell, and
            that all is ready. When standard input says so, the times of each cell follow, or where they are counted
            the seconds of a sample: processes are started together and timed one after another. A process that holds
            one side is asked for each sample. Where a side cannot be imported, a message names it, with the reason,
            and the process ends.
    """
    torch.set_num_threads(job["threads"])
    draw = random.Random(job["number"])
    # The layout of memory changes times by several per cent: it is drawn anew in each process.
    padding = bytearray(draw.randrange(_MOST_PADDING))
    try:
        packages = _imported(job, draw)
        emit({"imported": True})
        cells = _Cells(job, packages, draw, emit)
        order = list(range(len(job["cells"])))
        if not job["count"]:  # counts depend on no order, and neighbours in the plan share a reference result
            draw.shuffle(order)
        for index in order:
            cells.prepare(index)
    except turns.Unimportable as failed:
        emit({"unimportable": failed.side, "error": failed.said, "beside": list(failed.beside)})
        return
    gc.collect()
    gc.freeze()
    emit({"ready": True})
    if not job["count"] and len(job["sides"]) == 1:
        alternating.answer(cells.open, emit)
    elif sys.stdin.readline():  # else the parent has ended
        for index in order:
            cells.time(index)
    del padding


def _imported(job: dict, draw: random.Random) -> dict[str, dict[str, ModuleType]]:
    """Return the packages of each version by their names, imported in an order that is drawn."""
    packages: dict[str, dict[str, ModuleType]] = {}
    for side in draw.sample(sorted(job["sides"]), len(job["sides"])):
        try:
            alone = len(job["sides"]) == 1
            packages[side] = sides.load(Path(job["sides"][side]), side, job["packages"], job["modules"], alone=alone)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever importing a version raises: the parent says it
            # A package may import itself by its own name, which only works alone.
            raise turns.Unimportable(side, one_line(error), sorted(job["sides"].keys() - {side})) from error
    return packages


class _Cells:
    """The cells of a job, prepared one by one and then timed.

    Args:
        job, emit: as `work` takes them.
        packages: of each version by their names.
        draw: what is drawn in this process.
    """

    def __init__(self, job: dict, packages: dict[str, dict[str, ModuleType]], draw: random.Random, emit):
        self._job, self._packages, self._draw, self._emit = job, packages, draw, emit
        self._cells = [cell_from_dict(found) for found in job["cells"]]
        self._given = _Given(draw, len(packages))
        self._made: dict[Cell, tuple[dict[str, list[Call]], dict[str, str]]] = {}
        self._ready: dict[int, tuple[dict[str, list[Call]], dict[str, str]]] = {}
        device = self._cells[0].task.device
        clock.open_device(device)
        emit({"environment": environment.timed_on(device)})

    def prepare(self, index: int) -> None:
        """Prepare the calls of a cell, and count where that is asked for; raises `turns.Unimportable`."""
        cell, known, count = self._cells[index], self._job["packages"], self._job["count"]
        self._emit({"begin": index})
        calls, absent = self._prepared(cell)
        if self._job["added"][index]:  # both take the same path, and differ in the number of additions alone
            added = {BASE: 0, HEAD: self._job["added"][index]}
            calls = {side: [slowdowns.beside(call, added[side]) for call in of_side] for side, of_side in calls.items()}
        self._ready[index] = calls, absent
        if len(self._packages) > 1:
            try:
                sides.refuse_own_names(known)  # a prepared call may import when it is prepared
            except ImportError as error:
                raise turns.Unimportable(HEAD, one_line(error), [BASE]) from error
        if count:
            given = self._given.of(cell)[0] if calls else None  # else an accelerator may have no room for them
            counts = {side: counting.values(of_side[0], cell, given) for side, of_side in calls.items()}
            for side in counts:
                counts[side] |= counting.errors(sides.package_for(cell, self._packages[side], known), cell)
            self._emit({"cell": index, "absent": absent, "counts": counts})

    def _prepared(self, cell: Cell) -> tuple[dict[str, list[Call]], dict[str, str]]:
        """Return the calls of a cell and the reasons of versions without any; two clocks time the same calls."""
        alike = with_host_time(cell, False)
        if alike not in self._made:
            self._made[alike] = _ready(self._packages, self._job["packages"], cell, self._given)
        return self._made[alike]

    def open(self, index: int) -> tuple[dict[str, list[Call]], dict[str, str], Task | PreparedTask]:
        """Return the calls of a cell that is about to be timed, why versions have none, and its task."""
        calls, absent = self._ready[index]
        if calls:
            self._given.of(self._cells[index])  # asks again for the input's gradient, or not: two modes share it
        return calls, absent, self._cells[index].task

    def time(self, index: int) -> None:
        """Time a cell, or plan how often it is called where counts are asked for, and send what was found."""
        calls, absent, task = self.open(index)
        self._emit({"begin": index})
        begun = time.perf_counter()
        with torch.set_grad_enabled(task.gradients):
            count = self._job["count"]
            found = counting.plan(calls, task) if count else _time(calls, absent, task, self._job, self._draw)
        self._emit({"cell": index, "spent_s": time.perf_counter() - begun, **found})


class _Given:
    """Sets of operands, made once for all cells that share them."""

    def __init__(self, draw: random.Random, versions: int):
        self._draw, self._versions = draw, versions
        self._made: dict[tuple, tuple[list[Operands], bytearray]] = {}

    def of(self, cell: Cell) -> Sequence[Operands | None]:
        """Return the operands of a cell; `[None]` for a prepared call, which has its own.

        Raises:
            Absent: the accelerator has no room for them.
        """
        if isinstance(cell, PreparedCall):
            return [None]
        task = cell.task
        key = (task.spec.affine, task.spec.centred, task.case, task.dtype, task.parameter_dtype)
        if key not in self._made:
            given = workload.sets(task, held=self._versions)
            self._made[key] = given, bytearray(self._draw.randrange(_MOST_PADDING))
        given = self._made[key][0]
        for each in given:
            each.input.requires_grad_(task.gradients)
        return given


def _ready(
    packages: dict[str, dict[str, ModuleType]], known: Sequence[str], cell: Cell, given: _Given
) -> tuple[dict[str, list[Call]], dict[str, str]]:
    """Return the calls of those versions that can do the cell, and the reasons of the others."""
    calls, absent = {}, {}
    for side, of_side in packages.items():
        try:
            calls[side] = sides.ready(sides.package_for(cell, of_side, known), cell, given.of(cell))
        except Absent as reason:
            absent[side] = _by_own_names(str(reason), of_side)
    return calls, absent


def _by_own_names(text: str, packages: dict[str, ModuleType]) -> str:
    """Return a text with the packages' own names instead of those that tell two versions apart in one process."""
    for name, package in packages.items():
        text = text.replace(package.__name__, name)
    return text


def _time(
    calls: dict[str, list[Call]], absent: dict[str, str], task: Task | PreparedTask, job: dict, draw: random.Random
) -> dict[str, object]:
    if absent:
        return {"absent": absent}
    bounds = {"blocks": job["blocks"], "longest_s": job["longest_s"]}
    with clock.timers(calls, device=task.device, host_time=task.host_time) as timers:
        found = pairs.compare(timers[BASE], timers[HEAD], draw=draw, **bounds)
    return {"log_ratio": found.log_ratio, "base_s": found.base_s, "blocks": found.blocks}


def main() -> None:
    """Run the job that standard input describes."""
    process.speak(work)


if __name__ == "__main__":
    main()
