"""A bench: one process that counts bytes and errors, then several that take times; one record a task.

Each process is fresh, since the layout of memory and code differs between processes and decides per cents of a time,
and starts with an allocator that keeps what it got: glibc otherwise gives memory back and faults it in again,
differently for whoever comes first in the round. The first process compiles everything into caches that stay on disk,
so that those that take times all find the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import results
from ..errors import ArgumentError, NormsuiteError
from . import contestants, process
from .cases import SEED
from .summary import WHAT
from .task import Task

PROCESSES = 5
SECONDS = 0.25


@dataclass
class Outcome:
    """The records in the order of the tasks, lines on what went wrong, and whether the user cut it short."""

    records: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def run(
    tasks: Sequence[Task],
    *,
    backends: Sequence[str] = (),
    processes: int = PROCESSES,
    seconds: float = SECONDS,
    threads: int | None = None,
    cold: bool = False,
    out: Path | None = None,
    on_task: Callable[[str, Task], None] = lambda stage, task: None,
) -> Outcome:
    """Measure the tasks; those that any process has finished have a record, also after an interruption.

    Args:
        tasks: of one device.
        backends: names of contestants; the default table's where left out.
        processes: that take times.
        seconds: for each task in each process, at least.
        threads: torch's own number where left out.
        cold: flush an accelerator's caches before each sample.
        out: where records go, each time a process has ended.
        on_task: told the stage and each task that is finished.

    Raises:
        ArgumentError: a number out of range, or caches to flush on the processor.
        UnknownNameError: no such contestant.
        OutputError: a record cannot be written.
        NormsuiteError: no process finished any task; the message has the last that one said.
    """
    for name, value in (("processes", processes), ("threads", torch.get_num_threads() if threads is None else threads)):
        if value < 1:
            raise ArgumentError(name, value, "must be at least 1")
    if not 0 < seconds < float("inf"):
        raise ArgumentError("seconds", seconds, "must be positive")
    if cold and tasks[0].device == "cpu":
        raise ArgumentError("cold", cold, "flushes an accelerator's caches; the processor's tasks run with warm ones")
    contestants.choose(backends)
    if out is not None:
        results.output_folder(out, "out")
    settings = {
        "processes": processes,
        "seconds": seconds,
        "threads": torch.get_num_threads() if threads is None else threads,
        "cold": cold,
        "backends": sorted(set(backends)),
    }
    table = _Table(tasks, settings, out)
    job = {
        "tasks": [task.as_dict() for task in tasks],
        "backends": list(backends),
        "threads": settings["threads"],
        "seconds": seconds,
        "cold": cold,
    }
    outcome = Outcome()
    try:
        for number in range(processes + 1):
            stage = "bytes and errors" if number == 0 else f"times, process {number} of {processes}"
            begun = None
            try:
                for message in _messages({**job, "count": number == 0, "number": number}, settings["threads"]):
                    begun = message.get("begin", begun)
                    table.take(number, message)
                    if "task" in message:
                        on_task(stage, tasks[message["task"]])
            except process.Died as died:
                where = f" at {_title(tasks[begun])}" if begun is not None else ""
                outcome.notes.append(f"{stage}: the process ended{where} ({died}); what it had finished is kept")
            table.write()
    except KeyboardInterrupt:
        outcome.interrupted = True
        table.write()
    outcome.records = table.records()
    outcome.notes += table.notes
    if not outcome.records and not outcome.interrupted:
        raise NormsuiteError(f"nothing was measured: {'; '.join(outcome.notes)}")
    return outcome


def not_measured(device: str) -> list[str]:
    """One line for the device that this table says nothing of."""
    if device != "cpu":
        return ["cpu: not measured (--device cpu measures it)"]
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cuda: not measured (no accelerator)"]
    return [f"{found.type}: not measured (--device {found.type} measures it)"]


def _title(task: Task) -> str:
    return f"{task.spec.name} {task.case.name} {task.mode}{f' with {task.activation}' if task.activation else ''}"


def _messages(job: dict, threads: int) -> Iterator[dict]:
    return process.messages(["-m", "normsuite.bench.worker"], job, process.environment(threads))


class _Table:
    """What the processes said, by task."""

    def __init__(self, tasks: Sequence[Task], settings: dict, out: Path | None):
        self._tasks, self._settings, self._out = tasks, settings, out
        self._environment: dict | None = None
        self._counted: dict[int, dict] = {}
        self._timed: dict[int, dict[int, dict]] = {}
        self._written: dict[int, int] = {}
        self.notes: list[str] = []

    def take(self, number: int, message: dict) -> None:
        """One line of the process of that number, 0 being the one that counts."""
        if "environment" in message:
            self._environment = message["environment"]
        if "task" not in message:
            return
        index = message["task"]
        found = {k: v for k, v in message.items() if k != "task"}
        if number == 0:
            self._counted[index] = found
            self.notes += [f"{_title(self._tasks[index])}: {k} {v}" for k, v in found["different"].items()]
        else:
            self._timed.setdefault(index, {})[number] = found

    def records(self) -> list[dict]:
        """One for each task that any process has timed."""
        return [self._record(index) for index in sorted(self._timed)]

    def write(self) -> None:
        """Those that have become more since the last time."""
        for index, timed in self._timed.items() if self._out is not None else ():
            if len(timed) != self._written.get(index):
                record = self._record(index)
                results.write_record(self._out, _name(record), record)
                self._written[index] = len(timed)

    def _record(self, index: int) -> dict:
        task, counted, timed = self._tasks[index], self._counted.get(index, {}), self._timed[index]
        different = counted.get("different", {})
        absent = {"times_s": {}, "own_pools": [], "waits_s": {}, "others_share": None, "clock_mhz": None}
        processes = []
        for number in range(1, self._settings["processes"] + 1):  # one that died leaves its place empty
            found = timed.get(number, absent)
            times = {k: v for k, v in found["times_s"].items() if k not in different}
            processes.append({**{k: found[k] for k in absent}, "times_s": times})
        refused = {**counted.get("refused", {}), **different}
        for found in timed.values():
            refused = {**found["refused"], **refused}
        return results.make_record(
            WHAT,
            task.as_dict(),
            {"processes": processes, "counts": counted.get("counts", {}), "refused": refused},
            environment=self._environment,
            seeds=[SEED],
            settings=self._settings,
        )


def _name(record: dict) -> str:
    """The same task under the same conditions has the same name."""
    case = record["case"]
    identity = {k: record[k] for k in ("case", "settings", "source", "environment")}
    words = [WHAT, case["norm"], case["case"].replace("×", "x"), case["mode"], case["activation"] or ""]
    return "-".join([*filter(None, words), results.digest(identity)])
