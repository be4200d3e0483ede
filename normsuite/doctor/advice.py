"""What would make measurements on a machine quieter."""

import math
from collections.abc import Callable

from ..machine import allocator
from .noise import Noise
from .system import Machine

BUSY = 0.5
"""A load above this takes processor time from measurements."""


def advise(machine: Machine, noise: Noise | None = None) -> list[str]:
    """Return what would make measurements quieter, as far as it applies."""
    found = [advice(machine) for advice in _ADVICE]
    if noise is not None and noise.others is not None and noise.others > BUSY / machine.usable_cores:
        found.append(f"other programs took {noise.others:.0%} of the usable cores while this measured: end them")
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
