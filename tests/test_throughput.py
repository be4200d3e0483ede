"""The whole study against a plain loop: both do the same work, and the record says how long each took."""

import json
import subprocess

import pytest
import torch

from normsuite.errors import NormsuiteError, UnknownNameError
from normsuite.lesson.document import EXAMPLES
from normsuite.measure import process
from normsuite.study import digits
from normsuite.study.train import Run
from tools import study_throughput as throughput
from tools.study_throughput import ONE, PLAIN, SWEEP


def record(samples):
    return {"samples": samples}


def test_speedups_are_of_rounds_side_by_side():
    """A machine that is half as fast in one round slows all ways alike."""
    rounds = [{PLAIN: 30.0 * slow, ONE: 10.0 * slow, SWEEP: 6.0 * slow} for slow in (1.0, 2.0, 1.5)]
    rounds[0][ONE] *= 1.01
    rounds[0][SWEEP] /= 1.01
    found = throughput.speedups(record(rounds))
    assert set(found) == {ONE, SWEEP}
    assert found[ONE].value == pytest.approx(3.0, rel=0.01) and found[ONE].low < 3.0 < found[ONE].high * 1.01
    assert found[SWEEP].value == pytest.approx(5.0, rel=0.01)


def test_the_plain_loop_learns_the_same_task(digits_cache, monkeypatch):
    """It sees every digit once, with torch.nn's norms only, and gets a good part of the test digits right."""
    seen, kinds = [], set()
    forward = throughput.F.cross_entropy

    def counted(output, target):
        seen.append((output.detach().argmax(1) == target).float().mean().item())
        return forward(output, target)

    of_torch = throughput._of_torch

    def shown(network):
        kinds.update(type(module) for module in of_torch(network).modules())
        return network

    monkeypatch.setattr(throughput.F, "cross_entropy", counted)
    monkeypatch.setattr(throughput, "_of_torch", shown)
    run = Run("BatchNorm", 0, epochs=1, train_size=1920)
    throughput._plain(run, digits.unpacked())
    assert len(seen) == 1920 // run.batch_size
    assert sum(seen[-5:]) / 5 > sum(seen[:5]) / 5 + 0.2
    assert torch.nn.BatchNorm2d in kinds and not any("normsuite.modules" in kind.__module__ for kind in kinds)


@pytest.mark.parametrize("norm", [example.norm for example in EXAMPLES])
def test_the_plain_loop_has_torch_s_norms_only(norm):
    found = {type(m) for m in throughput._of_torch(Run(norm, 0, epochs=1).network()).modules()}
    assert all(kind.__module__.startswith("torch.nn.") for kind in found)


def test_all_ways_are_timed_in_fresh_processes(digits_cache):
    found = throughput.run(["BatchNorm"], rounds=1, threads=1, epochs=2, backend="auto", train_size=1280)
    case = found["case"]
    assert (found["what"], case["digits"], case["norms"]) == (throughput.WHAT, 2560, ["BatchNorm"])
    assert (case["epochs"], case["backend"]) == (2, "auto")
    (took,) = found["samples"]
    assert set(took) == {PLAIN, ONE, SWEEP} and min(took.values()) > 0
    assert json.loads(json.dumps(found)) == found


def test_a_way_that_fails_says_why(digits_cache, monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nMemoryError: no room\n")
    monkeypatch.setattr(process.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(NormsuiteError, match="ended with exit code 1: MemoryError: no room"):
        throughput.run(["BatchNorm"], rounds=1, threads=1)


def test_an_unknown_norm_is_refused_before_anything_runs():
    with pytest.raises(UnknownNameError, match="WeightNorm"):
        throughput.run(["WeightNorm"], threads=1)


def test_the_plain_loop_and_the_sweep_are_started_as_users_start_them(digits_cache, monkeypatch):
    """And the sweep sets its workers' allocator itself."""
    environments = {}

    started = subprocess.run

    def run(command, **options):
        if throughput.__name__ not in command and "study" not in command:
            return started(command, **options)
        environments[SWEEP if "study" in command else command[-2]] = options["env"]
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(process.subprocess, "run", run)
    throughput.run(["BatchNorm"], rounds=2, threads=1)
    assert {way for way, env in environments.items() if "MALLOC_TRIM_THRESHOLD_" in env} == {ONE}
    assert set(environments) == {PLAIN, ONE, SWEEP}
