"""Implementations timed in turn on an accelerator: device time first, then host time, in rounds A B B A.

Each implementation has a call for every set of operands; the sets are used one after the other. The order of an odd
round is the reverse of that of an even one, which cancels a drift within them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..machine.garbage import uncollected
from . import clock, device_clock
from .clock import Call
from .device_clock import CaptureFailed, Device, DeviceTimer
from .schedule import LEAST_ROUNDS, MOST_ROUNDS, rounds

HOST_SHARE = 0.25
"""Share of a task's seconds that host time gets."""


class Uncapturable(Exception):
    """An implementation's calls could not be captured, so that this process is of no use for further graphs.

    Attributes:
        label, reason: the implementation, and why.
    """

    def __init__(self, label: str, reason: str):
        super().__init__(f"{label}: {reason}")
        self.label, self.reason = label, reason


@dataclass(frozen=True)
class Timed:
    """The times of each implementation, by its label.

    Attributes:
        device_s, host_s: a time of a call for each round.
        captured: the reason why the calls were queued one by one, or None where they were a graph.
    """

    device_s: dict[str, list[float]]
    host_s: dict[str, list[float]]
    captured: dict[str, str | None]


def timed(
    calls: Mapping[str, Sequence[Call]],
    device: Device,
    *,
    seconds: float,
    draw: random.Random,
    queued: Mapping[str, str],
    least: int = LEAST_ROUNDS,
    most: int = MOST_ROUNDS,
) -> Timed:
    """Time the calls in turn, with the device's clock and with the host's.

    Args:
        calls: by label, one for each set of operands; warmed up.
        device: where they run.
        seconds: how long to go on, capture and calibration not counted.
        draw: shuffles the order.
        queued: labels whose calls are known not to be captured, with the reason.
        least, most: bounds on the number of rounds of each of the two times.

    Raises:
        Uncapturable: another's calls cannot be captured.
    """
    timers = {label: _timer(label, of_label, device, queued.get(label)) for label, of_label in calls.items()}
    calibrated = {label: clock.calibrate(timer) for label, timer in timers.items()}
    order = list(calls)
    draw.shuffle(order)
    bounds = {"least": least, "most": most}
    device_s = _rounds(
        order,
        lambda label: timers[label].sample(calibrated[label][0]),
        seconds=(1 - HOST_SHARE) * seconds,
        **bounds,
    )
    numbers = {label: device_clock.host_calls(call_s) for label, (_, call_s) in calibrated.items()}
    host_s = _rounds(
        order,
        lambda label: device_clock.host_sample(calls[label], device, numbers[label]),
        seconds=HOST_SHARE * seconds,
        **bounds,
    )
    return Timed(device_s, host_s, {label: timer.reason for label, timer in timers.items()})


def _timer(label: str, calls: Sequence[Call], device: Device, reason: str | None) -> DeviceTimer:
    if reason is not None:
        return device_clock.queued(calls, reason, device)
    try:
        return device_clock.captured(calls, device)
    except CaptureFailed as failed:
        raise Uncapturable(label, str(failed)) from failed


def _rounds(
    order: Sequence[str], sample: Callable[[str], float], *, seconds: float, least: int, most: int
) -> dict[str, list[float]]:
    """Return samples of each, taken in that order, then in its reverse, and so on."""
    found: dict[str, list[float]] = {label: [] for label in order}
    with uncollected():
        for number in rounds(seconds, least=least, most=most):
            for label in order if number % 2 == 0 else reversed(order):
                found[label].append(sample(label))
    return found
