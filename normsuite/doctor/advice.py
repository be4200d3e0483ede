"""What would make measurements on a machine quieter."""

import math
from collections.abc import Iterator

from ..machine import allocator
from .noise import Noise
from .system import Machine

BUSY = 0.5
"""A load above this takes processor time from measurements."""


def advise(machine: Machine, noise: Noise | None = None) -> list[str]:
    """Return what would make measurements quieter, as far as it applies."""
    return list(_advice(machine, noise))


def _advice(machine: Machine, noise: Noise | None) -> Iterator[str]:
    threads, available = machine.threads, math.floor(min(machine.usable_cores, machine.quota or math.inf)) or 1
    if machine.load is not None and machine.load > BUSY:
        yield f"the load is {machine.load:g}: end other programs, or wait"
    if threads > available:
        yield f"torch takes {threads} threads where {available} can run at once: set OMP_NUM_THREADS={available}"
    if machine.governor not in (None, "performance"):
        yield f"the clock's governor is {machine.governor}: `cpupower frequency-set -g performance` keeps it steady"
    if machine.turbo:
        yield "turbo makes the clock depend on heat and on other cores: switch it off"
    if machine.smt and threads > 1:  # which numbers are of one core is not known
        yield "two threads may share a core: pin one to each core with `taskset -c`, or switch SMT off"
    elif threads < machine.cores <= machine.usable_cores:
        cores = f"0-{threads - 1}" if threads > 1 else "0"
        yield f"threads may move between cores: pin them, as with `taskset -c {cores} normsuite …`"
    if unset := [f"{name}={value}" for name, value in allocator.PINNED.items() if name not in machine.allocator]:
        yield (
            "normsuite's measuring processes set the allocator themselves; for asv in an environment that exists and "
            f"for pytest-benchmark: export {' '.join(unset)}"
        )
    if noise is not None and noise.others is not None and noise.others > BUSY / machine.usable_cores:
        yield f"other programs took {noise.others:.0%} of the usable cores while this measured: end them"
