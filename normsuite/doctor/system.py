"""The machine as the system describes it: cores, clock, load, threads, kernels and allocator."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import tunings
from ..machine import device as devices
from ..machine import processor
from ..records import provenance

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


def look() -> Machine:
    """Return the state of the machine at this moment, as the system describes it."""
    from ..backends.numba import threads  # with Numba, which the rest of the doctor does without

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
        tuning=tunings.current().origin,
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
