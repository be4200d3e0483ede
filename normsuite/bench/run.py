"""A bench: one process that counts bytes and errors, then several that take times; one record a task.

Each process is fresh, since the layout of memory and code differs between processes and decides per cents of a time,
and starts with an allocator that keeps what it got: otherwise glibc returns memory to the system, and the first call of
a round pays for getting it again. The first process compiles everything into caches that stay on disk,
so that those that take times all find the same.

On an accelerator the first process that takes times counts as well, tasks are done in the order of the plan, and each
has its record as soon as it is done: the run may have a budget, and what is first in the plan is most important.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..conventions.defaults import BENCH_PROCESSES, BENCH_PROCESSES_ON_ACCELERATORS, BENCH_SECONDS
from ..errors import ArgumentError, NormsuiteError
from ..files import writing
from ..measure import implementations, listening, process
from ..measure.implementations.target_norms import parsed
from ..measure.operands import SEED
from ..measure.task import Task
from ..presentation import text
from ..records import kinds, provenance, results
from ..targets.loading import search_here
from ..targets.source import source_of
from .device_worker import LEFT_OUT
from .method import method

FIRST_SHARE = 0.5
"""Share of a budget that the first process on an accelerator gets: it compiles what the others find compiled."""

SILENT_S = 900.0
"""How long a process may take for one task, beside its times: some implementations are compiled for it."""

MOST_ENDED = 4
"""Processes in a row that a task has ended, behind which the tasks that are left are not tried."""

CLOCK = "captured graphs"
"""Name of the clock in an accelerator's records."""


@dataclass
class BenchRun:
    """The records in the order of the tasks, lines on what went wrong, and whether the user cut it short."""

    records: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def run(
    tasks: Sequence[Task],
    *,
    backends: Sequence[str] = (),
    processes: int | None = None,
    seconds: float = BENCH_SECONDS,
    threads: int | None = None,
    budget_s: float | None = None,
    out: Path | None = None,
    on_task: Callable[[str, Task], None] = lambda stage, task: None,
) -> BenchRun:
    """Measure the tasks; those that any process has finished have a record, also after an interruption.

    An earlier record of the same task under the same conditions is replaced, unless it is of more processes.

    Args:
        tasks: of one device.
        backends: names of implementations; the default table's where left out.
        processes: that take times; `usual_processes` where left out.
        seconds: for each task in each process, at least.
        threads: torch's own number where left out.
        budget_s: on an accelerator, seconds after which no further task begins.
        out: where records go: each time a process has ended; on an accelerator each time a task is finished.
        on_task: told the stage and each task that is finished.

    Raises:
        ArgumentError: a number out of range, or a budget on the processor.
        UnknownNameError: no such implementation.
        OutputError: a record cannot be written.
        NormsuiteError: no process finished any task; the message has the last that one said.
    """
    there = bool(tasks) and tasks[0].on_accelerator
    if processes is None:
        processes = usual_processes(there)
    threads = torch.get_num_threads() if threads is None else threads
    _check(processes, threads, seconds, budget_s, there)
    implementations.choose(backends)
    if out is not None:
        writing.output_folder(out, "out")
    common = {"seconds": seconds, "threads": threads}
    clock = {"clock": CLOCK} if there else {}
    targets = {name: target for name in backends if (target := parsed(name)) is not None}
    if targets:
        search_here()  # as the processes do
    sources = {name: source_of(str(target.make)) for name, target in targets.items()}
    settings = {"processes": processes, **common, "backends": sorted(set(backends)), **clock}
    if sources:  # so that records of an earlier version of a user's norm are other ones
        settings["targets"] = sources
    job = {"tasks": [task.as_dict() for task in tasks], "backends": list(backends), **common}
    table, outcome = _Table(tasks, settings, out), BenchRun()
    try:
        if there:
            _on_accelerator(tasks, job, table, outcome, processes, budget_s, on_task)
        else:
            _on_processor(tasks, job, table, outcome, processes, on_task)
    except KeyboardInterrupt:
        outcome.interrupted = True
        table.write()
    outcome.records = table.records()
    table.note_kept()
    outcome.notes += table.notes
    if not outcome.records and not outcome.interrupted:
        raise NormsuiteError(f"nothing was measured: {'; '.join(outcome.notes)}")
    return outcome


def usual_processes(on_accelerator: bool) -> int:
    """Return how many processes take times where no number is given."""
    return BENCH_PROCESSES_ON_ACCELERATORS if on_accelerator else BENCH_PROCESSES


def _check(processes: int, threads: int, seconds: float, budget_s: float | None, there: bool) -> None:
    """Raise an ArgumentError for a number out of range, or a budget on the processor."""
    for name, count in (("processes", processes), ("threads", threads)):
        if count < 1:
            raise ArgumentError(name, count, "must be at least 1")
    for name, value in (("seconds", seconds), ("budget", 1.0 if budget_s is None else budget_s)):
        if not 0 < value < float("inf"):
            raise ArgumentError(name, value, "must be positive and finite")
    if budget_s is not None and not there:
        raise ArgumentError("budget", budget_s, "is for accelerators, whose tasks are ordered by importance")


def _on_processor(tasks, job: dict, table: "_Table", outcome: BenchRun, processes: int, on_task) -> None:
    """Run a process that counts, then those that take times.

    A process that ends early is started again with the tasks that are left, but for the one that ended it. A task that
    hangs is not tried again.
    """
    hanging: set[int] = set()
    for number in range(processes + 1):
        stage = "bytes and errors" if number == 0 else f"times, process {number} of {processes}"
        left, ended = [place for place in range(len(tasks)) if place not in hanging], 0
        while left:
            given, begun = list(left), None
            further = {"tasks": [job["tasks"][place] for place in given], "count": number == 0, "number": number}
            try:
                for message in _messages({**job, **further}, job["threads"]):
                    begun = message.get("begin", begun)
                    if "task" in message:
                        message, ended = {**message, "task": given[message["task"]]}, 0
                        left.remove(message["task"])
                    table.take(number, message)
                    if "task" in message:
                        on_task(stage, tasks[message["task"]])
                if left:
                    raise process.Died("exit code 0, before its time")
            except process.Died as died:
                outcome.notes.append(_ended(stage, None if begun is None else tasks[given[begun]], died))
                if died.hung_s is not None and begun is not None:
                    hanging.add(given[begun])
                left = [place for place in left if begun is not None and place != given[begun]]
                ended += 1
            if ended == MOST_ENDED and left:
                outcome.notes.append(f"{stage}: {len(left)} tasks are not tried, after {ended} that ended it in a row")
                break
        table.write()


def _on_accelerator(
    tasks, job: dict, table: "_Table", outcome: BenchRun, processes: int, budget_s: float | None, on_task
) -> None:
    """Run the processes that take times on an accelerator; the first also counts bytes and errors.

    A process that ends early is started again with the tasks that are left.
    """
    begun_s, counting = time.monotonic(), True
    failures: list[dict] = []
    left = list(range(len(tasks)))
    for number in range(1, processes + 1):
        stage, finished, given, ended = f"times, process {number} of {processes}", [], left, 0
        at: int | None = None
        share = FIRST_SHARE + (1 - FIRST_SHARE) * (number - 1) / max(1, processes - 1) if processes > 1 else 1.0
        until_s = float("inf") if budget_s is None else begun_s + share * budget_s
        while left and time.monotonic() < until_s:
            further = {"left": left, "failures": failures, "count": counting, "number": number}
            at, again = None, False
            try:
                for message in _messages({**job, **further}, job["threads"]):
                    table.take(number, message)
                    at = message.get("begin", at)
                    if "failed" in message:
                        failures, again = [*failures, message["failed"]], True
                    if "task" in message:
                        ended = 0
                        left = [index for index in left if index != message["task"]]
                        if "skipped" not in message:
                            finished.append(message["task"])
                            table.write()
                        on_task(stage, tasks[message["task"]])
                    if ("task" in message or "failed" in message) and time.monotonic() >= until_s:
                        break
                else:
                    if left and not again:
                        raise process.Died("exit code 0, before its time")
            except process.Died as died:
                outcome.notes.append(_ended(stage, None if at is None else tasks[at], died))
                left = [index for index in left if index != at]
                ended += 1
                again = at is not None and ended < MOST_ENDED
            if not again:
                break
        if left:
            why = "did not fit in its time" if time.monotonic() >= until_s else "are not measured"
            outcome.notes.append(f"{stage}: {len(left)} of {len(left) + len(finished)} tasks {why}")
        if given and at is None and not finished:  # it ended before its first task: the next one may not
            left = given
        else:
            left, counting = finished, False


def not_measured(device: str) -> list[str]:
    """Return one line on the device that was not measured."""
    if device != "cpu":
        return ["cpu: not measured (--device cpu measures it)"]
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ["cuda: not measured (no accelerator)"]
    return [f"{found.type}: not measured (--device {found.type} measures it)"]


def _title(task: Task) -> str:
    dtype = "" if task.dtype == "float32" else f" {task.dtype}"
    return (
        f"{task.spec.name} {task.case.name} {task.mode}{f' with {task.activation}' if task.activation else ''}{dtype}"
    )


def _ended(stage: str, task: Task | None, died: process.Died) -> str:
    """Return that a process ended early, at that task where it had begun one."""
    where = "" if task is None else f" at {_title(task)}"
    return f"{stage}: the process ended{where} ({died}); what it had finished is kept"


def _failure(failed: dict, task: Task) -> str:
    """Return what became of an implementation whose calls failed on an accelerator, in words."""
    if failed["fate"] == LEFT_OUT:
        return f"{_title(task)}: {failed['label']} is left out ({failed['reason']})"
    return (
        f"{failed['label']}: calls of {failed['norm']} {failed['mode']} cannot be captured as a graph and are timed "
        f"one by one ({failed['reason']})"
    )


def _messages(job: dict, threads: int) -> Iterator[dict]:
    worker = "worker" if job["tasks"][0]["device"] == "cpu" else "device_worker"
    limits = {"first_s": SILENT_S, "limit_s": SILENT_S + 60 * job["seconds"]}  # times of dozens of implementations
    return listening.messages(["-m", f"normsuite.bench.{worker}"], job, process.variables(threads), **limits)


class _Table:
    """The messages of all processes, by task."""

    def __init__(self, tasks: Sequence[Task], settings: dict, out: Path | None):
        self._tasks, self._settings, self._out = tasks, settings, out
        self._environment: dict = {}  # each process begins with it
        self._counted: dict[int, dict] = {}
        self._timed: dict[int, dict[int, dict]] = {}
        self._written: dict[int, int] = {}
        self._before: dict[int, int] = {}  # processes of the record of an earlier run
        self.notes: list[str] = []

    def take(self, number: int, message: dict) -> None:
        """Store one message of process `number`: its environment, a failure, or the samples of a task."""
        if "environment" in message:
            self._environment = message["environment"]
            if message.get("state_reason"):
                self._note(f"clocks and power are not read: {message['state_reason']}")
        if "failed" in message:
            failed = message["failed"]
            self._note(_failure(failed, self._tasks[failed["task_of"]]))
        if "task" not in message:
            return
        index = message["task"]
        if "skipped" in message:
            self._note(f"{_title(self._tasks[index])}: not measured ({message['skipped']})")
            return
        found = {k: v for k, v in message.items() if k != "task"}
        if "counts" in found:
            self._counted[index] = found
            self.notes += [f"{_title(self._tasks[index])}: {k} {v}" for k, v in found["different"].items()]
        if "times_s" in found:
            self._timed.setdefault(index, {})[number] = found

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def records(self) -> list[dict]:
        """Return a record for each task that any process has timed."""
        return [self._record(index) for index in sorted(self._timed)]

    def write(self) -> None:
        """Write the records that have new samples since the last time."""
        if self._out is None:
            return
        for index, timed in self._timed.items():
            if len(timed) == self._written.get(index) or len(timed) < self._before.get(index, 0):
                continue
            record = self._record(index)
            name = _name(record)
            if index not in self._before:
                self._before[index] = _processes_of(self._out, name)
            if len(timed) >= self._before[index]:
                results.write_record(self._out, name, record)
                self._written[index] = len(timed)

    def note_kept(self) -> None:
        """Record in a note how many tasks keep the record of an earlier run, which timed them in more processes."""
        kept = len(self._timed) - len(self._written)
        if self._out is not None and kept:
            records = text.counted(kept, "record")
            self._note(f"{records} of an earlier run with more processes: kept")

    def _record(self, index: int) -> dict:
        task, counted, timed = self._tasks[index], self._counted.get(index, {}), self._timed[index]
        different = counted.get("different", {})
        absent: dict = {"times_s": {}, "own_pools": [], "waits_s": {}, "others_share": None, "clock_mhz": None}
        if task.on_accelerator:
            absent |= {"host_s": {}, "not_captured": {}, "operand_sets": None, "device_state": [None, None]}
        processes = []
        for number in range(1, self._settings["processes"] + 1):  # one that died leaves its place empty
            found = timed.get(number, absent)
            of_process = {k: found[k] for k in absent}
            for metric in ("times_s", "host_s"):
                if metric in of_process:
                    of_process[metric] = {k: v for k, v in found[metric].items() if k not in different}
            processes.append(of_process)
        refused = {**counted.get("refused", {}), **different}
        for found in timed.values():
            refused = {**found["refused"], **refused}
        return results.make_record(
            kinds.BENCH.what,
            task.as_dict(),
            {"processes": processes, "counts": counted.get("counts", {}), "refused": refused},
            environment=self._environment,
            seeds=[SEED],
            settings=self._settings,
            method=method(task.device),
        )


def _processes_of(folder: Path, name: str) -> int:
    """Return in how many processes the task of a record that is there was timed; 0 where there is none to be read."""
    try:
        found = results.read_record(folder / f"{name}.json")
    except NormsuiteError:
        return 0
    return sum(bool(process["times_s"]) for process in found["samples"]["processes"])


def _name(record: dict) -> str:
    """Return the name of the record's file: equal tasks under equal conditions have the same."""
    case = record["case"]
    identity = {k: record.get(k) for k in ("case", "settings", "source", "method")}
    identity["environment"] = provenance.comparable(record["environment"])
    words = [kinds.BENCH.what, case["norm"], case["case"].replace("×", "x"), case["mode"], case["activation"] or ""]
    return "-".join([*filter(None, words), results.digest(identity)])
