"""Count bytes and errors of one cell in a worker, and find how long a sample of it takes; `counts` asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import cast

import torch

from ..errors import ArgumentError
from ..measure import clock, pairs
from ..measure.accuracy import Errors, errors_of
from ..measure.clock import Call
from ..measure.metric import ERROR_MEANS, GRADIENT_ERROR, OUTPUT_ERROR, at_mean
from ..measure.operands import Operands, operands
from ..measure.prepared import PreparedCall, PreparedTask
from ..measure.task import DTYPES, Task
from ..measure.workload import Subject
from .cells import Cell


def values(call: Call, cell: Cell, given: Operands | None) -> dict[str, float | None]:
    """Return the counted metrics of a call by name; none for a cell of host time, whose device-time cell has them."""
    if cell.task.host_time:
        return {}
    task = cast(Task, cell.task)  # of a prepared call's task only the device and whether it wants gradients are read
    is_backward = not isinstance(cell, PreparedCall) and cell.task.mode == "backward"
    with torch.set_grad_enabled(task.gradients):
        subject = Subject(task, given, call, None if is_backward else call)
        found = {metric.name: value for metric, value in subject.counts().items()}
    for name, value in found.items():
        if value is not None and (isinstance(value, bool) or value < 0):  # no record holds such a value
            raise ArgumentError("metric", name, f"counted {value!r}; values are numbers of at least 0")
    return found


def errors(package: ModuleType | None, cell: Cell) -> dict[str, float | None]:
    """Return errors against float64: of the gradient where one is computed, else of the output.

    Args:
        package: whose norm it is; None for one that is the same in both versions.
        cell: the call; a backward pass alone has the errors of its step, a prepared call none, since nobody knows its
            right result, and host time has another cell beside it, which has them.
    """
    if isinstance(cell, PreparedCall) or cell.task.host_time:
        return {}
    if cell.task.mode == "backward":
        cell = replace(cell, task=replace(cell.task, mode="step"))
    of_version, task, found = cell if package is None else cell.of(package), cell.task, {}
    for mean in ERROR_MEANS if task.training else ():
        given, of = _truth(task, mean)
        with torch.set_grad_enabled(task.gradients):
            output, gradient = of(of_version.implementation, of_version.prepare(given)())
        metric, error = (GRADIENT_ERROR, gradient) if task.gradients else (OUTPUT_ERROR, output)
        found[at_mean(metric, mean)] = error
    return found


@lru_cache(maxsize=len(ERROR_MEANS))  # slower than the calls that it checks, and the same for all backends
def _truth(task: Task, mean: float) -> tuple[Operands, Errors]:
    """Return operands about that mean, made on the task's device, and the function that returns errors of results."""
    if task.on_accelerator:
        given = task.operands()
        given.input.detach().add_(mean)
    else:
        given = operands(task.spec, task.case, dtype=DTYPES[task.dtype], mean=mean)
        given.input.requires_grad_(task.gradients)
    return given, errors_of(task, given)


def plan(calls: Mapping[str, Sequence[Call]], task: Task | PreparedTask) -> dict[str, float]:
    """Return how long a sample of the longest of those calls takes, in seconds."""
    with clock.timers(calls, device=task.device, host_time=task.host_time) as timers:
        return {"sample_s": max(map(pairs.sample_s, timers.values()), default=0.0)}
