"""Targets that do what a target should not, in everything that measures: each is named, and the others are measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import odd_norms
import pytest
import torch

import normsuite
from normsuite.errors import NormsuiteError
from normsuite.measure import accuracy
from normsuite.measure.cases import Case
from normsuite.measure.implementations.anybodys import Unmeasurable, try_out
from normsuite.measure.workload import CallFailed, named
from normsuite.versus import compare

HERE = Path(__file__).parent
CASE = Case("4×8×3", (4, 8, 3), 4, "a small one")
SAID = {
    "Transposed": r"returns shape \(8, 4, 3\)",
    "Wider": "type float64 for an input of",
    "Tuples": "returns tuple and no tensor",
    "InPlace": "changes its input",
    "Remembers": "keeps state between calls",
    "Prints": "prints 'normalising",
}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Lets other processes import this folder's modules."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))


@pytest.mark.parametrize("norm", SAID)
@pytest.mark.parametrize("mode", ["forward", "step"])
def test_what_is_no_norm_is_told_before_it_is_timed(norm, mode):
    """As the bench and the gate make their calls ready."""
    bad = named("GroupNorm", f"odd_norms:{norm}", CASE, mode)
    given = bad.task.operands()
    before = given.input.detach().clone()
    with pytest.raises(CallFailed, match=SAID[norm]):
        bad.ready([given])
    assert torch.equal(given.input.detach(), before)
    (call,) = named("GroupNorm", "odd_norms:Right", CASE, mode).ready([given])
    assert call() is not None


@pytest.mark.parametrize("norm", SAID)
def test_what_is_no_norm_has_no_error(norm):
    """As numerics takes errors."""
    with pytest.raises(Unmeasurable, match=SAID[norm]):
        accuracy.errors(named("GroupNorm", f"odd_norms:{norm}", CASE))


def test_a_norm_is_left_as_it_was():
    module = torch.nn.BatchNorm1d(8)
    x = torch.randn(4, 8, 3)
    state, kept = {k: v.clone() for k, v in module.state_dict().items()}, x.clone()
    try_out(module, x)
    assert torch.equal(x, kept)
    assert all(torch.equal(state[name], now) for name, now in module.state_dict().items())


def test_compare_names_what_fails_and_measures_the_others():
    calls = {"short": odd_norms.short, "raising": odd_norms.raising, "noisy": odd_norms.noisy}
    result = compare({**calls, "longer": odd_norms.longer}, seconds=0.05)
    assert result.names == ["short", "longer"]
    assert result.failed == {"raising": "fails: ValueError: not today", "noisy": "prints 'hello'"}
    assert any("raising: not measured" in line for line in result.sentences()) and "not today" in result._repr_html_()
    assert normsuite.compare.__module__ == "normsuite.versus.compare"
    again = type(result).from_dict(json.loads(result.to_json()))
    assert again.failed == result.failed
    with pytest.raises(NormsuiteError, match="raising fails: ValueError"):
        compare({"raising": odd_norms.raising, "short": odd_norms.short}, seconds=0.05)
    with pytest.raises(NormsuiteError, match="noisy prints"):
        compare({"short": odd_norms.short, "noisy": odd_norms.noisy}, seconds=0.05)


@pytest.mark.slow
def test_compare_outlives_calls_that_hang_or_leave(monkeypatch):
    monkeypatch.setattr(sys.modules[compare.__module__], "LIMIT_S", 20.0)
    names = ("short", "hangs", "leaves", "longer")
    result = compare({name: f"odd_norms:{name}" for name in names}, seconds=0.1, processes=2)
    assert result.names == ["short", "longer"] and len(result.samples) == 2
    assert result.failed["hangs"] == "hangs: ended after 20 s" and "exit code 3" in result.failed["leaves"]


def normsuite_in(folder, *arguments):
    command = [sys.executable, "-m", "normsuite", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_bench_names_what_ends_its_process_and_times_the_others(tmp_path):
    (tmp_path / ".git").mkdir()
    targets = [f"odd_norms:{name}" for name in ("Right", "Leaves", "Transposed")]
    options = ["--shape", "4,8,3", "--like", "GroupNorm", "--processes", "2", "--seconds", "0.01", "--json", "-"]
    done = normsuite_in(tmp_path, "bench", *targets, *options, "--mode", "forward", "--activation", "none")
    assert done.returncode == 0, done.stderr
    assert "odd_norms:Leaves: not measured (the process ended (exit code 3" in done.stderr
    text = json.dumps(json.loads(done.stdout))
    assert "returns shape" in text and "odd_norms:Right" in text


@pytest.mark.slow
def test_numerics_names_what_ends_its_process_or_is_no_norm(tmp_path):
    (tmp_path / ".git").mkdir()
    targets = [f"odd_norms:{name}" for name in ("Right", "Leaves", "Tuples")]
    done = normsuite_in(tmp_path, "numerics", *targets, "--shape", "4,8,3", "--like", "GroupNorm", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "odd_norms:Leaves: not measured (the process ended (exit code 3" in done.stderr
    rows = json.loads(done.stdout)["samples"]
    found = {row["backend"]: row["output"] for row in rows if row["mean"] == 0}
    assert "returns tuple" in found["odd_norms:Tuples"] and found["odd_norms:Right"] < 1e-5


@pytest.mark.parametrize("statement", ["raise SystemExit(0)", "import os; os._exit(0)", "import sys; sys.exit('boo')"])
def test_compare_names_a_statement_that_leaves(statement):
    """Whatever it would end the process with."""
    with pytest.raises(NormsuiteError, match=r"bad .*(SystemExit|ends the process)"):
        compare({"good": "sum(range(50))", "bad": statement}, setup="pass", seconds=0.05)
    found = compare({"good": "1", "other": "2", "bad": statement}, setup="pass", seconds=0.05)
    assert found.names == ["good", "other"] and list(found.failed) == ["bad"]
    with pytest.raises(NormsuiteError, match="setup fails: SystemExit"):
        compare({"a": "1", "b": "2"}, setup="import sys; sys.exit(3)", seconds=0.05)
