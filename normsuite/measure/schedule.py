"""Several calls timed in turn, so that their ratios hold on a machine whose speed drifts.

In each round every entrant gives one sample; the next round goes the other way round (A B B A), which cancels a drift
within the rounds. Right before its sample an entrant makes an untimed call, so that caches and threads are warm for
everybody alike; calls of 20 ms and more need none, since they fill every cache themselves.

Threads that wait for work in a loop (libgomp's, for some 9 ms after a parallel region) take processor time from
whoever is timed next. Entrants whose threads are others than the baseline's therefore run one behind the other, and
wherever the pool changes, the process sleeps until the last one has stopped spinning, and then makes untimed calls for
10 ms, since sleep leaves threads slow. The witness, which is the baseline a second time, comes right behind them: if
their threads disturbed anybody, it would be it, and its ratio to the baseline would leave 1.
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from . import clock

LEAST_ROUNDS = 6
MOST_ROUNDS = 40
LONG_CALL_S = 20e-3
THRIFT = 4
"""An entrant whose sample costs more than this many times the median entrant's takes part in some rounds only."""

WARM_S = 10e-3
"""How long an entrant makes untimed calls after a change of pools: a single one left it slower by a quarter, 3 ms of
them by 6 % ± 4 %, and 10 ms by 2 % ± 4 % (torch.nn against itself on two quiet cores)."""

LEAST_WAIT_S = 5e-3
MOST_WAIT_S = 50e-3


@dataclass(frozen=True)
class Entrant:
    """A call, and the threads that it runs on."""

    label: str
    pool: str
    call: Callable[[], object]


@dataclass
class _Turn:
    """How an entrant is sampled: so many calls a sample, every so many rounds."""

    entrant: Entrant
    repeat: int
    call_s: float
    stride: int = 1

    @property
    def long(self) -> bool:
        return self.call_s >= LONG_CALL_S


def spinning_s(call: Callable[[], object], trials: int = 5) -> float:
    """How long to sleep until the threads that `call` woke have gone to sleep too, in seconds.

    Half more than the most processor time that the process burnt while it slept; from 5 to 50 ms.
    """
    burnt = 0.0
    for _ in range(trials):
        call()
        before = time.process_time()
        time.sleep(MOST_WAIT_S)
        burnt = max(burnt, time.process_time() - before)
    return min(MOST_WAIT_S, max(LEAST_WAIT_S, 1.5 * burnt))


def orders(entrants: Sequence[Entrant], *, witness: str, draw: random.Random) -> tuple[list[Entrant], list[Entrant]]:
    """The order of the even rounds and of the odd ones: each other's reverse, shuffled once, but for the witness.

    Entrants of other pools than the witness's stand together with the witness right behind them, in both orders.
    """
    (last,) = [e for e in entrants if e.label == witness] or [None]
    home = last.pool if last else None
    foreign = [e for e in entrants if last and e.pool != home]
    others = [e for e in entrants if e is not last and e not in foreign]
    draw.shuffle(foreign)
    draw.shuffle(others)
    place = draw.randrange(len(others) + 1)
    before, after, behind = others[:place], others[place:], [last] if last else []
    return (
        [*before, *foreign, *behind, *after],
        [*reversed(after), *reversed(foreign), *behind, *reversed(before)],
    )


def interleave(
    entrants: Sequence[Entrant],
    *,
    witness: str,
    seconds: float,
    draw: random.Random,
    waits_s: Mapping[str, float],
    always: Collection[str] = (),
    device: str = "cpu",
    least: int = LEAST_ROUNDS,
    most: int = MOST_ROUNDS,
) -> dict[str, list[float | None]]:
    """Time them in turn.

    Args:
        entrants: whose calls have been made once already.
        witness: label of the entrant that follows those of other pools.
        seconds: how long to go on, calibration not counted.
        draw: shuffles the order.
        waits_s: for each pool, how long to sleep before another one is timed.
        always: who takes part in every round, whatever it costs: what others are compared with.
        device: "cpu", or the accelerator whose events are the clock.
        least, most: bounds on the number of rounds.

    Returns:
        For each label one time of a call in seconds for each round; None where it sat out.
    """
    sample = clock.sampler(device)
    shortest = clock.shortest_sample_s(device)
    turns = {e.label: _calibrated(e, sample, shortest) for e in entrants}
    home = turns[witness].entrant.pool if witness in turns else None
    _be_thrifty([t for name, t in turns.items() if name not in always], list(turns.values()), waits_s, home)
    times: dict[str, list[float | None]] = {e.label: [] for e in entrants}
    ways = orders(entrants, witness=witness, draw=draw)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        end, pool, last = time.perf_counter() + seconds, None, None
        for number in range(most):
            if number >= least and time.perf_counter() >= end:
                break
            for entrant in ways[number % 2]:
                turn = turns[entrant.label]
                if number % turn.stride:
                    times[entrant.label].append(None)
                    continue
                switched, pool = pool is not None and entrant.pool != pool, entrant.pool
                if switched:
                    time.sleep(waits_s.get(last, 0.0))
                last = pool
                if switched:
                    _warm(entrant.call)
                elif not turn.long:
                    entrant.call()
                times[entrant.label].append(sample(entrant.call, turn.repeat))
    finally:
        if was_enabled:
            gc.enable()
    return times


def _warm(call: Callable[[], object]) -> None:
    """Untimed calls until threads that slept, and the core below them, are at their pace again."""
    end = time.perf_counter() + WARM_S
    while True:
        call()
        if time.perf_counter() >= end:
            return


def _calibrated(entrant: Entrant, sample, shortest_s: float) -> _Turn:
    """How many calls make a sample long enough for the clock, by the least of three samples: one may be disturbed, and
    the first of all, of a cold call, would have every sample of the baseline be of that one call."""
    repeat = 1
    while True:
        elapsed = sample(entrant.call, repeat)
        elapsed = min(elapsed, sample(entrant.call, repeat))
        if elapsed * repeat < LONG_CALL_S:
            elapsed = min(elapsed, sample(entrant.call, repeat))
        if elapsed * repeat >= shortest_s:
            return _Turn(entrant, repeat, elapsed)
        repeat *= 2


def _be_thrifty(turns: list[_Turn], all_turns: list[_Turn], waits_s: Mapping[str, float], home: str | None) -> None:
    """Let those that cost much sit out some rounds: an odd number apart, so that they go both ways."""

    def cost(turn: _Turn) -> float:
        pool = turn.entrant.pool
        switches = waits_s.get(pool, 0.0) + waits_s.get(home, 0.0) + 2 * WARM_S if pool != home else 0.0
        return turn.call_s * (turn.repeat + (not turn.long)) + switches

    fair = THRIFT * statistics.median(map(cost, all_turns))
    for turn in turns:
        if cost(turn) > fair:
            turn.stride = math.ceil(cost(turn) / fair) // 2 * 2 + 1
