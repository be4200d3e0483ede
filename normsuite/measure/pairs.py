"""Two calls timed against each other, A B B A and again, so that a machine whose speed drifts slows both alike."""

import gc
import random
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..machine.garbage import uncollected
from . import clock
from .clock import Timer

SAMPLES = 4
"""Samples of a block."""

LEAST_BLOCKS = 6
WARM_S = 5e-3
TRIMMED = 0.25
"""Share of the blocks that is left out at either end."""


@dataclass(frozen=True)
class CallPair:
    """The times of two calls in one process.

    Attributes:
        log_ratio: trimmed mean over blocks of log(head / base).
        base_s: seconds of a call of base: the median over blocks of the lesser of two samples.
        blocks: how many there were.
    """

    log_ratio: float
    base_s: float
    blocks: int


def compare(
    base: Timer,
    head: Timer,
    *,
    blocks: int,
    longest_s: float,
    draw: random.Random,
) -> CallPair:
    """Time two calls in blocks A B B A; which of them is A is drawn for each block.

    Each sample of a block is as many calls as the clock needs, the same number for both. A block gives one ratio, of
    the lesser of the two samples of each call: disturbances only ever add time, and seldom to both samples. A steady
    drift within a block favours the call that comes first, which is therefore drawn. Which call is calibrated and
    warmed up first is drawn too, since the second one follows the other's calibration.

    Args:
        base, head: the calls.
        blocks: how many.
        longest_s: but not for longer than so many seconds, if they were enough for `LEAST_BLOCKS`.
        draw: which comes first.
    """
    first, second = draw.sample((base, head), 2)
    repeat = int(min(clock.calibrate(first)[0], second.most))
    for timer in (first, second):
        clock.warm(timer.once, WARM_S)
    logs: list[float] = []
    base_s: list[float] = []
    gc.collect(0)
    with uncollected():
        end = time.perf_counter() + longest_s
        while len(logs) < LEAST_BLOCKS or (len(logs) < blocks and time.perf_counter() < end):
            if draw.random() < 0.5:
                b, h = base.sample(repeat), head.sample(repeat)
                h = min(h, head.sample(repeat))
                b = min(b, base.sample(repeat))
            else:
                h, b = head.sample(repeat), base.sample(repeat)
                b = min(b, base.sample(repeat))
                h = min(h, head.sample(repeat))
            logs.append(np.log(h / b))
            base_s.append(b)
    return CallPair(float(stats.trim_mean(logs, TRIMMED)), float(np.median(base_s)), len(logs))


def sample_s(timer: Timer) -> float:
    """Return roughly the seconds of one sample of that call, to plan with; a block has `SAMPLES` of them."""
    repeat, call_s = clock.calibrate(timer)
    return repeat * timer.calls * call_s
