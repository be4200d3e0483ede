"""A process that measures on an accelerator: tasks come in as one line of JSON, results go out as one line each.

`python -m normsuite.bench.device_worker` is started by `run`, which starts another one for what is left where this one
cannot go on: after a capture that failed, or an error that leaves the device unusable for the process.
"""

import gc
import random
from collections.abc import Callable, Mapping, Sequence

import torch

from ..errors import one_line
from ..machine import device as devices
from ..machine.device_state import DeviceState
from ..measure import device_clock, process
from ..measure.accuracy import errors_of
from ..measure.clock import Call
from ..measure.device_clock import Accelerator, Device
from ..measure.device_schedule import Uncapturable, timed
from ..measure.implementations import Implementation, choose
from ..measure.operands import Operands
from ..measure.task import Task
from ..measure.workload import Absent, CallFailed, Subject, Workload, sets_that_fit
from . import worker

QUEUED, LEFT_OUT = "queued", "left out"
"""How an implementation that failed is handled: its calls are queued one by one, or it is left out."""

Failures = Mapping[str, tuple[str, str]]
"""One of those two and the reason, by label."""


class Unusable(Exception):
    """The device reports an error that every later call in this process reports again."""

    def __init__(self, label: str, reason: str):
        super().__init__(f"{label}: {reason}")
        self.label, self.reason = label, reason


def work(job: dict, emit: Callable[[dict], None]) -> None:
    """Run the tasks of a job that are left, on the accelerator.

    Args:
        job: "count" (memory and errors too), "tasks", "left" (their indices, in this order), "backends", "threads",
            "seconds", "number" (of the process, its seed), "failures" (of implementations in processes before:
            "task_of", "label", "norm", "mode", "fate", "reason").
        emit: told the environment, then of each task that it begins and what came out; at last of a failure that ended
            this process early.
    """
    torch.set_num_threads(job["threads"])
    tasks = [Task.from_dict(found) for found in job["tasks"]]
    name = tasks[0].device
    state = DeviceState(name)
    emit({"environment": _environment(name, state), "state_reason": state.reason})
    device, draw = Accelerator(name), random.Random(job["number"])
    for place, index in enumerate(job["left"]):
        if place == 1:  # the libraries are loaded: looking through their objects takes longer than most tasks
            gc.freeze()
        gc.collect()
        emit({"begin": index})
        task = tasks[index]
        known = _known(job["failures"], index, task)
        chosen = choose(job["backends"], device=name)
        fitting = sets_that_fit(task, devices.free_bytes(name), devices.cache_bytes(name), held=len(chosen))
        if not fitting:
            emit({"task": index, "skipped": f"needs more than half of the memory that is free on {name}"})
            continue
        before = device_clock.state_under_load(device, state)
        try:
            found = measured(
                task,
                chosen,
                device,
                sets=fitting,
                seconds=job["seconds"],
                draw=draw,
                failures=known,
                count=job["count"],
            )
        except (Uncapturable, Unusable) as failed:
            fate = QUEUED if isinstance(failed, Uncapturable) else LEFT_OUT
            where = {"task_of": index, "label": failed.label, "norm": task.spec.name, "mode": task.mode}
            emit({"failed": {**where, "fate": fate, "reason": failed.reason}})
            return
        except torch.OutOfMemoryError as error:
            emit({"task": index, "skipped": one_line(error)})
            continue
        after = device_clock.state_under_load(device, state)
        clock_mhz = after["sm_mhz"] if after else devices.clock_mhz(name)
        emit({"task": index, **found, "clock_mhz": clock_mhz, "device_state": [before, after]})


def _known(failures: Sequence[Mapping], index: int, task: Task) -> Failures:
    """Return the failures in this task, and of captures in others of the same norm and mode.

    Trying those again would cost a process each.
    """
    return {
        failure["label"]: (failure["fate"], failure["reason"])
        for failure in failures
        if failure["task_of"] == index
        or (failure["fate"] == QUEUED and (failure["norm"], failure["mode"]) == (task.spec.name, task.mode))
    }


def measured(
    task: Task,
    implementations: Sequence[Implementation],
    device: Device,
    *,
    sets: int,
    seconds: float,
    draw: random.Random,
    failures: Failures,
    count: bool,
) -> dict:
    """Return device and host times of all that can do a task, and with `count` their memory and errors.

    Args:
        task: what is measured.
        implementations: those that are tried.
        device: the runtime of the task's device.
        sets: of operands.
        seconds: of samples.
        draw: shuffles the order.
        failures: of those who failed in such a task before.
        count: memory and errors too.

    Raises:
        Uncapturable: a capture failed, and the process cannot capture any more.
        Unusable: the device cannot be used any more.
    """
    given = [task.operands(number) for number in range(sets)]
    others = worker.OtherPrograms()
    try:
        with torch.set_grad_enabled(task.gradients):
            calls, refused = _prepared(task, given, implementations, device, failures)
            counts = _counts(task, given[0], implementations, calls) if count else {}
            queued = {label: reason for label, (fate, reason) in failures.items() if fate == QUEUED}
            found = timed(calls, device, seconds=seconds, draw=draw, queued=queued)
    finally:
        calls, given = {}, []  # else they would keep the memory
        device.release()
    extra = {"counts": counts, "different": worker.different(counts, task)} if count else {}
    return {
        "times_s": _rounded(found.device_s),
        "host_s": _rounded(found.host_s),
        "not_captured": {label: reason for label, reason in found.captured.items() if reason is not None},
        "operand_sets": sets,
        "own_pools": [],
        "waits_s": {},
        "others_share": others.share(),
        "refused": refused,
        **extra,
    }


def _rounded(times: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {label: [round(t, 10) for t in of_label] for label, of_label in times.items()}


def _prepared(
    task: Task, given: Sequence[Operands], implementations: Sequence[Implementation], device: Device, failures: Failures
) -> tuple[dict[str, list[Call]], dict[str, str]]:
    """Return the calls of those that can do the task, warmed up, and the reasons of the others."""
    able, refused = {}, {}
    for implementation in implementations:
        label = implementation.label
        fate, reason = failures.get(label, ("", ""))
        if fate != LEFT_OUT:
            try:
                able[label] = Workload(implementation, task).ready(given)
                device_clock.warm_up(able[label], device)
                continue
            except torch.AcceleratorError as error:
                raise Unusable(label, one_line(error)) from error
            except CallFailed as failed:
                reason = f"failed: {failed}"
            except Absent as absent:
                reason = str(absent)
        refused[label] = reason
    return able, refused


def _counts(
    task: Task, given: Operands, implementations: Sequence[Implementation], calls: Mapping[str, Sequence[Call]]
) -> dict[str, dict]:
    """Return errors and bytes by label, of the first set of operands."""
    errors, counts = errors_of(task, given), {}
    for implementation in implementations:
        if implementation.label in calls:
            call = calls[implementation.label][0]
            subject = Subject(task, given, call, call if task.mode == "step" else None)
            counts[implementation.label] = worker.counted(implementation, subject, errors)
    return counts


def _environment(device: str, state: DeviceState) -> dict:
    return {**worker.environment(device), "device": devices.properties(device), "device_state": state.reason or "read"}


if __name__ == "__main__":
    process.speak(work)
