"""Callables timed in turn within one process, forwards and backwards, so that a drift slows all of them alike."""

import random
from collections.abc import Mapping

from ..machine.garbage import uncollected
from ..measure import clock
from ..measure.clock import Timer
from ..measure.schedule import rounds

LEAST_ROUNDS = 24
MOST_ROUNDS = 20_000
WARM_S = 5e-3


def timed(timers: Mapping[str, Timer], *, seconds: float, draw: random.Random) -> dict[str, list[float]]:
    """Return for each callable one time of a call in seconds for each round.

    A round goes through all callables in a drawn order and back (A B B A); the lesser of a callable's two samples
    counts, since what disturbs a machine only ever adds time. A sample is as many calls as the clock needs.

    Args:
        timers: by name.
        seconds: how long to go on, calibration not counted.
        draw: of the orders.
    """
    repeats = {}
    for name, timer in timers.items():
        clock.warm(timer.once, WARM_S)
        repeats[name] = clock.calibrate(timer)[0]
    times: dict[str, list[float]] = {name: [] for name in timers}
    order = list(timers)
    with uncollected():
        for _ in rounds(seconds, least=LEAST_ROUNDS, most=MOST_ROUNDS):
            draw.shuffle(order)
            found: dict[str, list[float]] = {name: [] for name in order}
            for name in (*order, *reversed(order)):
                found[name].append(timers[name].sample(repeats[name]))
            for name, pair in found.items():
                times[name].append(min(pair))
    return times
