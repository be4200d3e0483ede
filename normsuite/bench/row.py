"""Rows and means of a bench, intervals that hold together, and the verdict on a ratio. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..presentation.table import BAD, GOOD
from ..statistics import (
    ABOVE,
    AT_MOST,
    BELOW,
    CLIP,
    CONFIDENCE,
    OPEN,
    Interval,
    exponential,
    moderated_intervals,
    not_worse,
)

SLOWER_ABOVE = 1.02
VERDICTS = SLOWER, FASTER, NOT_SLOWER, UNDECIDED = "slower", "faster", "not slower", "undecided"
TONES = {SLOWER: BAD, FASTER: GOOD, NOT_SLOWER: GOOD}
ALL = "all"
"""Stands for a norm's name in the mean over all norms."""


CLIPPED_FROM = 10
"""Processes from which on corrected intervals are of clipped values. With six, where one value in ten is slow, clipping
leaves most tasks so little spread that those with two slow ones are drawn to it: all 268 intervals held in 49 of 60
benches (`tools/simulate_bench.py`)."""


@dataclass(frozen=True)
class TaskRow:
    """One implementation in one task.

    Attributes:
        norm, case, mode, activation, tiny: the task; activation "none" where there is none.
        implementation: its label.
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
    implementation: str
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
    """A geometric mean over tasks of implementation / against.

    Attributes:
        size: "large" or "tiny" cases.
        norm: a norm, or "all".
        tasks: how many.
    """

    implementation: str
    against: str
    mode: str
    size: str
    activation: str
    norm: str
    tasks: int
    ratio: Interval


def mode_text(found: TaskRow | Mean) -> str:
    """Return the mode, and the activation where there is one."""
    return found.mode if found.activation == "none" else f"{found.mode}, {found.activation}"


def corrected(logs: Sequence[Sequence[float]]) -> list[Interval]:
    """Return the ratio of each task, with intervals that hold together over all of them.

    Args:
        logs: of each task the logarithm of its ratio in each process; none where it was not done.
    """
    clip = CLIP if min((len(of) for of in logs if of), default=0) >= CLIPPED_FROM else math.inf
    found = moderated_intervals(logs, alpha=(1 - CONFIDENCE) / max(1, len(logs)), clip=clip)
    return [exponential(of) for of in found]


def verdict(ratio: Interval) -> str:
    """Return "slower" if the whole interval lies above 1.02, "faster" if below 1, "not slower" if it ends by 1.02.

    Otherwise, and where there is no interval, the row is undecided.
    """
    where = {ABOVE: SLOWER, BELOW: FASTER, AT_MOST: NOT_SLOWER, OPEN: UNDECIDED}
    return where[not_worse(ratio, better_below=1, worse_above=SLOWER_ABOVE)]
