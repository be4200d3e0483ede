"""The one clock of everything that measures, on an accelerator's double: what the gate and asv ask of it."""

import math
import random
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from device_double import Double

from normsuite.gate import counting, worker
from normsuite.measure import clock, device_clock, pairs, workload
from normsuite.measure.task import Task
from normsuite.spec import NORMS


@pytest.fixture
def device(monkeypatch):
    """The runtime of "cuda" in this process."""
    double = Double()
    monkeypatch.setattr(device_clock, "accelerator", lambda name: double)
    return double


def sets(number):
    return [lambda: None for _ in range(number)]


def test_calls_of_both_versions_are_graphs_over_all_sets_of_operands(device):
    with clock.timers({"base": sets(3), "head": sets(3)}, device="cuda") as timers:
        device.log.clear()
        found = pairs.compare(timers["base"], timers["head"], blocks=6, longest_s=1.0, draw=random.Random(0))
    assert found.log_ratio == pytest.approx(0.0) and found.base_s == pytest.approx(1e-3 / 3) and found.blocks == 6
    replays = [word for word in device.log if word.startswith("replay")]
    assert {"replay 1", "replay 2"} == set(replays)
    assert device.log[-1] == "release", "graphs and their memory are let go behind the block"


class FirstIsSlow(clock.Timer):
    """A call that takes longer where it is the first of a pair to be called at all."""

    def __init__(self, called: list):
        self._called = called

    def sample(self, repeat):
        self._called.append(self)
        return 1e-3 if self._called[0] is self else 0.9e-3

    def once(self):
        self._called.append(self)


def test_neither_version_is_always_called_first():
    found = []
    for seed in range(200):
        called: list = []
        pair = FirstIsSlow(called), FirstIsSlow(called)
        found.append(pairs.compare(*pair, blocks=6, longest_s=0.0, draw=random.Random(seed)).log_ratio)
    assert set(np.round(np.abs(found), 6)) == {round(math.log(1 / 0.9), 6)}
    assert abs(np.sign(found).sum()) < 50, "3.5 standard deviations"


def test_a_version_whose_graph_takes_longer_is_slower(device):
    with clock.timers({"base": sets(2)}, device="cuda") as base:
        device.graph_s = 1.5e-3
        with clock.timers({"head": sets(2)}, device="cuda") as head:
            slow = {"head": head["head"].sample(1)}
            device.graph_s = 1e-3
            assert slow["head"] / base["base"].sample(1) == pytest.approx(1.5)


def test_where_one_call_cannot_be_captured_all_are_queued_from_then_on(device):
    broken, whole = sets(1), sets(1)
    device.broken = broken
    with clock.timers({"base": whole, "head": broken}, device="cuda") as timers:
        assert {timer.reason for timer in timers.values()} == {"operation not permitted when stream is capturing"}
    device.log.clear()
    with clock.timers({"base": whole}, device="cuda") as timers:
        assert timers["base"].reason is not None and "capture of 1" not in device.log
        assert timers["base"].most <= device_clock.HOST_CALLS


def test_the_gate_s_worker_times_by_that_clock(device):
    task = Task(NORMS["LayerNorm"], workload.cases.find("tiny"), "forward", device="cuda")
    calls = {"base": sets(2), "head": sets(2)}
    job = {"blocks": 6, "longest_s": 1.0}
    found = worker._time(calls, {}, task, job, random.Random(0))
    assert found["log_ratio"] == pytest.approx(0.0) and found["base_s"] == pytest.approx(1e-3 / 2)
    device.graph_s = 2e-3  # long enough for one sample
    assert counting.plan(calls, task)["sample_s"] == pytest.approx(2e-3)


def test_samples_one_after_the_other_are_the_device_s_time(device):
    with clock.timers({"": sets(4)}, device="cuda") as timers:
        samples = clock.samples(timers[""], seconds=0.01, least=5, most=5)
    assert samples == pytest.approx([1e-3 / 4] * 5)


@pytest.fixture
def host(device, monkeypatch):
    """Returns calls that keep the host for so many seconds, by a clock that moves with nothing else."""
    clock_of_host = types.SimpleNamespace(perf_counter=lambda: device.now_s)
    for module in (clock, device_clock, pairs):
        monkeypatch.setattr(module, "time", clock_of_host)

    def call(seconds):
        device.log.append("call")
        device.now_s += seconds

    return lambda seconds, number: [lambda: call(seconds) for _ in range(number)]


def test_host_time_is_that_of_calls_which_nothing_waits_for(device, host):
    with clock.timers({"": host(2e-5, 3)}, device="cuda", host_time=True) as timers:
        device.log.clear()
        assert timers[""].sample(2) == pytest.approx(2e-5)
        assert device.log == ["synchronize", *["call"] * 6, "synchronize"], "no graph, no event, no wait in between"
        assert timers[""].calls * timers[""].most <= device_clock.HOST_CALLS
    assert device.log[-1] == "release"


@pytest.mark.parametrize(("call_s", "most"), [(1e-5, 25), (2e-4, 12), (1e-2, 2), (1.0, 2)])
def test_calls_of_host_time_do_not_fill_the_queue(device, host, call_s, most):
    with clock.timers({"": host(call_s, 4)}, device="cuda", host_time=True) as timers:
        assert timers[""].most == most


def test_a_version_that_keeps_the_host_for_longer_is_slower(device, host):
    task = replace(Task(NORMS["LayerNorm"], workload.cases.find("tiny"), "forward", device="cuda"), host_time=True)
    calls = {"base": host(1e-5, 2), "head": host(1.5e-5, 2)}
    found = worker._time(calls, {}, task, {"blocks": 6, "longest_s": 1.0}, random.Random(0))
    assert found["log_ratio"] == pytest.approx(math.log(1.5)) and found["base_s"] == pytest.approx(1e-5)
    assert 1 <= counting.plan(calls, task)["sample_s"] / clock.SHORTEST_SAMPLE_S < 2.5, "not a replay's 1 ms"
    log = [word for word in device.log if word.startswith(("replay", "event"))]
    assert not log, "nothing is captured"


def test_a_cell_of_host_time_counts_nothing_that_the_cell_beside_it_has():
    cell = workload.named("LayerNorm", "torch", "tiny")
    cell = replace(cell, task=replace(cell.task, host_time=True))
    assert cell.name == "LayerNorm/torch/tiny/forward/host"
    assert workload.Workload.from_dict(cell.as_dict()) == cell
    assert counting.values(cell.prepare(), cell, None) == counting.errors(None, cell) == {}


def test_the_processor_s_clock_makes_no_graph(device):
    with clock.timers({"": [lambda: torch.zeros(1)]}) as timers:
        assert isinstance(timers[""], clock.HostTimer) and clock.calibrate(timers[""])[0] >= 1
    assert device.log == []
