"""A process that measures on the processor: tasks come in as one line of JSON, results go out as one line each.

`python -m normsuite.bench.worker` is started by `run`, with an allocator that keeps what it got: that must be set
before the process begins. An accelerator's is `device_worker`.
"""

import gc
import os
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import torch

from .. import tunings
from ..measure import environment as measured_environment
from ..measure import process
from ..measure.accuracy import Errors, errors_of
from ..measure.implementations import Implementation, choose, everyone
from ..measure.labels import AGAIN, BASELINE, COPY, PREALLOCATED
from ..measure.metric import COUNTED, GRADIENT_ERROR, OUTPUT_ERROR
from ..measure.schedule import TimedCall, interleave, spinning_s
from ..measure.task import Task
from ..measure.workload import Absent, CallFailed, Subject, Workload
from ..records import provenance

_STAT, _IDLE, _IOWAIT = Path("/proc/stat"), 3, 4
"""The kernel's table of processor time, a line for each core, and the columns in which a core did not work."""

_DIFFERENT = 0.05
"""An implementation whose error is larger than this and than ten times that of torch.nn computes something else."""


def work(job: dict, emit: Callable[[dict], None]) -> None:
    """Run all tasks of a job.

    Args:
        job: "count" (memory and errors instead of times), "tasks", "backends", "threads", "seconds", "number" (of the
            process, its seed).
        emit: told the environment, then of each task that it begins and what came out.
    """
    torch.set_num_threads(job["threads"])
    tasks = [Task.from_dict(found) for found in job["tasks"]]
    emit({"environment": environment(tasks[0].device)})
    draw = random.Random(job["number"])
    order = list(range(len(tasks)))
    if not job["count"]:
        draw.shuffle(order)
    waits_s: dict[str, float] = {}
    for place, index in enumerate(order):
        if place == 1:  # the libraries are loaded: looking through their objects takes longer than most tasks
            gc.freeze()
        gc.collect()
        emit({"begin": index})
        task = tasks[index]
        with torch.set_grad_enabled(task.gradients):
            measured = _count(task, job["backends"]) if job["count"] else _time(task, job, draw, waits_s)
        emit({"task": index, **measured})


def _prepared(task: Task, given, backends: list[str]) -> tuple[list[tuple[Implementation, Callable]], dict[str, str]]:
    """Return those that can do the task, each after a first call, and the reasons of the others."""
    able, refused = [], {}
    for implementation in choose(backends):
        try:
            (call,) = Workload(implementation, task).ready([given])
            able.append((implementation, call))
        except CallFailed as failed:
            refused[implementation.label] = f"failed: {failed}"
        except Absent as absent:
            refused[implementation.label] = str(absent)
    return able, refused


def _time(task: Task, job: dict, draw: random.Random, waits_s: dict[str, float]) -> dict:
    able, refused = _prepared(task, task.operands(), job["backends"])
    timed_calls = [TimedCall(implementation.label, implementation.pool, call) for implementation, call in able]
    for timed_call in timed_calls:
        if timed_call.pool not in waits_s:
            waits_s[timed_call.pool] = spinning_s(timed_call.call)
    others = OtherPrograms()
    times = interleave(
        timed_calls,
        control=AGAIN,
        seconds=job["seconds"],
        draw=draw,
        waits_s=waits_s,
        always=(BASELINE, AGAIN, COPY, COPY + PREALLOCATED),
    )
    home = next((e.pool for e in timed_calls if e.label == BASELINE), Implementation.pool)
    return {
        "times_s": {name: [t if t is None else round(t, 9) for t in of_name] for name, of_name in times.items()},
        "own_pools": [e.label for e in timed_calls if e.pool != home],
        "waits_s": {pool: round(wait, 6) for pool, wait in waits_s.items()},
        "others_share": others.share(),
        "clock_mhz": None,
        "refused": refused,
    }


class OtherPrograms:
    """The share that other programs take of the cores that this process may use.

    They slow threaded calls, whose threads wait for each other, far more than serial ones, and so change ratios in a
    way that no pairing corrects.
    """

    def __init__(self):
        self._cores = _usable()
        self._busy_s, self._own_s, self._begun = _busy_s(self._cores), time.process_time(), time.perf_counter()

    def share(self) -> float | None:
        """Return the share since this was made; None where the system does not tell.

        The system counts in steps of 10 ms, which in a short time may come to more than there is.
        """
        busy_s = _busy_s(self._cores)
        if self._busy_s is None or busy_s is None:
            return None
        others = busy_s - self._busy_s - (time.process_time() - self._own_s)
        return round(min(1.0, max(0.0, others) / (time.perf_counter() - self._begun) / len(self._cores)), 3)


def _usable() -> frozenset[str]:
    """Return the names in the kernel's table of the cores that any thread of this process may use; none if not known.

    OpenMP may bind the main thread to one of them.
    """
    try:
        threads = map(int, os.listdir("/proc/self/task"))
        cores = frozenset().union(*map(os.sched_getaffinity, threads))
    except (AttributeError, OSError):  # AttributeError: a system without affinities
        return frozenset()
    return frozenset(f"cpu{number}" for number in cores)


def _busy_s(cores: Collection[str]) -> float | None:
    """Return the seconds that these cores have worked since the system started, or a hypervisor kept them from it.

    None where the system does not tell, or not of each core.
    """
    try:
        lines = _STAT.read_text(encoding="ascii").splitlines()
        of_cores = [list(map(int, line.split()[1:9])) for line in lines if line.partition(" ")[0] in cores]
        ticks = sum(sum(core) - core[_IDLE] - core[_IOWAIT] for core in of_cores)
    except (OSError, ValueError, IndexError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK") if cores and len(of_cores) == len(cores) else None


def _count(task: Task, backends: list[str]) -> dict:
    given = task.operands()
    able, refused = _prepared(task, given, backends)
    # What a backward pass gives is judged, and what it was left is counted, in a step.
    whole = replace(task, mode="step") if task.mode == "backward" else task
    errors, counts = errors_of(whole, given), {}
    for implementation, call in able:
        step = call if whole is task else implementation.prepare(whole, given)
        counts[implementation.label] = counted(implementation, Subject(task, given, call, step), errors)
    return {"counts": counts, "refused": refused, "different": different(counts, task)}


def counted(implementation: Implementation, subject: Subject, errors: Errors) -> dict[str, float | None]:
    """Return the errors of a call, by its step where it has one, and what is counted of it, by the names in records.

    What such a task has nothing of is 0.
    """
    found: dict[str, float | None] = {}
    if implementation.is_norm:
        output, gradient = errors(implementation, (subject.step or subject.call)())
        found |= {OUTPUT_ERROR.key: output, GRADIENT_ERROR.key: gradient}
    if implementation.torch_memory:
        found |= {metric.key: 0 for metric in COUNTED} | {m.key: value for m, value in subject.counts().items()}
    return found


def different(counts: dict[str, dict], task: Task) -> dict[str, str]:
    """Return the implementations whose results are not those of norm and activation, and how far off they are."""
    behind = f", asked for {task.activation} after the norm" if task.activation else ""
    found = {}
    for label, counted in counts.items():
        for metric in (OUTPUT_ERROR, GRADIENT_ERROR):
            error, usual = counted.get(metric.key), counts.get(BASELINE, {}).get(metric.key)
            most = max(_DIFFERENT, 10 * (usual or 0.0))  # torch.nn may have no such norm
            if error is not None and not error <= most:
                found[label] = f"computes something else ({metric.name} {error:.1e}{behind})"
    return found


def environment(device: str) -> dict:
    """Return a record's description of the machine, with the versions and the tuning that a bench depends on."""
    found = measured_environment.on(device)
    needed = dict.fromkeys(name for implementation in everyone() for name in implementation.packages)
    found["packages"] |= {name: version for name in needed if (version := provenance.version(name))}
    if device == "cpu":
        tuning = tunings.current()
        found |= {"tuning": tuning.digest, "tuning_origin": tuning.origin}
    return found


if __name__ == "__main__":
    process.speak(work)
