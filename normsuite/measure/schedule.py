"""Several calls timed in turn, so that their ratios hold on a machine whose speed drifts.

In each round every timed call gives one sample; the next round has the reverse order (A B B A), which cancels a drift
within the rounds. Right before its sample each is called once untimed, so that caches and threads are warm for all
alike; calls of 20 ms and more need none, since they fill every cache themselves.

Threads that wait for work in a loop (libgomp's, for some 9 ms after a parallel region) take processor time from the
call that is timed next. Calls whose threads are others than the baseline's therefore run one after the other.
Wherever the pool changes, the process sleeps until the last one has stopped spinning, and then makes untimed calls for
10 ms, since sleep leaves threads slow. The A/A control, which is the baseline a second time, runs directly
after them: if they disturb what follows, the ratio of control to baseline shows it.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..machine.garbage import uncollected
from . import clock
from .clock import LONG_CALL_S, HostTimer, Timer

LEAST_ROUNDS = 6
MOST_ROUNDS = 40
"""Bounds on the rounds of a bench."""

THRIFT = 4
"""A timed call whose sample costs more than this many times the median one's takes part in some rounds only."""

WARM_S = 10e-3
"""Seconds of untimed calls after a change of pools: a single call left a timed call slower by a quarter, 3 ms of
them by 6 % ± 4 %, and 10 ms by 2 % ± 4 % (torch.nn against itself on two quiet cores)."""

LEAST_WAIT_S = 5e-3
MOST_WAIT_S = 50e-3


@dataclass(frozen=True)
class TimedCall:
    """A call, and the threads that it runs on."""

    label: str
    pool: str
    call: Callable[[], object]


@dataclass
class _Plan:
    """The sampling of one timed call: so many calls a sample, every so many rounds."""

    timed_call: TimedCall
    timer: Timer
    repeat: int
    call_s: float
    stride: int = 1

    @property
    def long(self) -> bool:
        return self.call_s >= LONG_CALL_S


def spinning_s(call: Callable[[], object]) -> float:
    """Return for how many seconds to sleep until the threads that `call` woke sleep too.

    That is half more than the most processor time that the process used while it slept, of five times; from 5 to 50 ms.
    """
    burnt = 0.0
    for _ in range(5):
        call()
        before = time.process_time()
        time.sleep(MOST_WAIT_S)
        burnt = max(burnt, time.process_time() - before)
    return min(MOST_WAIT_S, max(LEAST_WAIT_S, 1.5 * burnt))


def orders(
    timed_calls: Sequence[TimedCall], *, control: str, draw: random.Random
) -> tuple[list[TimedCall], list[TimedCall]]:
    """Return the order of even rounds and that of odd ones: each other's reverse, shuffled once, but for the control.

    Calls of other pools than the control's stand together, with the control right after them, in both orders.
    """
    found: list[TimedCall | None] = [e for e in timed_calls if e.label == control]
    (last,) = found or [None]
    home = last.pool if last else None
    foreign = [e for e in timed_calls if last and e.pool != home]
    others = [e for e in timed_calls if e is not last and e not in foreign]
    draw.shuffle(foreign)
    draw.shuffle(others)
    place = draw.randrange(len(others) + 1)
    before, after, behind = others[:place], others[place:], [last] if last else []
    return (
        [*before, *foreign, *behind, *after],
        [*reversed(after), *reversed(foreign), *behind, *reversed(before)],
    )


def rounds(seconds: float, *, least: int, most: int) -> Iterator[int]:
    """Yield the numbers of rounds, from 0 on, until so many seconds are over; at least and at most so many."""
    end = time.perf_counter() + seconds
    for number in range(most):
        if number >= least and time.perf_counter() >= end:
            return
        yield number


def interleave(
    timed_calls: Sequence[TimedCall],
    *,
    control: str,
    seconds: float,
    draw: random.Random,
    waits_s: Mapping[str, float],
    always: Collection[str] = (),
    least: int = LEAST_ROUNDS,
    most: int = MOST_ROUNDS,
) -> dict[str, list[float | None]]:
    """Time calls in turn: in rounds, each in one of two orders.

    Args:
        timed_calls: whose calls have been made once already.
        control: label of the one that follows those of other pools.
        seconds: how long to go on, calibration not counted.
        draw: shuffles the order.
        waits_s: for each pool, how long to sleep before another one is timed.
        always: labels that are sampled in every round, whatever it costs: others are compared with them.
        least, most: bounds on the number of rounds.

    Returns:
        For each label one time of a call in seconds for each round; None where it was left out.
    """
    plans = {e.label: _planned(e) for e in timed_calls}
    home = plans[control].timed_call.pool if control in plans else None
    _set_strides([p for name, p in plans.items() if name not in always], list(plans.values()), waits_s, home)
    times: dict[str, list[float | None]] = {e.label: [] for e in timed_calls}
    ways = orders(timed_calls, control=control, draw=draw)
    pool: str | None = None
    with uncollected():
        for number in rounds(seconds, least=least, most=most):
            for timed_call in ways[number % 2]:
                plan = plans[timed_call.label]
                if number % plan.stride:
                    times[timed_call.label].append(None)
                    continue
                before, pool = timed_call.pool if pool is None else pool, timed_call.pool
                if before != pool:
                    time.sleep(waits_s.get(before, 0.0))
                    clock.warm(timed_call.call, WARM_S)
                elif not plan.long:
                    timed_call.call()
                times[timed_call.label].append(plan.timer.sample(plan.repeat))
    return times


def _planned(timed_call: TimedCall) -> _Plan:
    timer = HostTimer(timed_call.call)
    return _Plan(timed_call, timer, *clock.calibrate(timer))


def _set_strides(plans: list[_Plan], everyone: list[_Plan], waits_s: Mapping[str, float], home: str | None) -> None:
    """Set the strides of expensive calls, which are sampled in some rounds only.

    Strides are odd, so that both orders occur.
    """
    home_wait_s = 0.0 if home is None else waits_s.get(home, 0.0)

    def cost(plan: _Plan) -> float:
        pool = plan.timed_call.pool
        switches = waits_s.get(pool, 0.0) + home_wait_s + 2 * WARM_S if pool != home else 0.0
        return plan.call_s * (plan.repeat + (not plan.long)) + switches

    fair = THRIFT * statistics.median(map(cost, everyone))
    for plan in plans:
        if cost(plan) > fair:
            plan.stride = math.ceil(cost(plan) / fair) // 2 * 2 + 1
