"""What the samples of a bench say: ratios, their intervals, and what holds over all cases. Imports no torch.

Every figure is derived from raw times. Within one process a ratio is the median over rounds of log(t / t_baseline);
over processes it is the mean of those, with Student's t interval. "Corrected" intervals hold together, over the whole
table, with probability 95 % (Bonferroni).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

from ..measure.labels import AGAIN, AUTO, BASELINE, COPY, PREALLOCATED, rivals
from ..statistics import Interval, geometric_mean_interval, paired_log_ratio, ratio_interval

WHAT = "bench"
"""The kind of the records."""

TRAFFIC = {"forward": 2.0, "evaluation": 2.0, "step": 5.0, "backward": 3.0}
"""Least traffic in tensors: read x and write y; backward reads x and dy and writes dx; a step is both. A copy moves
2."""

SLOWER_ABOVE = 1.02
NOISE_ABOVE = 1.005
"""Where torch.nn over itself lies further from 1 than this with its whole interval, that is said."""

BUSY_ABOVE = 0.05
"""A larger share of the processor taken by other programs is said beside the ratios."""

SLOWER, FASTER, NOT_SLOWER, UNDECIDED = "slower", "faster", "not slower", "undecided"
VERDICTS = (SLOWER, FASTER, NOT_SLOWER, UNDECIDED)


@dataclass(frozen=True)
class Row:
    """One contestant in one task.

    Attributes:
        norm, case, mode, activation, tiny: the task; activation "none" where there is none.
        contestant: its label.
        time_s: of a call: the geometric mean over processes of their medians; on an accelerator the device's time.
        ratio, corrected: to torch.nn; at 95 %, and corrected for the number of tasks.
        copy_ratio: to a copy of the same tensor; preallocated to preallocated.
        traffic_share: least traffic / what a copy moves in that time = (copy's time · traffic / 2 S) / time.
        peak_bytes, saved_bytes: most bytes at once; bytes kept for the backward pass; None where not counted.
        output_error, gradient_error: against float64, relative to the root mean square; None where not computed.
        verdict: one of `VERDICTS`, by the corrected interval.
        host_s: for how long a call keeps the host, on an accelerator; None where not measured.
        not_captured: why the calls were queued one by one instead of as a captured graph; None where they were not.
        counted: further metrics that were counted, by their keys.
    """

    norm: str
    case: str
    mode: str
    activation: str
    tiny: bool
    contestant: str
    time_s: Interval
    ratio: Interval
    corrected: Interval
    copy_ratio: Interval
    traffic_share: float
    peak_bytes: int | None
    saved_bytes: int | None
    output_error: float | None
    gradient_error: float | None
    verdict: str
    host_s: Interval | None = None
    not_captured: str | None = None
    counted: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Mean:
    """A geometric mean over tasks of contestant / against.

    Attributes:
        size: "large" or "tiny" cases.
        norm: a norm, or "all".
        tasks: how many.
    """

    contestant: str
    against: str
    mode: str
    size: str
    activation: str
    norm: str
    tasks: int
    ratio: Interval


ALL = "all"


def verdict(corrected: Interval) -> str:
    """Slower if the whole interval lies above 1.02, faster if below 1, not slower if it does not reach above 1.02."""
    if math.isnan(corrected.low):
        return UNDECIDED
    if corrected.low > SLOWER_ABOVE:
        return SLOWER
    if corrected.high < 1:
        return FASTER
    return NOT_SLOWER if corrected.high <= SLOWER_ABOVE else UNDECIDED


def copy_of(contestant: str) -> str:
    """The copy that it is compared with."""
    return COPY + PREALLOCATED if contestant.endswith(PREALLOCATED) else COPY


_OWN_FIELDS = ("peak_bytes", "saved_bytes", "output_error", "gradient_error")

_CASE = {"norm": str, "case": str, "mode": str, "tiny": bool}


def problem(record: dict) -> str | None:
    """Why a record cannot be read as one of a bench, or None."""
    case, samples = record["case"], record["samples"]
    for name, kind in _CASE.items():
        if not isinstance(case, dict) or not isinstance(case.get(name), kind):
            return f"its case lacks {name}"
    if case["mode"] not in TRAFFIC or "activation" not in case:
        return f"mode = {case['mode']!r}"
    if not isinstance(record.get("settings"), dict) or "processes" not in record["settings"]:
        return "it lacks settings"
    for name, found in (
        ("device", case.get("device", "cpu")),
        ("dtype", case.get("dtype", "float32")),
        ("accelerator", record["environment"].get("accelerator") or ""),
    ):
        if not isinstance(found, str):
            return f"{name} = {found!r}"
    for name, kind in (("processes", list), ("counts", dict), ("refused", dict)):
        if not isinstance(samples, dict) or not isinstance(samples.get(name), kind):
            return f"it lacks {name}"
    for process in samples["processes"]:
        if not isinstance(process, dict) or not {"times_s", "own_pools", "others_share"} <= process.keys():
            return "a process lacks times"
        if not isinstance(process.get("clock_mhz"), int | None):
            return f"clock_mhz = {process['clock_mhz']!r}"
        for metric in ("times_s", "host_s"):
            if not isinstance(process.get(metric, {}), dict):
                return f"{metric} = {process[metric]!r}"
            if len({len(times) for times in process.get(metric, {}).values()}) > 1:
                return "its rounds are not complete"
    return None


class Bench:
    """The records of one table, and what they say.

    Args:
        records: of kind `WHAT`, one a task, made with the same settings on the same machine.
    """

    def __init__(self, records: Sequence[dict]):
        self.records = list(records)
        self._logs: dict[tuple[int, str, str, bool], list[float]] = {}

    @property
    def key(self) -> tuple[str, str, bool]:
        """The accelerator ("" for the processor), the type of the numbers, and whether the accelerator's caches were
        flushed: what all records of one table have in common."""
        record = self.records[0]
        device = record["case"].get("device", "cpu")
        model = "" if device == "cpu" else record["environment"].get("accelerator") or device
        return model, record["case"].get("dtype", "float32"), bool(model and record["settings"].get("cold"))

    @property
    def where(self) -> str:
        """The same in words, as much of it as is not the usual; "" for float32 on the processor."""
        model, dtype, cold = self.key
        said = [model, "" if dtype == "float32" else dtype, "caches flushed before each sample" if cold else ""]
        return ", ".join(filter(None, said))

    @cached_property
    def host(self) -> "Bench | None":
        """The same records with host times in place of device times; None where no record has them."""
        records = []
        for record in self.records:
            processes = [{**p, "times_s": p.get("host_s", {})} for p in record["samples"]["processes"]]
            records.append({**record, "samples": {**record["samples"], "processes": processes}})
        found = Bench(records)
        return found if found.contestants else None

    @property
    def time(self) -> str:
        """What its times are called: device time where host time stands beside it."""
        return "device time" if self.host else "time"

    @cached_property
    def contestants(self) -> list[str]:
        """Everybody who was timed, in the order of the records."""
        return list(
            dict.fromkeys(name for r in self.records for p in r["samples"]["processes"] for name in p["times_s"])
        )

    @property
    def rivals(self) -> list[str]:
        """Those who are neither ours nor torch.nn nor a copy."""
        return rivals(self.contestants)

    def logs(self, index: int, contestant: str, against: str, *, behind: bool = False) -> list[float]:
        """log(contestant / against) in one task, one value a process; NaN where they did not meet.

        Args:
            behind: only of the rounds in which somebody with threads of his own took part.
        """
        key = (index, contestant, against, behind)
        if key not in self._logs:
            self._logs[key] = [
                self._log(process, contestant, against, behind)
                for process in self.records[index]["samples"]["processes"]
            ]
        return self._logs[key]

    @staticmethod
    def _log(process: dict, contestant: str, against: str, behind: bool) -> float:
        times = process["times_s"]
        if contestant not in times or against not in times:
            return math.nan
        left, right = times[contestant], times[against]
        if behind:
            foreign = [times[name] for name in process["own_pools"] if name in times]
            left = [t if any(f[i] is not None for f in foreign) else None for i, t in enumerate(left)]
        return paired_log_ratio(left, right)

    def ratio(self, index: int, contestant: str, against: str, *, comparisons: int = 1) -> Interval:
        """Of one task, over the processes in which both took part."""
        found = [v for v in self.logs(index, contestant, against) if not math.isnan(v)]
        return ratio_interval(found, comparisons=comparisons) if found else Interval(math.nan, math.nan, math.nan)

    def mean(
        self, contestant: str, against: str, indices: Iterable[int], *, behind: bool = False
    ) -> tuple[int, Interval]:
        """Geometric mean over those of the tasks in which both took part; and how many these are.

        A process counts if it has done all of them. Processes are matched by their number, which says nothing more
        than that they are as many.
        """
        logs = [self.logs(index, contestant, against, behind=behind) for index in indices]
        logs = [of_task for of_task in logs if not all(map(math.isnan, of_task))]
        if not logs:
            return 0, Interval(math.nan, math.nan, math.nan)
        number = min(map(len, logs))
        whole = [p for p in range(number) if not any(math.isnan(of_task[p]) for of_task in logs)]
        if not whole:
            return len(logs), Interval(math.nan, math.nan, math.nan)
        return len(logs), geometric_mean_interval([[of_task[p] for p in whole] for of_task in logs])

    @cached_property
    def rows(self) -> list[Row]:
        """Every contestant in every task."""
        rows = []
        for index, record in enumerate(self.records):
            case, samples = record["case"], record["samples"]
            timed = dict.fromkeys(name for p in samples["processes"] for name in p["times_s"])
            for name in timed:
                corrected = self.ratio(index, name, BASELINE, comparisons=len(self.records))
                copy_ratio = self.ratio(index, name, copy_of(name))
                counted = samples["counts"].get(name, {})
                rows.append(
                    Row(
                        norm=case["norm"],
                        case=case["case"],
                        mode=case["mode"],
                        activation=case["activation"] or "none",
                        tiny=case["tiny"],
                        contestant=name,
                        time_s=self._time(index, name),
                        ratio=self.ratio(index, name, BASELINE),
                        corrected=corrected,
                        copy_ratio=copy_ratio,
                        traffic_share=TRAFFIC[case["mode"]] / 2 / copy_ratio.value,
                        peak_bytes=counted.get("peak_bytes"),
                        saved_bytes=counted.get("saved_bytes"),
                        output_error=_number(counted.get("output_error")),
                        gradient_error=_number(counted.get("gradient_error")),
                        verdict=verdict(corrected),
                        host_s=self.host._time(index, name) if self.host else None,
                        not_captured=self._not_captured(index, name),
                        counted={key: value for key, value in counted.items() if key not in _OWN_FIELDS},
                    )
                )
        return rows

    def _not_captured(self, index: int, name: str) -> str | None:
        processes = self.records[index]["samples"]["processes"]
        return next((p["not_captured"][name] for p in processes if name in p.get("not_captured", {})), None)

    def _time(self, index: int, name: str) -> Interval:
        """exp of the mean over processes of log(median over rounds)."""
        processes = [p["times_s"].get(name, ()) for p in self.records[index]["samples"]["processes"]]
        logs = [paired_log_ratio(times, [1.0] * len(times)) for times in processes]
        found = [v for v in logs if not math.isnan(v)]
        return ratio_interval(found) if found else Interval(math.nan, math.nan, math.nan)

    def means(self, against: str | Callable[[str], str] = BASELINE, contestants: Sequence[str] = ()) -> list[Mean]:
        """Geometric means for every contestant, mode, size and activation; over all norms and for each.

        Args:
            against: a label, or a function from a contestant to one.
            contestants: all where left out.
        """
        groups: dict[tuple[str, str, str], dict[str, list[int]]] = {}
        for index, record in enumerate(self.records):
            case = record["case"]
            key = case["mode"], "tiny" if case["tiny"] else "large", case["activation"] or "none"
            of_norm = groups.setdefault(key, {ALL: []})
            of_norm[ALL].append(index)
            of_norm.setdefault(case["norm"], []).append(index)
        found = []
        for name in contestants or self.contestants:
            rival = against if isinstance(against, str) else against(name)
            for (mode, size, activation), of_norm in groups.items():
                for norm, indices in of_norm.items():
                    tasks, ratio = self.mean(name, rival, indices)
                    if tasks and name != rival:
                        found.append(Mean(name, rival, mode, size, activation, norm, tasks, ratio))
        return found

    @property
    def others_share(self) -> float | None:
        """Share of the processor that other programs took, on average; None where unknown."""
        found = [p["others_share"] for r in self.records for p in r["samples"]["processes"]]
        found = [share for share in found if share is not None]
        return sum(found) / len(found) if found else None

    @property
    def noise(self) -> tuple[int, Interval]:
        """torch.nn against itself over all tasks: a fair run holds 1."""
        return self.mean(AGAIN, BASELINE, range(len(self.records)))

    @property
    def noise_behind_other_pools(self) -> tuple[int, Interval]:
        """The same in the rounds in which it came right behind somebody with threads of his own."""
        return self.mean(AGAIN, BASELINE, range(len(self.records)), behind=True)

    def as_dict(self) -> dict:
        """Everything, for a program."""
        of_auto = [row for row in self.rows if row.contestant == AUTO]
        behind = self.noise_behind_other_pools
        first = self.records[0] if self.records else {}
        return {
            "what": WHAT,
            "environment": first.get("environment"),
            "settings": first.get("settings"),
            "dtype": first["case"].get("dtype", "float32") if first else None,
            "tasks": len(self.records),
            "rows": [_plain(row) for row in self.rows],
            "refused": [
                {**_task_key(r["case"]), "contestant": name, "reason": reason}
                for r in self.records
                for name, reason in r["samples"]["refused"].items()
            ],
            "summary": {
                "geometric_means_to_torch_nn": [_plain(m) for m in self.means()],
                "geometric_means_to_copy": [_plain(m) for m in self.means(copy_of)],
                **({"geometric_means_of_host_time": [_plain(m) for m in self.host.means()]} if self.host else {}),
                "geometric_means_of_auto_to_rivals": [_plain(m) for r in self.rivals for m in self.means(r, [AUTO])],
                "slower_cases_of_auto": [_plain(row) for row in of_auto if row.verdict == SLOWER],
                "verdicts_of_auto": {v: sum(row.verdict == v for row in of_auto) for v in VERDICTS},
                "others_share": self.others_share,
                "noise": {"tasks": self.noise[0], **asdict(self.noise[1])},
                "noise_behind_other_pools": {"tasks": behind[0], **asdict(behind[1])},
                "tasks_where_torch_nn_differs_from_itself": sum(
                    r.corrected.low > 1 or r.corrected.high < 1 for r in self.rows if r.contestant == AGAIN
                ),
            },
        }


def benches(records: Sequence[dict]) -> list[Bench]:
    """A table for each device, type of numbers and state of the caches among the records, in their order."""
    kinds: dict[tuple, list[dict]] = {}
    for record in records:
        kinds.setdefault(Bench([record]).key, []).append(record)
    return [Bench(of_kind) for of_kind in kinds.values()]


def _task_key(case: dict) -> dict:
    return {
        "norm": case["norm"],
        "case": case["case"],
        "mode": case["mode"],
        "activation": case["activation"] or "none",
    }


def _number(value) -> float | None:
    """Records hold infinities by name."""
    return None if value is None else float(value)


def _plain(thing: Row | Mean) -> dict:
    return asdict(thing)


def mode_text(found: Row | Mean) -> str:
    """The mode, and the activation where there is one."""
    return found.mode if found.activation == "none" else f"{found.mode}, {found.activation}"


def interval_text(found: Interval) -> str:
    """ "value [low, high]", the value alone where there is no interval, a dash where there is neither."""
    if math.isnan(found.value):
        return "–"
    return f"{found.value:.3g}" + ("" if math.isnan(found.low) else f" [{_within(found.low)}, {_within(found.high)}]")


def _within(end: float) -> str:
    """Two processes say little: their intervals reach from nothing to anything."""
    return "0" if end < 1e-3 else "∞" if end > 1e3 else f"{end:.3g}"


def sentences(bench: Bench) -> list[str]:
    """The cases in which `auto` is slower, the noise, and why somebody did not take part."""
    said = []
    of_auto = [row for row in bench.rows if row.contestant == AUTO]
    if of_auto:
        for m in bench.means(contestants=[AUTO]):
            if m.norm == ALL:
                cases = f"{m.tasks} {m.size} case{'' if m.tasks == 1 else 's'}"
                said.append(f"{AUTO} / {BASELINE}, {mode_text(m)}, {cases}: {interval_text(m.ratio)}")
        slow = [
            f"{row.norm} {row.case} {mode_text(row)} {interval_text(row.corrected)}"
            for row in of_auto
            if row.verdict == SLOWER
        ]
        counted = Counter(row.verdict for row in of_auto)
        others = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS[1:])
        said.append(
            f"auto is slower than {BASELINE} in {len(slow)} of {len(of_auto)} cases by corrected intervals ({others})"
            + (f": {'; '.join(slow)}" if slow else "")
        )
    for m in bench.means(contestants=[name for name in bench.contestants if ":" in name]):
        if m.norm == ALL:
            cases = f"{m.tasks} {m.size} case{'' if m.tasks == 1 else 's'}"
            said.append(f"{m.contestant} takes {interval_text(m.ratio)} × {BASELINE}'s time, {mode_text(m)}, {cases}")
    _, noise = bench.noise
    tasks, behind = bench.noise_behind_other_pools
    said.append(f"noise: {BASELINE} / itself {interval_text(noise)}")
    if noise.low > NOISE_ABOVE or noise.high < 1 / NOISE_ABOVE:
        said[-1] += ", which is not 1: something favours one of the two, and ratios of this run may be off by as much"
    if tasks:
        said[-1] += f"; right behind other thread pools {interval_text(behind)}"
    queued = Counter(row.contestant for row in bench.rows if row.not_captured)
    for name, number in queued.items():
        reasons = dict.fromkeys(row.not_captured for row in bench.rows if row.contestant == name and row.not_captured)
        said.append(f"{name}: not captured in {number} of the tasks, timed by events ({'; '.join(reasons)})")
    share = bench.others_share
    if share is not None and share > BUSY_ABOVE:
        said.append(
            f"other programs took {share:.0%} of the processor: threaded calls suffer from it far more than serial "
            "ones, so that ratios between them do not hold"
        )
    reasons: dict[str, set[str]] = {}
    for record in bench.records:
        for name, reason in record["samples"]["refused"].items():
            reasons.setdefault(name, set()).add(reason)
    said += [f"{name}: not measured everywhere ({'; '.join(sorted(found))})" for name, found in reasons.items()]
    return said
