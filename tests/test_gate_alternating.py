"""Two processes with a version each, timed against each other sample by sample."""

import io
import json
import math
import random
import sys
from dataclasses import replace

import pytest
import torch

from normsuite.gate import alternating, turns
from normsuite.measure import process
from normsuite.measure.cases import CASES
from normsuite.measure.task import Task
from normsuite.spec import NORMS

OPENED = {"calls": 1, "most": "inf", "shortest_s": 1e-4, "tries": 3}
BOUNDS = {"blocks": 20, "longest_s": 10.0}
TASK = Task(NORMS["LayerNorm"], CASES["tiny"], "step")


class Machine:
    """A machine that becomes slower with every sample, for both processes alike."""

    def __init__(self, drift):
        self.slowness, self.drift, self.asked = 1.0, drift, []

    def process(self, name, call_s):
        def ask(line):
            if "cell" in line:
                return OPENED
            self.asked.append((name, *line))
            if "sample" not in line:
                return {}
            self.slowness *= self.drift
            return {"seconds": call_s * self.slowness}

        return ask


def test_a_machine_that_becomes_slower_slows_both_alike():
    machine = Machine(drift=1.005)
    asks = machine.process("base", 1e-3), machine.process("head", 1.05e-3)
    found = alternating.compare(asks, 3, draw=random.Random(0), **BOUNDS)
    assert found["cell"] == 3 and found["blocks"] == 20 and found["spent_s"] > 0
    assert math.exp(found["log_ratio"]) == pytest.approx(1.05, rel=0.005), "all took half as long again at the end"
    samples = [name for name, what in machine.asked if what == "sample"][-8:]
    assert samples in [[a, b, b, a, c, d, d, c] for a, b in (("base", "head"), ("head", "base")) for c, d in
                       (("base", "head"), ("head", "base"))]  # fmt: skip


def test_a_cell_that_one_version_lacks_is_absent():
    asks = (lambda line: OPENED), (lambda line: {"absent": {"head": "has no such norm"}})
    found = alternating.compare(asks, 0, draw=random.Random(0), **BOUNDS)
    assert found["absent"] == {"head": "has no such norm"} and "log_ratio" not in found


def test_a_process_takes_the_samples_that_it_is_asked_for(monkeypatch):
    lines = [{"cell": 0}, {"warm": True}, {"sample": 5}, {"cell": 1}, {"cell": 0}, {"sample": 1}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in lines)))
    gradients, said = [], []
    calls = {"head": [lambda: gradients.append(torch.is_grad_enabled())]}

    def opened(place):
        return ({}, {"head": "is not there"}, TASK) if place else (calls, {}, TASK)

    with torch.no_grad():
        alternating.answer(opened, said.append)
        assert not torch.is_grad_enabled()
    assert said[0] == {**OPENED, "most": "inf"} and said[1] == {} and said[3] == {"absent": {"head": "is not there"}}
    assert 0 < said[2]["seconds"] < 1 and 0 < said[5]["seconds"] < 1
    assert set(gradients) == {True}, "a step is timed with gradients"


def test_a_process_takes_the_clock_that_its_cell_has(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"cell": 0}\n'))
    asked = []
    timers = alternating.clock.timers
    monkeypatch.setattr(alternating.clock, "timers", lambda calls, **how: asked.append(how) or timers(calls))
    alternating.answer(lambda place: ({"head": [lambda: None]}, {}, replace(TASK, host_time=True)), [].append)
    assert asked == [{"device": "cpu", "host_time": True}]


def test_a_process_that_ends_while_it_is_asked_is_named_and_the_other_kept():
    says = "import sys\nfor n, _ in enumerate(sys.stdin):\n    print('{}', flush=True)\n    if n == 2: sys.exit(3)"
    job = turns.Job({"sides": {"head": ""}})
    with process.fresh(["-c", says], process.variables(1)) as one:
        started = turns._Started(job, one, one.messages())
        assert [started.ask({}) for _ in range(3)] == [{}] * 3 and job.died is None
        with pytest.raises(process.Died):
            started.ask({})
    assert str(job.died) == "exit code 3"
