"""Targets that do what a target should not, in everything that measures: each is named, and the others are measured."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import odd_norms
import pytest
import torch

import normsuite
from normsuite.errors import NormsuiteError
from normsuite.measure import accuracy
from normsuite.measure.cases import Case
from normsuite.measure.implementations.target_norms import Unmeasurable, try_out
from normsuite.measure.process_state import ProcessState
from normsuite.measure.workload import Absent, CallFailed, named
from normsuite.targets.loading import ImportPathError, load
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
    "RaisesBase": "Stop: enough",
    "ClosesOutput": "closes standard output",
    "ClosesError": "changes whether stderr is open",
    "ChangesFolder": "changes the working directory",
    "ChangesDtype": "changes torch's default dtype",
    "ChangesDevice": "changes torch's default device",
    "ChangesThreads": "changes torch's number of threads",
}
CALLS = {
    "raises_base": "fails: Stop: enough",
    "closes_output": "closes standard output",
    "closes_error": "changes whether stderr is open",
    "changes_folder": "changes the working directory",
    "changes_dtype": "changes torch's default dtype",
    "changes_device": "changes torch's default device",
    "changes_threads": "changes torch's number of threads",
}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Lets other processes import this folder's modules."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))


def own_streams():
    """Return a context with streams that a target may close; in a fixture pytest would put its own back."""
    streams = contextlib.ExitStack()
    streams.enter_context(contextlib.redirect_stdout(io.StringIO()))
    streams.enter_context(contextlib.redirect_stderr(io.StringIO()))
    return streams


@pytest.mark.parametrize("norm", SAID)
@pytest.mark.parametrize("mode", ["forward", "step"])
def test_what_is_no_norm_is_told_before_it_is_timed(norm, mode):
    """Make calls ready as the bench and the gate do."""
    bad = named("GroupNorm", f"odd_norms:{norm}", CASE, mode)
    given = bad.task.operands()
    before = given.input.detach().clone()
    with own_streams(), pytest.raises(CallFailed, match=SAID[norm]):
        bad.ready([given])
    assert torch.equal(given.input.detach(), before)
    (call,) = named("GroupNorm", "odd_norms:Right", CASE, mode).ready([given])
    assert call() is not None


def test_a_target_that_cannot_be_made_fails_and_one_that_is_not_there_is_absent():
    """What HEAD cannot make any more is a regression; what it does not have is not available."""
    for made, error in (("torch.nn:GroupNorm(3, 8)", CallFailed), ("odd_norms:NotThere", Absent)):
        workload = named("GroupNorm", made, CASE)
        with pytest.raises(error) as raised:
            workload.ready([workload.task.operands()])
        assert type(raised.value) is error


@pytest.mark.parametrize("norm", SAID)
def test_what_is_no_norm_has_no_error(norm):
    """Take errors as numerics does."""
    with (
        own_streams(),
        pytest.raises(odd_norms.Stop if norm == "RaisesBase" else Unmeasurable, match=SAID[norm].split(": ")[-1]),
    ):
        accuracy.errors(named("GroupNorm", f"odd_norms:{norm}", CASE))


def test_a_closed_descriptor_is_opened_again_and_named():
    """In a process of its own: this one's are pytest's."""
    code = (
        "import os, odd_norms\nfrom normsuite.measure.process_state import unchanged\n"
        "with unchanged() as changed:\n    odd_norms.closes_descriptors()\nprint(changed)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "['whether stdout is open', 'whether stderr is open']\n", done.stderr


@pytest.mark.parametrize("norm", ["DrawsNumbers", "LeavesThreads", "WritesBytes"])
def test_what_harms_nobody_is_measured(norm):
    bad = named("GroupNorm", f"odd_norms:{norm}", CASE)
    code = (
        "import torch\nfrom normsuite.measure import accuracy\nfrom normsuite.measure.cases import Case\n"
        "from normsuite.measure.workload import named\nfrom normsuite.machine import threads\n"
        f"print(accuracy.errors(named('GroupNorm', {bad.backend!r}, {CASE!r}))[0] < 1e-5)\nthreads.leave(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith(b"True\n"), done.stderr


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


def test_compare_names_what_changes_the_process_and_measures_the_others():
    before = ProcessState.now()
    calls = {"short": odd_norms.short, **{name: getattr(odd_norms, name) for name in CALLS}}
    with own_streams():
        result = compare({**calls, "longer": odd_norms.longer}, seconds=0.05)
    assert result.names == ["short", "longer"] and result.failed == CALLS
    assert ProcessState.now() == before


def test_check_names_what_changes_the_process():
    for name in ("ChangesDtype", "ChangesFolder", "ChangesDevice", "ClosesError"):
        before = ProcessState.now()
        with own_streams():
            report = normsuite.check(f"odd_norms:{name}", like="GroupNorm", num_groups=4, shapes=[(4, 8, 3)])
        found = {result.check: result for result in report.results}
        assert found["result_kind"].status == "fails" and SAID[name] in found["result_kind"].finding.text
        assert found["output[float32]"].status == "ok" and ProcessState.now() == before


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), [("ExitsQuietly", "ended early"), ("Killed", "SIGKILL")])
def test_a_target_that_ends_every_process_is_given_up(name, how):
    begun = time.monotonic()
    report = normsuite.check(f"odd_norms:{name}", like="GroupNorm", num_groups=4, shapes=[(4, 8, 3)], isolated=True)
    texts = [result.finding.text for result in report.results if result.status == "fails"]
    assert len(texts) > 20 and how in texts[0] and "in a row" in texts[-1] and how in texts[-1]
    assert len({text for text in texts}) == 2 and time.monotonic() - begun < 300


@pytest.mark.slow
def test_threads_that_are_left_running_keep_no_command_waiting(tmp_path):
    (tmp_path / ".git").mkdir()
    options = ["--shape", "4,8,3", "--like", "GroupNorm"]
    for command in (["check", "--only", "result_kind"], ["numerics"]):
        done = normsuite_in(tmp_path, command[0], "odd_norms:LeavesThreads", *options, *command[1:])
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ending", ["import sys; sys.exit(0)", "raise BaseException('no')"])
def test_a_module_that_leaves_when_it_is_imported_is_named(tmp_path, monkeypatch, ending):
    (tmp_path / "leaving.py").write_text(ending)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportPathError, match=r"leaving cannot be imported: (SystemExit|BaseException)"):
        load("make", "leaving:Norm")


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
