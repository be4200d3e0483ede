"""The one clock of everything that measures, on an accelerator's double: what the gate and asv ask of it."""

import random

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


def test_the_processor_s_clock_makes_no_graph(device):
    with clock.timers({"": [lambda: torch.zeros(1)]}) as timers:
        assert isinstance(timers[""], clock.HostTimer) and clock.calibrate(timers[""])[0] >= 1
    assert device.log == []
