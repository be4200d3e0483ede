"""What measures: exact bytes, the right number of calls, errors of the size that was planted."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from strategies import ON_CPU

from normsuite import allocator, backends
from normsuite.bench import several
from normsuite.errors import UnknownNameError
from normsuite.measure import accuracy, cases, memory, workload
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
    first, second = (cases.operands(NORMS["LayerNorm"], cases.CASES["tiny"]) for _ in range(2))
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


# ---- several processes ----


def test_what_is_measured_in_several_processes_is_measured_in_fresh_ones(tmp_path):
    (tmp_path / "probe.py").write_text(
        "import json, os\n"
        "from normsuite.bench import several\n"
        "def measure():\n"
        "    pinned = os.environ.get('MALLOC_MMAP_THRESHOLD_')\n"
        "    return [{'pinned': pinned, 'log': 1e-9 * os.getpid()}]\n"
        "print(json.dumps([os.getpid(), several.measured('probe', measure, 3)]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "probe"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    parent, (row,) = json.loads(done.stdout)
    processes = {round(1e9 * log) for log in row["logs"]}
    assert len(processes) == 3 and parent not in processes
    assert row["pinned"] == allocator.PINNED["MALLOC_MMAP_THRESHOLD_"]


def test_ratios_of_several_processes_are_joined():
    rows = [[{"norm": "BatchNorm", "bytes": 4, "log": log}] for log in (0.1, 0.2, 0.3)]
    (row,) = several.joined(rows)
    assert row["norm"] == "BatchNorm" and row["ratio"] == pytest.approx(math.exp(0.2)) and "log" not in row
    assert row["interval"][0] < row["ratio"] < row["interval"][1]
