"""Two calls timed against each other, A B B A and again, so that a machine whose speed drifts slows both alike; with
the heap laid out anew for every block, so that neither keeps a luckier place for its tensors than the other."""

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from ..bench import timing

LEAST_BLOCKS = 6
WARM_S = 5e-3
TRIMMED = 0.25
"""Share of the blocks that is left out at either end: what the second of four samples still lets through."""

_ORDER = "ABBAABBA"
SAMPLES = len(_ORDER)
"""Of a block."""

_SPACERS = 4
_MOST_SPACE = 1 << 19
"""Bytes of a spacer at most; sizes are drawn evenly over their powers of two."""


@dataclass(frozen=True)
class Pair:
    """What one process says of two calls.

    Attributes:
        log_ratio: trimmed mean over blocks of log(head / base).
        base_s: median time of a call of base, in seconds.
        blocks: how many there were.
    """

    log_ratio: float
    base_s: float
    blocks: int


def compare(
    base: Callable[[], object],
    head: Callable[[], object],
    *,
    blocks: int,
    longest_s: float,
    draw: random.Random,
    device: str = "cpu",
) -> Pair:
    """Time two calls in blocks A B B A, with either of them as A by chance.

    Each sample of a block is as many calls as the clock needs, the same number for both. A block gives one ratio, of
    the second least of its four samples each: what disturbs a machine only ever adds time, and seldom to three of four
    that lie apart, while the very least may be of a kind that seldom comes. An even drift within a block favours
    nobody. Before each block some memory is taken and some of it given back, so that what the calls allocate lies
    elsewhere: else a process has one layout, and its ratio a luck that no further block lessens.

    Args:
        base, head: called once before.
        blocks: how many.
        longest_s: but not for longer than so many seconds, if they were enough for `LEAST_BLOCKS`.
        draw: which comes first.
        device: "cpu", or the accelerator whose events are the clock.
    """
    sample = timing.sampler(device)
    repeat = _repeat(sample, base)
    for call in (base, head):
        _warm(call)
    logs, base_s = [], []
    was_enabled = gc.isenabled()
    gc.collect(0)
    gc.disable()
    try:
        end = time.perf_counter() + longest_s
        while len(logs) < LEAST_BLOCKS or (len(logs) < blocks and time.perf_counter() < end):
            spacers = _spacers(draw, device)
            a_is_base = draw.random() < 0.5
            took: dict[bool, list[float]] = {True: [], False: []}
            for letter in _ORDER:
                is_base = (letter == "A") == a_is_base
                took[is_base].append(sample(base if is_base else head, repeat))
            b, h = _second_least(took[True]), _second_least(took[False])
            logs.append(np.log(h / b))
            base_s.append(b)
            del spacers
    finally:
        if was_enabled:
            gc.enable()
    return Pair(float(stats.trim_mean(logs, TRIMMED)), float(np.median(base_s)), len(logs))


def alone(call: Callable[[], object], *, blocks: int, longest_s: float, device: str = "cpu") -> float:
    """Time one call, for a process that cannot hold both: the trimmed mean of the logarithm of its seconds.

    For as long as `compare` takes over two.
    """
    sample = timing.sampler(device)
    repeat = _repeat(sample, call)
    _warm(call)
    draw = random.Random()
    logs, end = [], time.perf_counter() + longest_s
    gc.collect(0)
    while len(logs) < 2 * LEAST_BLOCKS or (len(logs) < 2 * blocks and time.perf_counter() < end):
        spacers = _spacers(draw, device)
        logs.append(np.log(_second_least([sample(call, repeat) for _ in range(SAMPLES // 2)])))
        del spacers
    return float(stats.trim_mean(logs, TRIMMED))


def sample_s(call: Callable[[], object], *, device: str = "cpu") -> float:
    """How long a sample of that call takes, of which a block has `SAMPLES`; roughly, to plan with."""
    sample = timing.sampler(device)
    repeat = _repeat(sample, call)
    return repeat * min(sample(call, repeat) for _ in range(3))


def _second_least(samples: list[float]) -> float:
    return sorted(samples)[1]


def _spacers(draw: random.Random, device: str) -> list[torch.Tensor]:
    """Memory that is held, between gaps of memory that was; none of it is written to."""
    powers = range(6, _MOST_SPACE.bit_length())
    taken = [
        torch.empty(draw.randrange(1 << draw.choice(powers)), dtype=torch.uint8, device=device)
        for _ in range(2 * _SPACERS)
    ]
    return taken[::2]


def _repeat(sample, call: Callable[[], object]) -> int:
    repeat = 1
    while sample(call, repeat) * repeat < timing.SHORTEST_SAMPLE_S:
        repeat *= 2
    return repeat


def _warm(call: Callable[[], object]) -> None:
    end = time.perf_counter() + WARM_S
    call()
    while time.perf_counter() < end:
        call()
