"""The machine as an instrument: its noise, which backends and rivals can be measured here, and what would help."""

import itertools
import math
import os
import statistics as plain
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import backends
from .errors import UnsupportedError, one_line
from .machine import allocator
from .machine import device as devices
from .measure import implementations, process
from .measure.cases import find as find_case
from .measure.labels import AGAIN, BASELINE, rivals
from .measure.task import USUAL_MODES, Task
from .measure.workload import named
from .records import provenance
from .spec import NORMS
from .statistics import Interval, paired_log_ratio, ratio_interval

PROCESSES = 4
SECONDS = 1.0
"""Seconds of calls in each of them; with the starts it is some 10 s on two cores."""

BUSY = 0.5
"""A load above this takes processor time from measurements."""

NORM, CASE, MODE = "BatchNorm", "study", "step"
"""The call: long enough for threads to matter, short enough for many of them."""

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Machine:
    """The machine that measures; None where the system does not say.

    Attributes:
        cpu: the processor's model.
        cores, usable_cores: in all, and those that this process may run on.
        quota: processor time that a container is given, in cores.
        governor: of the processor's clock.
        turbo, smt: whether the clock may rise above its nominal rate; whether two threads share a core.
        load: processes that wanted to run, mean of the last minute.
        threads: torch's.
        kernels: what the numba kernels run on.
        tuning: which table `auto` takes its sizes from, and why.
        allocator: the C library's settings in the environment.
        accelerator: its model, or why there is none.
    """

    cpu: str
    cores: int
    usable_cores: int
    quota: float | None
    governor: str | None
    turbo: bool | None
    smt: bool | None
    load: float | None
    threads: int
    kernels: str
    tuning: str
    allocator: dict[str, str]
    accelerator: str


@dataclass(frozen=True)
class Noise:
    """Two equal calls timed in turn, in several fresh processes.

    Attributes:
        ratio: of the one's time to the other's, with its 95 % interval: 1 is within, as far as the machine is sound.
        spread: of a single call's time, from the 5th to the 95th percentile of a process, over its median.
        call_s: median time of a call, in seconds.
        others: share of all cores that other programs took meanwhile; None where the system does not say.
        processes: how many there were.
    """

    ratio: Interval
    spread: float
    call_s: float
    others: float | None
    processes: int


@dataclass(frozen=True)
class Diagnosis:
    """All findings of `normsuite doctor`.

    Attributes:
        backends, rivals: for each the reason why it cannot be used here, or None.
        lacking: the backends that compute some norms only, with the others and the reasons.
        noise: None where it was not measured.
        advice: what would make measurements quieter, as far as it applies here.
    """

    machine: Machine
    backends: dict[str, str | None]
    lacking: dict[str, str]
    rivals: dict[str, str | None]
    noise: Noise | None
    advice: list[str] = field(default_factory=list)


def diagnose(*, measure: bool = True) -> Diagnosis:
    """Return the findings on this machine.

    Args:
        measure: the noise too, which takes some 10 s.

    Raises:
        process.Died: a measuring process ended before it should have.
    """
    machine = look()
    noise = measure_noise(machine.threads) if measure else None
    refused = refused_norms()
    usable = usable_backends(refused)
    lacking = {name: _by_norm(norms) for name, norms in refused.items() if norms and usable[name] is None}
    return Diagnosis(machine, usable, lacking, usable_rivals(), noise, advise(machine, noise))


def look() -> Machine:
    """Return the state of the machine at this moment, as the system describes it."""
    from . import tuning
    from .backends.numba import threads
    from .machine import processor

    found = provenance.environment()
    serial = threads.why_serial()
    return Machine(
        cpu=processor.this().name,
        cores=os.cpu_count() or 1,
        usable_cores=found["cores"],
        quota=_quota(),
        governor=found["governor"],
        turbo=_turbo(),
        smt=_flag(_CPUS / "smt" / "active"),
        load=_load(),
        threads=torch.get_num_threads(),
        kernels=f"one thread: {serial}" if serial else f"torch's OpenMP, {threads.count()} threads",
        tuning=tuning.current().origin,
        allocator=found["allocator"],
        accelerator=_accelerator(),
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _flag(path: Path) -> bool | None:
    return {"1": True, "0": False}.get(_text(path) or "")


def _turbo() -> bool | None:
    off = _flag(_CPUS / "intel_pstate" / "no_turbo")
    return _flag(_CPUS / "cpufreq" / "boost") if off is None else not off


def _quota() -> float | None:
    """Return the cores that a control group allows: its file has "max 100000", or microseconds and their period."""
    allowed, _, period = (_text(_QUOTA) or "max").partition(" ")
    return int(allowed) / int(period) if allowed.isdecimal() and period.isdecimal() else None


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # a system that counts none
        return None


def _accelerator() -> str:
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is not None:
        return f"{devices.name(str(found))} ({found})"
    built = torch.accelerator.current_accelerator()
    return "none: this torch was built for the CPU" if built is None else f"none: torch knows {built}, but finds none"


def refused_norms() -> dict[str, dict[str, str]]:
    """Return, by backend, the norms that it does not compute on the CPU, with the reason that it gives when tried."""
    found: dict[str, dict[str, str]] = {}
    for name in backends.NAMES:
        refused = found[name] = {}
        for norm in NORMS:
            tried = named(norm, name, "tiny")
            try:
                with torch.no_grad():
                    tried.prepare()()
            except UnsupportedError as error:
                refused[norm] = error.reason
            except Exception as error:  # of another package's backend: shown as its reason
                refused[norm] = f"fails: {one_line(error)}"
    return found


def usable_backends(refused: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """Return the reason why each backend computes no norm on the CPU; None if it computes any."""
    found: dict[str, str | None] = {}
    for name, norms in refused.items():
        reasons = dict.fromkeys(norms.values())
        every = norms.keys() == NORMS.keys()
        same = next(iter(reasons)) if len(reasons) == 1 else None  # as true of the backend as of each norm
        found[name] = (same or _by_norm(norms)) if every else None
    return found


def _by_norm(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{norm}: {reason}" for norm, reason in reasons.items())


def usable_rivals() -> dict[str, str | None]:
    """Return the reason why each rival of `normsuite bench` is not measured on the CPU; None if it is."""
    of_each = itertools.product(NORMS.values(), USUAL_MODES, (None, "relu"))
    tasks = [Task(spec, find_case(CASE), mode, activation) for spec, mode, activation in of_each]
    found: dict[str, str | None] = {}
    everyone = {implementation.name: implementation for implementation in implementations.everyone()}
    for name in rivals(everyone):
        implementation = everyone[name]
        reasons = [implementation.why_not(task) for task in tasks]
        # That a package is missing is more useful to know than that it lacks this norm or mode.
        missing = [r for r in reasons if r is not None and "not installed" in r]
        found[name] = None if None in reasons else (missing or reasons)[0]
    return found


def measure_noise(threads: int, *, processes: int = PROCESSES, seconds: float = SECONDS) -> Noise:
    """Return the noise: torch.nn timed against itself in turn, in fresh processes, as `normsuite bench` does.

    Args:
        threads: of each process.
        processes: at least two, for an interval.
        seconds: of calls in each.

    Raises:
        process.Died: one of them ended before it should have.
    """
    task = Task(NORMS[NORM], find_case(CASE), MODE)
    job = {
        "count": False,
        "tasks": [task.as_dict()],
        "backends": [BASELINE],
        "threads": threads,
        "seconds": seconds,
    }
    said = []
    for number in range(1, processes + 1):
        command = ["-m", "normsuite.bench.worker"]
        messages = process.messages(command, {**job, "number": number}, process.environment(threads))
        said += [message for message in messages if "task" in message]
    return _noise(said)


def _noise(said: Sequence[dict]) -> Noise:
    times = [(message["times_s"][BASELINE], message["times_s"][AGAIN]) for message in said]
    spreads = [np.subtract(*np.percentile(first, (95, 5))) / np.median(first) for first, _ in times]
    others = [message["others_share"] for message in said]
    return Noise(
        ratio=ratio_interval([paired_log_ratio(again, first) for first, again in times]),
        spread=float(np.median(spreads)),
        call_s=float(np.median([np.median(first) for first, _ in times])),
        others=None if None in others else round(plain.mean(others), 3),
        processes=len(said),
    )


def advise(machine: Machine, noise: Noise | None = None) -> list[str]:
    """Return what would make measurements quieter, as far as it applies."""
    found = [advice(machine) for advice in _ADVICE]
    if noise is not None and noise.others is not None and noise.others > BUSY / machine.cores:
        found.append(f"other programs took {noise.others:.0%} of the processor while this measured: end them")
    return [advice for advice in found if advice is not None]


def _governor(machine: Machine) -> str | None:
    if machine.governor in (None, "performance"):
        return None
    return f"the clock's governor is {machine.governor}: `cpupower frequency-set -g performance` keeps it steady"


def _turbo_on(machine: Machine) -> str | None:
    return "turbo makes the clock depend on heat and on other cores: switch it off" if machine.turbo else None


def _loaded(machine: Machine) -> str | None:
    if machine.load is None or machine.load <= BUSY:
        return None
    return f"the load is {machine.load:g}: end other programs, or wait"


def _too_many_threads(machine: Machine) -> str | None:
    available = math.floor(min(machine.usable_cores, machine.quota or math.inf)) or 1
    if machine.threads <= available:
        return None
    return f"torch takes {machine.threads} threads where {available} can run at once: set OMP_NUM_THREADS={available}"


def _siblings(machine: Machine) -> str | None:
    if not machine.smt or machine.threads <= 1:
        return None
    return "two threads may share a core: pin one to each core with `taskset -c`, or switch SMT off"


def _not_pinned(machine: Machine) -> str | None:
    if machine.usable_cores < machine.cores or machine.threads >= machine.cores:
        return None
    if machine.smt and machine.threads > 1:  # which numbers are of one core is not known: `_siblings`
        return None
    last = machine.threads - 1
    return f"threads may move between cores: pin them, as with `taskset -c {f'0-{last}' if last else 0} normsuite …`"


def _allocator(machine: Machine) -> str | None:
    unset = [f"{name}={value}" for name, value in allocator.PINNED.items() if name not in machine.allocator]
    if not unset:
        return None
    return (
        "normsuite's measuring processes set the allocator themselves; for asv in an environment that exists and for "
        f"pytest-benchmark: export {' '.join(unset)}"
    )


_ADVICE: tuple[Callable[[Machine], str | None], ...] = (
    _loaded,
    _too_many_threads,
    _governor,
    _turbo_on,
    _siblings,
    _not_pinned,
    _allocator,
)
