"""The order in which a bench calls implementations, on a clock of the tests' own."""

import gc
import itertools
import math
import random

import pytest

from normsuite.bench import summary
from normsuite.bench.summary import AGAIN, BASELINE
from normsuite.measure import clock as kit_clock
from normsuite.measure import schedule
from normsuite.measure.schedule import TimedCall
from normsuite.versus import rounds as versus_rounds


class Clock:
    """A clock that moves when somebody works or sleeps; what was slept is kept."""

    def __init__(self):
        self.now, self.slept, self.burning_until = 0.0, [], 0.0
        self.burnt = 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.burnt

    def sleep(self, seconds):
        self.burnt += max(0.0, min(self.now + seconds, self.burning_until) - self.now)
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("normsuite.measure.clock.time", clock)
    monkeypatch.setattr(schedule, "time", clock)
    return clock


def timed_call(clock, label, cost, pool="openmp", log=None):
    def call():
        clock.now += cost() if callable(cost) else cost
        if log is not None:
            log.append(label)

    return TimedCall(label, pool, call)


def measure(timed_calls, *, seed=0, seconds=1.0, waits_s=None, **further):
    return schedule.interleave(
        timed_calls, control=AGAIN, seconds=seconds, draw=random.Random(seed), waits_s=waits_s or {}, **further
    )


def test_planted_ratios_are_found_on_a_machine_that_drifts(clock):
    speed = lambda: 1 + 0.5 * math.sin(clock.now)  # noqa: E731
    found = measure(
        [
            timed_call(clock, BASELINE, lambda: 1e-3 * speed()),
            timed_call(clock, AGAIN, lambda: 1e-3 * speed()),
            timed_call(clock, "slow", lambda: 1.3e-3 * speed()),
            timed_call(clock, "fast", lambda: 20e-6 * speed()),
        ]
    )
    ratio = {name: math.exp(summary.paired_log_ratio(found[name], found[BASELINE])) for name in found}
    assert ratio == pytest.approx({BASELINE: 1, AGAIN: 1, "slow": 1.3, "fast": 0.02}, rel=0.02)
    assert 6 <= len(found[BASELINE]) <= schedule.MOST_ROUNDS


@pytest.mark.parametrize("seed", range(5))
def test_rounds_go_there_and_back_and_the_control_follows_other_pools(seed):
    people = [TimedCall(name, "openmp", None) for name in ("a", "b", "c", AGAIN)]
    people += [TimedCall("x", "xla", None), TimedCall("o", "onnxruntime", None)]
    there, back = ([e.label for e in way] for way in schedule.orders(people, control=AGAIN, draw=random.Random(seed)))
    assert sorted(there) == sorted(back) == sorted(e.label for e in people)
    for way in (there, back):
        place = way.index(AGAIN)
        assert {way[place - 1], way[place - 2]} == {"x", "o"}
    without = [[name for name in way if name != AGAIN] for way in (there, back)]
    assert without[0] == without[1][::-1]


def test_a_pool_that_spins_is_waited_for_before_another_is_timed(clock):
    log = []
    people = [timed_call(clock, n, 1e-3, log=log) for n in (BASELINE, AGAIN)] + [
        timed_call(clock, "x", 1e-3, "xla", log)
    ]
    found = measure(people, waits_s={"openmp": 2e-3, "xla": 1e-3}, always=["x"], least=4, most=4)
    assert None not in found["x"]
    runs = [len(list(calls)) for name, calls in itertools.groupby(log[9:]) if name == "x"]  # behind the calibration
    assert min(runs[1:]) == schedule.WARM_S / 1e-3 + 1  # untimed calls, then the sample
    assert clock.slept.count(1e-3) == 4  # behind each sample of x
    assert clock.slept.count(2e-3) == 4 - (log[9] == "x")  # before each, unless nobody was timed before
    assert len(clock.slept) == clock.slept.count(1e-3) + clock.slept.count(2e-3)


@pytest.mark.parametrize("first_s", [0.0, 40e-6, 1e-3, 0.1])
def test_a_slow_first_call_and_what_a_sample_costs_by_itself_favour_nobody(first_s, clock, monkeypatch):
    """What each sample waits for is lost in it: it has as many calls as the clock needs, however slow the first was."""
    costs = iter([first_s])
    sample = kit_clock.HostTimer.sample

    def costly(timer, repeat):
        cost = kit_clock.SHORTEST_SAMPLE_S / 200 + next(costs, 0.0)
        clock.now += cost
        return sample(timer, repeat) + cost / repeat

    monkeypatch.setattr(kit_clock.HostTimer, "sample", costly)
    found = measure([timed_call(clock, name, 6e-6) for name in (BASELINE, AGAIN)])
    assert found[BASELINE] == pytest.approx(found[AGAIN])
    assert found[AGAIN] == pytest.approx([6e-6] * len(found[AGAIN]), rel=0.01)


def test_how_long_threads_spin_is_measured(clock):
    def call():
        clock.burning_until = clock.now + 9e-3

    assert schedule.spinning_s(call) == pytest.approx(13.5e-3)
    assert schedule.spinning_s(lambda: setattr(clock, "burning_until", 0.0)) == schedule.LEAST_WAIT_S
    forever = schedule.spinning_s(lambda: setattr(clock, "burning_until", math.inf))
    assert forever == schedule.MOST_WAIT_S


def test_who_costs_much_sits_out_rounds_and_stays_paired(clock):
    people = [timed_call(clock, n, 1e-3) for n in (BASELINE, AGAIN, "a")] + [timed_call(clock, "slow", 15e-3)]
    found = measure(people, seconds=10)
    taken = [i for i, t in enumerate(found["slow"]) if t is not None]
    assert len(found["slow"]) == len(found[BASELINE]) and taken[:3] == [0, 5, 10]
    assert math.exp(summary.paired_log_ratio(found["slow"], found[BASELINE])) == pytest.approx(15)
    assert None not in measure(people, seconds=10, always=["slow"])["slow"]


def test_a_call_that_fails_leaves_the_garbage_collector_on():
    """Also while its error is looked at, as a debugger or a notebook does."""

    def fails():
        if not gc.isenabled():  # in the rounds
            raise ValueError("no more")

    with pytest.raises(ValueError) as held:
        schedule.interleave(
            [TimedCall("mine", "openmp", fails)], control="", seconds=1.0, draw=random.Random(0), waits_s={}
        )
    assert held.value.__traceback__ is not None and gc.isenabled()
    timers = {"mine": kit_clock.HostTimer(fails)}
    with pytest.raises(ValueError) as held:
        versus_rounds.timed(timers, seconds=1.0, draw=random.Random(0))
    assert held.value.__traceback__ is not None and gc.isenabled()
