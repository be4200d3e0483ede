"""Times of calls: one clock for each kind of device, one calibration, one way to warm up.

Calls are made ready for the clock of their device once (`timers`), and then sampled. On the processor a sample is the
wall clock around repeated calls; on an accelerator it is the device's time of a captured graph (`device_clock`).
"""

import gc
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..machine.garbage import uncollected

Call = Callable[[], object]

SHORTEST_SAMPLE_S = 100e-6
"""Calibrated so, a sample on the processor lasts long enough for reading the clock (some 50 ns) to be lost in it."""

LONG_CALL_S = 20e-3
"""Samples that take longer fill every cache themselves, and are sampled twice instead of three times to calibrate."""

WARM_SHARE = 0.2
"""Share of the seconds given to `samples` that goes to untimed calls before the first sample."""


class Timer(ABC):
    """Calls made ready for a clock.

    Attributes:
        calls: how many calls one repetition makes.
        most: repetitions that a sample has at most.
        shortest_s: how long a sample must last to be worth its clock.
        tries: samples of which the least calibrates.
    """

    calls: int = 1
    most: float = math.inf
    shortest_s: float = SHORTEST_SAMPLE_S
    tries: int = 1

    @abstractmethod
    def sample(self, repeat: int) -> float:
        """Return the seconds of one call, from so many repetitions."""

    @abstractmethod
    def once(self) -> object:
        """Make an untimed repetition."""


class HostTimer(Timer):
    """A call on the processor, by its wall clock."""

    tries = 3

    def __init__(self, call: Call):
        self._call = call

    def sample(self, repeat):
        """Return the seconds of one call, by the wall clock around `repeat` of them."""
        call = self._call
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        return (time.perf_counter() - start) / repeat

    def once(self):
        """Make one untimed call, and return its result."""
        return self._call()


def open_device(device: str) -> None:
    """Make the clock of that device ready, before the first call of the process is prepared.

    An accelerator's calls belong on the stream that its graphs are captured on.
    """
    if device != "cpu":
        from .device_clock import accelerator

        accelerator(device)


@contextmanager
def timers(
    calls: Mapping[str, Sequence[Call]], *, device: str = "cpu", host_time: bool = False
) -> Iterator[dict[str, Timer]]:
    """Make calls ready for the clock of their device, for as long as the block lasts.

    Args:
        calls: by any name; without arguments, called once before; on an accelerator one for each set of operands.
        device: "cpu" or the accelerator's name, which was opened before the calls were prepared.
        host_time: on an accelerator the time for which a call keeps the host, instead of the device's.
    """
    if device == "cpu":
        yield {name: HostTimer(call) for name, (call,) in calls.items()}
        return
    from .device_clock import accelerator, host_timers, timers

    runtime = accelerator(device)
    try:
        yield {**(host_timers(calls, runtime) if host_time else timers(calls, runtime))}
    finally:
        runtime.release()


def calibrate(timer: Timer) -> tuple[int, float]:
    """Return how many repetitions make a sample long enough for the clock, and the seconds of one call.

    The least of several samples counts: one may be disturbed, and the first call of all is cold: by its time alone,
    every later sample would have a single call.
    """
    repeat = 1
    while True:
        call_s = timer.sample(repeat)
        for number in range(1, timer.tries):
            if number == 1 or call_s * repeat < LONG_CALL_S:
                call_s = min(call_s, timer.sample(repeat))
        took = call_s * repeat * timer.calls
        if took >= timer.shortest_s or repeat >= timer.most:
            return repeat, call_s
        further = max(2 * repeat, round(repeat * timer.shortest_s / max(took, 1e-6)))
        repeat = int(min(timer.most, further))


def warm(call: Callable[[], object], seconds: float) -> None:
    """Make untimed calls for so long, one at least."""
    end = time.perf_counter() + seconds
    while True:
        call()
        if time.perf_counter() >= end:
            return


def samples(timer: Timer, *, seconds: float = 0.3, least: int = 10, most: int = 500) -> list[float]:
    """Return times of a call in seconds, one after the other: for a history, which compares nothing in turn.

    A fifth of the time goes to warming up, which is not counted, and garbage is collected before the clock starts, not
    while it runs.

    Args:
        timer: the calls.
        seconds: how long to go on.
        least, most: bounds on the number of samples, whatever the time.
    """
    begun = time.perf_counter()
    repeat, _ = calibrate(timer)
    warm(timer.once, WARM_SHARE * seconds - (time.perf_counter() - begun))
    found: list[float] = []
    gc.collect()
    with uncollected():
        end = time.perf_counter() + seconds
        while len(found) < least or (time.perf_counter() < end and len(found) < most):
            found.append(timer.sample(repeat))
    return found
