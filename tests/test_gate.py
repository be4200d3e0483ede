"""The gate on real versions of the package: commits of a temporary repository, measured by real processes."""

import gc
import json
import os
import random
import subprocess
import sys
import time

import pytest
from gated_package import (
    ALONE,
    BREAKS,
    CLASHES,
    COMMAND,
    KEEPS,
    KILLS,
    ONE,
    PACKAGE,
    ROUNDS,
    THRICE,
    append,
    gate,
    git,
    interrupt,
    judged,
    measuring,
    version,
)

from normsuite.conventions import exit_codes
from normsuite.errors import ArgumentError
from normsuite.files import caches
from normsuite.gate import compare
from normsuite.gate.decide import BETTER, NOT_AVAILABLE, SAME, WORSE
from normsuite.measure import own_workloads as cells
from normsuite.measure import pairs, preloaded
from normsuite.measure.clock import HostTimer
from normsuite.records import results

pytestmark = pytest.mark.usefixtures("gate_cache")


def test_a_slower_commit_is_a_regression_and_the_way_back_is_better(repository):
    """Every call of one norm takes three times as long."""
    append(repository, "functional.py", THRICE, "three times")
    code, rows = judged(repository, "HEAD~1", "HEAD")
    row = rows[ONE[0], "time"]
    assert (code, row.verdict) == (exit_codes.REGRESSION, WORSE) and row.ratio.low > 1.5
    code, rows = judged(repository, "HEAD", "HEAD~1")
    assert (code, rows[ONE[0], "time"].verdict) == (exit_codes.OK, BETTER)


def test_a_dirty_tree_is_the_head_and_files_say_what_was_found(repository, tmp_path):
    (repository / "normsuite" / "new.py").write_text("")
    done = gate(repository, "HEAD", "--json", tmp_path / "gate.json", "--markdown", tmp_path / "gate.md", "--apart")
    assert done.returncode in (0, 1, 3), done.stderr
    found = json.loads((tmp_path / "gate.json").read_text())
    assert found["record"]["case"]["head"]["name"] == "working tree" and found["record"]["case"]["apart"]
    assert len(found["record"]["samples"]["log_ratios"][ONE[0]]) >= 4
    assert "working tree" in done.stdout and ONE[0] in done.stdout
    assert (tmp_path / "gate.md").read_text().startswith("### normsuite gate: ")
    (record,) = results.read_records(repository / "reports" / "gate", compare.WHAT)
    assert record["case"]["cells"] and str(tmp_path) not in json.dumps(record)
    assert git(repository, "status", "--porcelain", "--", "normsuite") == "?? normsuite/new.py"


def test_the_same_package_is_not_measured(repository):
    done = gate(repository, "HEAD")
    assert done.returncode == 0 and "has the same package as HEAD" in done.stdout
    assert not (repository / "reports").exists()


def test_memory_and_digits_that_were_lost_are_found(repository):
    """One more tensor is kept for the backward pass; then the input loses two thirds of its digits."""
    cell = "LayerNorm/torch/tiny/step"
    append(repository, "functional.py", KEEPS, "keeps more")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[cell])
    assert code == exit_codes.REGRESSION and rows[cell, "saved bytes"].verdict == WORSE
    assert rows[cell, "gradient error at mean 0"].verdict == SAME
    append(repository, "functional.py", ROUNDS, "loses digits")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[cell, *ONE])
    assert code == exit_codes.REGRESSION and rows[ONE[0], "output error at mean 0"].verdict == WORSE
    assert rows[cell, "gradient error at mean 0"].verdict == WORSE


def test_a_backward_pass_is_measured_alone_where_it_is_asked_for(repository):
    """A forward pass stands beside it, which shares its tensors and wants no gradient of them."""
    append(repository, "functional.py", ROUNDS, "loses digits")
    cells = [f"GroupNorm/numba/tiny/{mode}" for mode in ("backward", "forward")]
    done = gate(
        repository, "HEAD~1", "HEAD", "--mode", "backward", "--mode", "forward", only=["GroupNorm/numba/tiny/*"]
    )
    assert done.returncode in (0, 1, 3), done.stderr
    (record,) = results.read_records(repository / "reports" / "gate", compare.WHAT)
    assert list(record["samples"]["log_ratios"]) == cells, record["samples"]["absent"]
    base, head = (record["samples"]["counts"][cells[0]][side] for side in ("base", "head"))
    assert base["gradient error at mean 0"] < 1e-5 < head["gradient error at mean 0"] and "saved bytes" not in base
    assert all(len(record["samples"]["log_ratios"][cell]) for cell in cells)


def test_a_commit_that_cannot_be_imported_is_named(repository):
    append(repository, "spec.py", "raise RuntimeError('not today')\n", "broken")
    done = gate(repository, "HEAD~1", "HEAD")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    commit = git(repository, "rev-parse", "HEAD")[:9]
    assert f"head = 'HEAD ({commit})': cannot be imported: RuntimeError: not today" in done.stderr


def test_a_commit_that_ends_the_process_that_imports_it_is_named(repository):
    append(repository, "errors.py", "\n__import__('os').kill(__import__('os').getpid(), 11)\n", "ends it")
    head = git(repository, "rev-parse", "HEAD")[:9]
    done = gate(repository, "HEAD~1", "HEAD")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"head = 'HEAD ({head})': cannot be imported: the process ended: SIGSEGV" in done.stderr


def test_a_dry_run_lists_the_cells_and_measures_nothing(repository):
    append(repository, "functional.py", THRICE, "three times")
    done = gate(repository, "HEAD~1", "HEAD", "--dry-run", "--json", "-", only=["GroupNorm/torch/*"])
    planned = json.loads(done.stdout)
    assert done.returncode == 0 and planned["budget_s"] == 1
    assert "GroupNorm/torch/tiny/forward" in planned["cells"]
    assert all(name.startswith("GroupNorm/torch/") for name in planned["cells"])
    shown = gate(repository, "HEAD~1", "HEAD", "--dry-run").stdout
    assert shown.startswith(ONE[0]) and shown.endswith(": 1 cell in 1 s\n") and not (repository / "reports").exists()


def test_a_norm_that_base_did_not_have_is_not_available(repository):
    package = repository / "normsuite"
    (package / "norms" / "40-instance-norm.toml").unlink()
    without = (package / "functional.py").read_text().replace("NORMS[name] for name in", "NORMS.get(name) for name in")
    (package / "functional.py").write_text(without)  # importable, as a version from before that norm was
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "without one")
    cell = "InstanceNorm/torch/tiny/forward"
    code, rows = judged(repository, "HEAD", "HEAD~1", only=[cell, *ONE])
    assert rows[cell, "time"].verdict == NOT_AVAILABLE and "base has no norm InstanceNorm" in rows[cell, "time"].note
    assert code != exit_codes.REGRESSION


def test_a_cell_that_head_breaks_is_a_regression(repository):
    append(repository, "functional.py", BREAKS, "breaks one")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[*ONE, "GroupNorm/torch/tiny/forward"])
    assert code == exit_codes.REGRESSION and rows[ONE[0], "time"].verdict == "fails"
    assert "head fails: TypeError: no" in rows[ONE[0], "time"].note


def test_a_version_that_cannot_stand_beside_the_other_is_measured_apart(repository):
    """Each refuses to be the second of its kind in a process, as one with other compiled libraries would."""
    append(repository, "errors.py", ALONE, "alone")
    append(repository, "errors.py", "# more\n")
    done = gate(repository, "HEAD~1", "HEAD", "--json", "-")
    assert done.returncode in (0, 1, 3) and "(ImportError: one is enough): each in its own processes" in done.stderr
    assert json.loads(done.stdout)["record"]["case"]["apart"] is True


@pytest.mark.parametrize(
    "body", ["raise TypeError('no')", "__import__('os').kill(__import__('os').getpid(), 9)"], ids=["fails", "ends"]
)
def test_a_cell_that_only_works_in_processes_of_one_version_is_measured_apart(repository, body):
    """Neither version is to blame, whichever comes first."""
    append(repository, "functional.py", CLASHES.replace("BODY", body), "clashes")
    append(repository, "errors.py", "# more\n")
    done = gate(repository, "HEAD~1", "HEAD", "--json", "-")
    assert done.returncode in (0, 1, 3), done.stderr
    assert f"{ONE[0]} works in processes of one version alone: each in its own processes" in done.stderr
    record = json.loads(done.stdout)["record"]
    assert record["case"]["apart"] is True and len(record["samples"]["log_ratios"][ONE[0]]) >= 4
    assert not record["samples"]["absent"]


def test_two_gates_at_once_take_turns(repository):
    append(repository, "errors.py", "# more\n")
    arguments = [COMMAND, "gate", "HEAD~1", "HEAD", "--only", ONE[0], "--budget", "1s", "--threads", "1"]
    together = [
        subprocess.Popen(
            arguments,
            cwd=repository,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        )
        for _ in range(2)
    ]
    most = 0
    while any(process.poll() is None for process in together):
        most = max(most, sum(bool(measuring(process.pid)) for process in together))
        time.sleep(0.05)
    assert [process.returncode in (0, 1, 3) for process in together] == [True, True]
    for process in together:
        process.communicate()
    assert most == 1
    assert len(results.read_records(repository / "reports" / "gate", compare.WHAT).good) == 2


def test_an_interruption_leaves_no_process_and_no_half_written_file(repository):
    append(repository, "errors.py", "# more\n")
    interrupt(repository, "gate", "HEAD~1", "HEAD", "--case", "tiny", "--backend", "torch", measuring_s=1.0)
    assert not list(repository.rglob("*.part")) and not list(caches.folder().rglob(".part-*"))
    assert git(repository, "status", "--porcelain", "--", "normsuite") == ""


@pytest.mark.parametrize("apart", [False, True])
def test_a_cell_at_which_head_ends_its_process_is_a_regression_and_the_others_are_measured(repository, apart):
    append(repository, "functional.py", KILLS, "kills")
    names = [f"{norm}/torch/tiny/forward" for norm in ("LayerNorm", "GroupNorm", "InstanceNorm")]
    done = gate(repository, "HEAD~1", "HEAD", *(["--apart"] if apart else []), "--json", "-", only=names)
    assert done.returncode == 1 and "the process ended at GroupNorm/torch/tiny/forward (SIGKILL)" in done.stderr
    found = {row["cell"]: row for row in json.loads(done.stdout)["rows"] if row["metric"] == "time"}
    assert found[names[1]]["verdict"] == "fails"
    assert found[names[1]]["note"] == "head fails: the process that tried it ended (SIGKILL)"
    assert all(found[name]["values"] >= 4 for name in (names[0], names[2]))


def test_a_cell_at_which_both_end_their_processes_is_not_available(repository):
    append(repository, "functional.py", KILLS, "kills")
    append(repository, "errors.py", "# more\n")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[*ONE, "GroupNorm/torch/tiny/forward"])
    assert code in (exit_codes.OK, exit_codes.NOTHING)
    assert rows["GroupNorm/torch/tiny/forward", "time"].verdict == NOT_AVAILABLE and rows[ONE[0], "time"].values >= 4


def test_another_interpreter_measures_its_version_apart(repository, tmp_path):
    """One that keeps a list of what it was started for."""
    append(repository, "errors.py", "# more\n")
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\necho "$@" >> {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = gate(repository, "HEAD~1", "HEAD", "--base-python", str(python), "--json", "-")
    assert done.returncode in (0, 1, 3), done.stderr
    record = json.loads(done.stdout)["record"]
    assert record["case"]["apart"] is True
    (values,) = record["samples"]["log_ratios"].values()
    starts = len(started.read_text().splitlines())
    assert len(values) >= 4
    assert starts == (1 if preloaded.is_possible() else 1 + len(values)), "one that forks, or each process"


def test_nothing_is_collected_while_the_clock_runs():
    seen = []

    def call():
        seen.append(gc.isenabled())
        time.sleep(1e-4)

    pairs.compare(HostTimer(call), HostTimer(call), blocks=10, longest_s=1.0, draw=random.Random(0))
    at = seen.index(False)
    assert all(seen[:at]) and not any(seen[at:]) and len(seen[at:]) >= 40 and gc.isenabled()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "base = None: which commit is to be compared with?"),
        (["HEAD", "--budget", "soon"], "budget = 'soon': must be a positive time, such as 90s or 2m"),
        (["HEAD~0", "HEAD", "--margin", "speed=1%"], "margin = 'speed=1%': unknown metric; known are time"),
        (["HEAD", "--margin", "much"], "margin = 'time=much': must be a number"),
        (["HEAD", "--norm", "GroupNorn"], "norm = 'GroupNorn': unknown"),
        (["HEAD", "--backend", "numpy"], "backend = 'numpy'"),
        (["HEAD", "--head-python", "/nowhere"], "head_python = '/nowhere': no such interpreter"),
        (["HEAD", "--worse-above", "3%"], "worse_above = '3%': must be at most the margin of times, 0.01"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(repository, arguments, says):
    done = subprocess.run(
        [COMMAND, "gate", *arguments],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"budget_s": 0.0}, "budget = 0.0: must be a positive number of seconds"),
        ({"threads": 0}, "threads = 0: must be at least 1"),
        ({"margins": {"time": 0.0}}, "margin = 'time=0.0': must be positive"),
        ({"norms": ["BatchNorm"], "seeds": 1}, "seeds = 1: must be at least 2"),
    ],
)
def test_a_setup_that_makes_no_sense_is_refused(repository, changed, says):
    tree = version(repository)
    given = {"margins": compare.MARGINS, "budget_s": 1.0, "threads": 1, **changed}
    with pytest.raises(ArgumentError) as error:
        compare.run(compare.Setup(tree, tree, cells.plan(only=ONE), **given))
    assert str(error.value).startswith(says)
