"""The results of a bench's samples: ratios, their intervals, and what holds over all tasks. Imports no torch.

Every figure is derived from raw times. Within one process a ratio is the median over rounds of log(t / t_baseline);
over processes it is the mean of those, with Student's t interval; from six processes on (ten for corrected intervals),
one that lies far from the others is clipped, since a disturbance only ever slows it. "Corrected" intervals of one
implementation hold together, over all tasks, with probability 95 % (Bonferroni); as in the gate, the variances of all
tasks inform each other (`statistics.moderated`). docs/method-bench.md says why.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property

import numpy as np

from ..measure.labels import (
    ACCELERATED,
    AGAIN,
    AUTO,
    BASELINE,
    BETTER_COMPILED,
    BOUND,
    COMPILED_FORMS,
    COPY,
    PREALLOCATED,
    is_copy,
    rivals,
)
from ..records import kinds, schema
from ..records.schema.bench import Process, TaskCase
from ..statistics import NOWHERE, Interval, clipped, geometric_mean_interval, paired_log_ratio, ratio_interval
from ..vocabulary import MODES
from .row import ALL, SLOWER, SLOWER_ABOVE, VERDICTS, Mean, TaskRow, corrected, verdict

TRAFFIC = {"forward": 2.0, "evaluation": 2.0, "step": 5.0, "backward": 3.0}
"""Least traffic in tensors: read x and write y; backward reads x and dy and writes dx; a step is both. A copy moves
2."""

NOISE_ABOVE = 1.005
"""Where torch.nn over itself lies further from 1 than this with its whole interval, that is said."""

BUSY_ABOVE = 0.05
"""A larger share of the usable cores taken by other programs is said beside the ratios."""


def copy_of(implementation: str) -> str:
    """Return the copy that the implementation is compared with."""
    return COPY + PREALLOCATED if implementation.endswith(PREALLOCATED) else COPY


_OWN_FIELDS = ("peak_bytes", "saved_bytes", "output_error", "gradient_error")


def _place(group: tuple[tuple[str, str, str], object]) -> tuple[bool, int, bool, str]:
    """Return where a group of tasks, which begins with mode, size and activation, stands in tables."""
    (mode, size, activation), _ = group
    return size == "tiny", MODES.index(mode), activation != "none", activation


class Bench:
    """The records of one table, and what they say.

    Args:
        records: of kind `kinds.BENCH`, one a task, made with the same settings on the same machine.

    Attributes:
        records: as given.
        tasks: the same as typed objects.
    """

    def __init__(self, records: Sequence[dict]):
        self.records = list(records)
        self.tasks = [schema.of(record, schema.Bench) for record in self.records]
        self._logs: dict[tuple[int, str, str, bool], list[float]] = {}

    @property
    def key(self) -> tuple[str, str]:
        """Return what all records of one table have in common: accelerator, "" for the processor, and dtype."""
        case, environment = self.tasks[0].case, self.tasks[0].environment
        return "" if case.device == "cpu" else environment.accelerator or case.device, case.dtype

    @property
    def processor(self) -> str:
        """Return the processor that was measured; "" for an accelerator."""
        return "" if self.key[0] else self.tasks[0].environment.cpu

    @property
    def where(self) -> str:
        """Return the accelerator or processor, and the type of numbers where it is not float32."""
        model, dtype = self.key
        return ", ".join(filter(None, [model or self.processor, "" if dtype == "float32" else dtype]))

    @cached_property
    def host(self) -> "Bench | None":
        """Return the same records with host times in place of device times; None where no record has them."""
        records = []
        for record in self.records:
            processes = [{**p, "times_s": p.get("host_s", {})} for p in record["samples"]["processes"]]
            records.append({**record, "samples": {**record["samples"], "processes": processes}})
        found = Bench(records)
        return found if found.implementations else None

    @property
    def time(self) -> str:
        """Return what its times are called: device time where host time stands beside it."""
        return "device time" if self.host else "time"

    @cached_property
    def implementations(self) -> list[str]:
        """Return all that were timed, in the order of the records."""
        return list(dict.fromkeys(name for task in self.tasks for p in task.samples.processes for name in p.times_s))

    @property
    def has_intervals(self) -> bool:
        """Return whether any task was timed by more than one process."""
        return any(sum(bool(p.times_s) for p in task.samples.processes) > 1 for task in self.tasks)

    @property
    def ours(self) -> str | None:
        """Return `auto`, or the accelerator's kernels where it was not timed; None where neither was."""
        return next((name for name in (AUTO, ACCELERATED) if name in self.implementations), None)

    def on_shared_cases(self, implementation: str) -> "Bench":
        """Return the tasks that rank norms: on cases where an implementation was timed with each of them.

        These are all norms that it was timed with in the same mode, activation and size.
        """
        every: dict[tuple, set[str]] = {}
        of_case: dict[tuple, set[str]] = {}
        did = [any(implementation in process.times_s for process in task.samples.processes) for task in self.tasks]
        for case in (task.case for task in itertools.compress(self.tasks, did)):
            every.setdefault(_group(case), set()).add(case.norm)
            of_case.setdefault((case.case, *_group(case)), set()).add(case.norm)
        pairs = zip(itertools.compress(self.records, did), itertools.compress(self.tasks, did), strict=True)
        return Bench([r for r, t in pairs if of_case[(t.case.case, *_group(t.case))] == every[_group(t.case)]])

    @property
    def rivals(self) -> list[str]:
        """Return those that are neither ours nor torch.nn nor a copy; the faster compiled form too of several."""
        several = len(set(COMPILED_FORMS) & set(self.implementations)) > 1
        return rivals([*self.implementations, *([BETTER_COMPILED] if several else [])])

    def tasks_of(self, implementation: str) -> int:
        """Return in how many tasks an implementation was timed, or any compiled form for `BETTER_COMPILED`."""
        names = COMPILED_FORMS if implementation == BETTER_COMPILED else (implementation,)
        return sum(any(name in p.times_s for p in task.samples.processes for name in names) for task in self.tasks)

    def compared(self, implementation: str) -> list[TaskRow]:
        """Return the rows of an implementation in the tasks that torch.nn did too."""
        return [row for row in self.rows if row.implementation == implementation and not math.isnan(row.ratio.value)]

    def logs(self, index: int, implementation: str, against: str, *, behind: bool = False) -> list[float]:
        """Return log(implementation / against) in one task, one value a process; NaN where not both took part.

        Args:
            against: a label, or `BETTER_COMPILED` for the compiled form that was faster in this task.
            behind: only of the rounds in which an implementation with a thread pool of its own took part.
        """
        if against == BETTER_COMPILED:
            against = self._better_compiled(index)
        key = (index, implementation, against, behind)
        if key not in self._logs:
            self._logs[key] = [
                self._log(process, implementation, against, behind) for process in self.tasks[index].samples.processes
            ]
        return self._logs[key]

    def _better_compiled(self, index: int) -> str:
        """Return the compiled form with the least mean ratio to torch.nn; the first where neither took part."""
        ratios = {form: self.ratio(index, form, BASELINE).value for form in COMPILED_FORMS}
        return min(COMPILED_FORMS, key=lambda form: math.inf if math.isnan(ratios[form]) else ratios[form])

    @staticmethod
    def _log(process: Process, implementation: str, against: str, behind: bool) -> float:
        times = process.times_s
        if implementation not in times or against not in times:
            return math.nan
        left, right = times[implementation], times[against]
        if behind:
            foreign = [times[name] for name in process.own_pools if name in times]
            left = [t if any(f[i] is not None for f in foreign) else None for i, t in enumerate(left)]
        return paired_log_ratio(left, right)

    def ratio(self, index: int, implementation: str, against: str) -> Interval:
        """Return the ratio in one task, over the processes in which both took part."""
        found = [v for v in self.logs(index, implementation, against) if not math.isnan(v)]
        return ratio_interval(clipped(found).tolist()) if found else NOWHERE

    def corrected(self, implementation: str) -> list[Interval]:
        """Return for each task its ratio to torch.nn, with intervals that hold together over all tasks."""
        logs = [
            [v for v in self.logs(index, implementation, BASELINE) if not math.isnan(v)]
            for index in range(len(self.tasks))
        ]
        return corrected(logs)

    def detectable(self, implementation: str) -> float:
        """Return above which ratio a task would have to be measured to count as slower, in the median over tasks."""
        found = [of.high / of.value for of in self.corrected(implementation) if not math.isnan(of.low)]
        return SLOWER_ABOVE * float(np.median(found)) if found else math.nan

    def mean(
        self, implementation: str, against: str, indices: Iterable[int], *, behind: bool = False
    ) -> tuple[int, Interval]:
        """Return the number of tasks that both implementations ran, and the geometric mean of their ratios.

        The mean has its interval. A process counts if it has done all of the tasks. Processes are matched by their
        number, which says nothing more than that they are as many.
        """
        logs = [self.logs(index, implementation, against, behind=behind) for index in indices]
        logs = [of_task for of_task in logs if not all(map(math.isnan, of_task))]
        if not logs:
            return 0, NOWHERE
        number = min(map(len, logs))
        whole = [p for p in range(number) if not any(math.isnan(of_task[p]) for of_task in logs)]
        if not whole:
            return len(logs), NOWHERE
        return len(logs), geometric_mean_interval([[of_task[p] for p in whole] for of_task in logs])

    @cached_property
    def rows(self) -> list[TaskRow]:
        """Return one row for each implementation in each task."""
        rows = []
        of_all = {name: self.corrected(name) for name in self.implementations}
        for index, task in enumerate(self.tasks):
            case, samples = task.case, task.samples
            timed = dict.fromkeys(name for p in samples.processes for name in p.times_s)
            for name in timed:
                corrected = of_all[name][index]
                copy_ratio = self.ratio(index, name, copy_of(name))
                counted = samples.counts.get(name, {})
                rows.append(
                    TaskRow(
                        norm=case.norm,
                        case=case.case,
                        mode=case.mode,
                        activation=case.activation or "none",
                        tiny=case.tiny,
                        implementation=name,
                        time_s=self._time(index, name),
                        ratio=self.ratio(index, name, BASELINE),
                        corrected=corrected,
                        copy_ratio=copy_ratio,
                        traffic_share=math.nan if is_copy(name) else TRAFFIC[case.mode] / 2 / copy_ratio.value,
                        peak_bytes=_bytes(counted.get("peak_bytes")),
                        saved_bytes=_bytes(counted.get("saved_bytes")),
                        output_error=_number(counted.get("output_error")),
                        gradient_error=_number(counted.get("gradient_error")),
                        verdict=verdict(corrected),
                        host_s=self.host._time(index, name) if self.host else None,
                        not_captured=self._not_captured(index, name),
                        counted={
                            key: value if isinstance(value, int) else _number(value)
                            for key, value in counted.items()
                            if key not in _OWN_FIELDS
                        },
                    )
                )
        return rows

    def _not_captured(self, index: int, name: str) -> str | None:
        processes = self.tasks[index].samples.processes
        return next((p.not_captured[name] for p in processes if name in p.not_captured), None)

    def _time(self, index: int, name: str) -> Interval:
        """Return exp of the mean over processes of log(median over rounds)."""
        processes = [p.times_s.get(name, ()) for p in self.tasks[index].samples.processes]
        logs = [paired_log_ratio(times, [1.0] * len(times)) for times in processes]
        found = [v for v in logs if not math.isnan(v)]
        return ratio_interval(found) if found else NOWHERE

    def means(
        self, against: str | Callable[[str], str] = BASELINE, implementations: Sequence[str] | None = None
    ) -> list[Mean]:
        """Return geometric means for every implementation, mode, size and activation; over all norms and for each.

        Large cases come before tiny ones, modes in their order, and each alone before it is with an activation.

        Args:
            against: a label, or a function from an implementation to one.
            implementations: whose; all where left out, none where it is empty.
        """
        groups: dict[tuple[str, str, str], dict[str, list[int]]] = {}
        for index, task in enumerate(self.tasks):
            case = task.case
            key = case.mode, "tiny" if case.tiny else "large", case.activation or "none"
            of_norm = groups.setdefault(key, {ALL: []})
            of_norm[ALL].append(index)
            of_norm.setdefault(case.norm, []).append(index)
        found = []
        for name in self.implementations if implementations is None else implementations:
            rival = against if isinstance(against, str) else against(name)
            for (mode, size, activation), of_norm in sorted(groups.items(), key=_place):
                for norm, indices in of_norm.items():
                    tasks, ratio = self.mean(name, rival, indices)
                    if tasks and name != rival:
                        found.append(Mean(name, rival, mode, size, activation, norm, tasks, ratio))
        return found

    @property
    def others_share(self) -> float | None:
        """Share that other programs took of the usable cores, on average; None where unknown.

        In older records it is the share of all cores.
        """
        shares = [p.others_share for task in self.tasks for p in task.samples.processes]
        found = [share for share in shares if share is not None]
        return sum(found) / len(found) if found else None

    @property
    def noise(self) -> tuple[int, Interval]:
        """Return the ratio of torch.nn to itself over all tasks: a fair run holds 1."""
        return self.mean(AGAIN, BASELINE, range(len(self.tasks)))

    @property
    def noise_behind_other_pools(self) -> tuple[int, Interval]:
        """Return the same of rounds in which torch.nn came right after an implementation with another thread pool."""
        return self.mean(AGAIN, BASELINE, range(len(self.tasks)), behind=True)

    def as_dict(self) -> dict:
        """Return all results as JSON values."""
        of_auto = self.compared(AUTO)
        behind = self.noise_behind_other_pools
        first = self.records[0] if self.records else {}
        return {
            "what": kinds.BENCH.what,
            "environment": first.get("environment"),
            "settings": first.get("settings"),
            "dtype": self.tasks[0].case.dtype if self.tasks else None,
            "tasks": len(self.tasks),
            "rows": [asdict(row) for row in self.rows],
            "refused": [
                {**_task_key(task.case), "implementation": name, "reason": reason}
                for task in self.tasks
                for name, reason in task.samples.refused.items()
            ],
            "summary": {
                "geometric_means_to_torch_nn": [asdict(m) for m in self.means()],
                "geometric_means_to_copy": [asdict(m) for m in self.means(copy_of)],
                **({"geometric_means_of_host_time": [asdict(m) for m in self.host.means()]} if self.host else {}),
                "geometric_means_of_auto_to_bound": [asdict(m) for m in self.means(BOUND, [AUTO])],
                "geometric_means_of_auto_to_rivals": [asdict(m) for r in self.rivals for m in self.means(r, [AUTO])],
                "slower_cases_of_auto": [asdict(row) for row in of_auto if row.verdict == SLOWER],
                "slower_is_found_above": self.detectable(AUTO),
                "verdicts_of_auto": {v: sum(row.verdict == v for row in of_auto) for v in VERDICTS},
                "others_share": self.others_share,
                "noise": {"tasks": self.noise[0], **asdict(self.noise[1])},
                "noise_behind_other_pools": {"tasks": behind[0], **asdict(behind[1])},
                "tasks_where_torch_nn_differs_from_itself": sum(
                    r.corrected.low > 1 or r.corrected.high < 1 for r in self.rows if r.implementation == AGAIN
                ),
            },
        }


def benches(records: Sequence[dict]) -> list[Bench]:
    """Return a table for each device, type of numbers and processor among the records.

    They stand in the order of the records.
    """
    by_kind: dict[tuple, list[dict]] = {}
    for record in records:
        bench = Bench([record])
        by_kind.setdefault((*bench.key, bench.processor), []).append(record)
    return [Bench(of_kind) for of_kind in by_kind.values()]


def _task_key(case: TaskCase) -> dict:
    return {"norm": case.norm, "case": case.case, "mode": case.mode, "activation": case.activation or "none"}


def _group(case: TaskCase) -> tuple:
    """Return what the tasks of one mean have in common."""
    return case.mode, case.activation, case.tiny


def _bytes(value: int | float | str | None) -> int | None:
    """Return a number of bytes, or None where a record has none."""
    return value if isinstance(value, int) else None


def _number(value: int | float | str | None) -> float | None:
    """Return a value of a record as a float; JSON has infinities as text."""
    return None if value is None else float(value)
