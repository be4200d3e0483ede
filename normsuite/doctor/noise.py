"""The noise of this machine: torch.nn timed against itself, as `normsuite bench` times implementations."""

import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..measure import listening, process
from ..measure.cases import find as find_case
from ..measure.labels import AGAIN, BASELINE
from ..measure.task import Task
from ..spec import NORMS
from ..statistics import Interval, paired_log_ratio, ratio_interval

PROCESSES = 4
SECONDS = 1.0
"""Seconds of calls in each of them; with the starts it is some 10 s on two cores."""

LIMIT_S = 300.0
"""How long a process may be silent."""

NORM, CASE, MODE = "BatchNorm", "study", "step"
"""The call: long enough for threads to matter, short enough for many of them."""


@dataclass(frozen=True)
class Noise:
    """Two equal calls timed in turn, in several fresh processes.

    Attributes:
        ratio: of the one's time to the other's, with its 95 % interval: 1 is within, as far as the machine is sound.
        spread: of a single call's time, from the 5th to the 95th percentile of a process, over its median.
        call_s: median time of a call, in seconds.
        others: share that other programs took of the usable cores meanwhile; None where the system does not say.
        processes: how many there were.
    """

    ratio: Interval
    spread: float
    call_s: float
    others: float | None
    processes: int


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
        limits = {"first_s": LIMIT_S, "limit_s": LIMIT_S}
        messages = listening.messages(command, {**job, "number": number}, process.variables(threads), **limits)
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
