"""What measures: exact bytes, the right number of calls, errors of the size that was injected."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from strategies import ON_CPU

from normsuite import backends
from normsuite.errors import UnknownNameError
from normsuite.measure import accuracy, cases, memory, operands, workload
from normsuite.measure import clock as kit_clock
from normsuite.measure.implementations import bound
from normsuite.measure.task import Task
from normsuite.spec import NORMS

MIB = torch.zeros(2**20, dtype=torch.uint8)


def test_peak_bytes_are_exact():
    assert memory.peak_bytes(lambda: MIB.clone()) == 2**20
    assert memory.peak_bytes(lambda: (MIB.clone(), MIB.clone())) == 2 * 2**20

    def one_after_the_other():
        MIB.clone()
        MIB.clone()

    assert memory.peak_bytes(one_after_the_other) == 2**20
    assert memory.peak_bytes(lambda: None) == 0


def test_an_extra_saved_tensor_is_found():
    found = workload.named("BatchNorm", "torch", "tiny")
    case, given = found.task.case, found.task.operands()
    given.input.requires_grad_()
    call = found.prepare(given)

    def step(keep):
        y = call()
        kept = given.input.detach().clone() if keep else None
        torch.autograd.grad(y, given.input, given.dy)
        return kept

    assert memory.peak_bytes(lambda: step(True)) - memory.peak_bytes(lambda: step(False)) == case.bytes


class Clock:
    """A clock that moves when it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize("cost", [1e-6, 1e-3, 0.5])
def test_latency_samples_are_seconds_of_one_call(cost, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("normsuite.measure.clock.time", clock)

    def call():
        clock.now += cost

    samples = kit_clock.samples(kit_clock.HostTimer(call), seconds=0.1, least=5, most=40)
    assert 5 <= len(samples) <= 40
    assert samples == pytest.approx([cost] * len(samples), rel=1e-6)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
def test_numerical_errors_are_those_of_float32(spec, backend):
    for error in accuracy.errors(workload.named(spec.name, backend, "tiny")):
        assert 1e-9 < error < 1e-6


def test_a_lost_digit_is_found(monkeypatch):
    right = backends.get("reference").apply
    tried = workload.named("GroupNorm", "reference", "tiny")
    before = accuracy.errors(tried)
    monkeypatch.setattr(backends.get("reference"), "apply", lambda call: right(call) * (1 + 1e-5))
    after = accuracy.errors(tried)
    assert all(a > 9e-6 > 10 * b for a, b in zip(after, before, strict=True))


def test_a_result_that_is_not_finite_has_infinite_error():
    assert accuracy.relative_error(np.array([1.0, np.nan]), np.ones(2)) == float("inf")


def test_operands_are_the_same_every_time():
    first, second = (operands.operands(NORMS["LayerNorm"], cases.CASES["tiny"]) for _ in range(2))
    assert torch.equal(first.input, second.input) and torch.equal(first.dy, second.dy)
    assert first.weight.shape == (8, 8, 8)


def test_an_unknown_case_is_named():
    with pytest.raises(UnknownNameError, match="case = 'huge': unknown; known are tiny, study, resnet, token"):
        cases.find("huge")


@pytest.mark.parametrize("mode", ["forward", "step"])
def test_the_bound_reads_what_a_norm_reads_and_writes_what_it_writes(mode):
    fresh, into = bound.IMPLEMENTATIONS
    task = Task(NORMS["GroupNorm"], cases.find("study-7"), mode)
    given = task.operands()
    assert fresh.why_not(task) is None and (into.why_not(task) is None) == (mode == "forward")
    assert fresh.why_not(replace(task, activation="relu")) is None, "an activation reads and writes nothing more"
    if mode == "forward":
        assert all(c.why_not(replace(task, mode="evaluation")) for c in bound.IMPLEMENTATIONS)
    found = fresh.tensors(fresh.prepare(task, given)())
    assert torch.equal(found[0], given.input / 2) and found[0].stride() == given.input.stride()
    if mode == "step":
        assert torch.equal(found[1], given.dy + given.input / 2)
    else:
        call = into.prepare(task, given)
        assert call() is call() and torch.equal(call(), found[0])
