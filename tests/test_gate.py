"""The gate on real versions of the package: commits of a temporary repository, measured by real processes."""

import gc
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import started_by

from normsuite import caches, provenance, results
from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.gate import (
    bisection,
    calibrate,
    injected_commits,
    measure,
    rates,
    selfcheck,
    sides,
    summary,
    trees,
    turns,
)
from normsuite.gate.budget import Budget
from normsuite.gate.cells import cell_from_dict
from normsuite.gate.counts import Counts
from normsuite.gate.decide import BETTER, NOT_AVAILABLE, SAME, WORSE
from normsuite.gate.injected_commits import SOURCE
from normsuite.gate.lock import Lock
from normsuite.gate.looks import Looks
from normsuite.gate.processes import Processes
from normsuite.measure import own_workloads as cells
from normsuite.measure import pairs
from normsuite.measure.clock import HostTimer
from normsuite.statistics import Interval

PACKAGE = Path(sides.__file__).parent.parent
COMMAND = Path(sys.executable).parent / "normsuite"
ONE = ["LayerNorm/torch/tiny/forward"]
"""The cell that is cheapest to measure: nothing is compiled for it."""

WRAPPED = """

def _wrap(whole):
    import functools

    name = whole.__name__

    @functools.wraps(whole)
    def wrapped(input, *args, **kwargs):
        {body}
    return wrapped


for _function in tuple(NAMED.values()):
    globals()[_function.__name__] = _wrap(_function)
"""
"""Put behind the functions, it changes what every one of them does."""

THRICE = WRAPPED.format(body="return [whole(input, *args, **kwargs) for _ in range(3)][0]")
KEEPS = WRAPPED.format(body="return whole(input, *args, **kwargs) + input.sigmoid().sum() * 0")
ROUNDS = WRAPPED.format(body="return whole(input.bfloat16().float(), *args, **kwargs)")
BREAKS = WRAPPED.format(
    body="""if name == 'layer_norm':
            raise TypeError('no')
        return whole(input, *args, **kwargs)"""
)
KILLS = WRAPPED.format(
    body="""if name == 'group_norm':
            __import__('os').kill(__import__('os').getpid(), 9)
        return whole(input, *args, **kwargs)"""
)
KILLS_TRAINING = """

def _killing(whole):
    def optimizer(run, *args):
        if run.norm == 'BatchNorm':
            __import__('os').kill(__import__('os').getpid(), 9)
        return whole(run, *args)
    return optimizer


_optimizer = _killing(_optimizer)
"""
ALONE = """
import sys

if {'normsuite_base', 'normsuite_head'} <= set(sys.modules):
    raise ImportError('one is enough')
"""
LAZY = """

def _lazy(whole):
    def optimizer(run, *args):
        from dataclasses import replace
        return whole(replace(run, learning_rate=0.01 * run.learning_rate), *args)
    return optimizer


_optimizer = _lazy(_optimizer)
"""
"""Of its own package only: a worker that has trained this version trains the other one next."""


def git(folder, *arguments):
    who = {f"GIT_{role}_{what}": "someone" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, env={**os.environ, **who}
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Trees and locks of these tests apart from the user's; the same for all of them, since kernels are kept there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A repository whose one commit is this package."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(PACKAGE, folder / "normsuite", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE.parent / "pyproject.toml", folder)
    (folder / ".gitignore").write_text("__pycache__/\n*.log\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "the package")
    return folder


@pytest.fixture
def repository(first, tmp_path):
    folder = tmp_path / "repository"
    git(first, "clone", "--quiet", str(first), str(folder))
    return folder


def append(repository, file, text, message="a change"):
    """Commit more at the end of one of the package's files."""
    with (repository / "normsuite" / file).open("a") as target:
        target.write(text)
    git(repository, "commit", "--quiet", "--all", "--message", message)


def gate(repository, *arguments, only=ONE, budget="1s"):
    """As people type it."""
    patterns = [argument for pattern in only for argument in ("--only", pattern)]
    return subprocess.run(
        [COMMAND, "gate", *arguments, *patterns, "--budget", budget, "--threads", "1"],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )


def version(repository, name="HEAD"):
    return trees.of_commit(name, argument="base", repository=repository, source=SOURCE)


def judged(repository, base, head, only=ONE):
    """Exit code, and rows by cell and metric."""
    sides = [trees.of_commit(name, argument="commit", repository=repository, source=SOURCE) for name in (base, head)]
    outcome = measure.run(measure.Setup(*sides, cells.plan(only=only), measure.MARGINS, budget_s=1.0, threads=1))
    found = summary.rows(outcome.record)
    return summary.exit_code(outcome.record, found), {(row.cell, row.metric): row for row in found}


# ---- trees ----


def test_the_working_tree_is_what_lies_there_and_git_sees_nothing_of_it(repository):
    (repository / "normsuite" / "new.py").write_text("NEW = 1\n")
    (repository / "normsuite" / "ignored.log").write_text("no")
    (repository / "normsuite" / "errors.py").unlink()
    (repository / "elsewhere.py").write_text("no part of the package")
    before = git(repository, "status", "--porcelain"), sorted((repository / ".git").rglob("*"))
    tree = trees.of_working_tree(repository=repository, source=SOURCE)
    assert (git(repository, "status", "--porcelain"), sorted((repository / ".git").rglob("*"))) == before
    assert (tree.folder / "normsuite" / "new.py").read_text() == "NEW = 1\n"
    assert not (tree.folder / "normsuite" / "ignored.log").exists()
    assert not (tree.folder / "normsuite" / "errors.py").exists()
    assert tree.commit == git(repository, "rev-parse", "HEAD") and tree.subject == "the package"


def test_equal_files_are_one_tree(repository):
    here = version(repository)
    assert trees.of_working_tree(repository=repository, source=SOURCE).folder == here.folder
    (repository / "README").write_text("not of the package")
    git(repository, "add", "README")
    git(repository, "commit", "--quiet", "--message", "words")
    assert version(repository).digest == here.digest


@pytest.mark.parametrize("name", ["nowhere", "HEAD~99", "HEAD:normsuite"])
def test_a_commit_that_is_not_there_is_named(repository, name):
    with pytest.raises(ArgumentError, match=r"base = .*no such commit here"):
        trees.of_commit(name, argument="base", repository=repository, source=SOURCE)


def test_a_shallow_clone_is_told_how_to_get_the_rest(repository, tmp_path):
    append(repository, "errors.py", "# more\n")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), str(shallow))
    done = gate(shallow, "HEAD~1")
    assert done.returncode == 2
    assert (
        "base = 'HEAD~1': not in this shallow clone; git fetch --unshallow origin gets its whole history" in done.stderr
    )


def test_no_repository_and_no_package_are_said(tmp_path):
    with pytest.raises(NormsuiteError, match="no git repository"):
        trees.root(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(NormsuiteError, match="without a commit"):
        trees.of_working_tree(repository=tmp_path, source=SOURCE)
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    with pytest.raises(ArgumentError, match="has no folder normsuite"):
        trees.of_commit("HEAD", argument="base", repository=tmp_path, source=SOURCE)


def test_old_trees_are_forgotten(repository):
    tree = version(repository)
    old = tree.folder.with_name("old")
    old.mkdir()
    os.utime(old, (0, 0))
    version(repository)
    assert tree.folder.is_dir() and not old.exists()


# ---- cells ----


def test_the_default_table():
    """Every norm's function by torch, the kernels and auto, and every module."""
    planned = cells.plan()
    functions, modules = 5 * 3 * 3 * 2, 11 * 2
    assert len(planned) == functions + modules == len({cell.name for cell in planned})
    assert {cell.name for cell in cells.plan(only=["GroupNorm/*/step"])} == {
        *(f"GroupNorm/{backend}/{case}/step" for backend in cells.BACKENDS for case in cells.CASES),
        "GroupNorm/auto GroupNorm/tiny/step",
    }
    for cell in planned:
        assert cell_from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def test_a_pattern_without_a_cell_is_refused():
    with pytest.raises(ArgumentError, match=r"only = 'GroupNorn/.': matches none of the 112 cells, such as BatchNorm"):
        cells.plan(only=["GroupNorn/*"])


# ---- whole gates ----


def test_a_slower_commit_is_a_regression_and_the_way_back_is_better(repository):
    """Every call of one norm takes three times as long."""
    append(repository, "functional.py", THRICE, "three times")
    code, rows = judged(repository, "HEAD~1", "HEAD")
    row = rows[ONE[0], "time"]
    assert (code, row.verdict) == (summary.REGRESSION, WORSE) and row.ratio.low > 1.5
    code, rows = judged(repository, "HEAD", "HEAD~1")
    assert (code, rows[ONE[0], "time"].verdict) == (summary.NO_REGRESSION, BETTER)


def test_a_dirty_tree_is_the_head_and_files_say_what_was_found(repository, tmp_path):
    (repository / "normsuite" / "new.py").write_text("")
    done = gate(repository, "HEAD", "--json", tmp_path / "gate.json", "--markdown", tmp_path / "gate.md", "--apart")
    assert done.returncode in (0, 1, 3), done.stderr
    found = json.loads((tmp_path / "gate.json").read_text())
    assert found["record"]["case"]["head"]["name"] == "working tree" and found["record"]["case"]["apart"]
    assert len(found["record"]["samples"]["log_ratios"][ONE[0]]) >= 4
    assert "working tree" in done.stdout and ONE[0] in done.stdout
    assert (tmp_path / "gate.md").read_text().startswith("### normsuite gate: ")
    (record,) = results.read_records(repository / "reports" / "gate", measure.WHAT)
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
    assert code == summary.REGRESSION and rows[cell, "saved bytes"].verdict == WORSE
    assert rows[cell, "gradient error at mean 0"].verdict == SAME
    append(repository, "functional.py", ROUNDS, "loses digits")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[cell, *ONE])
    assert code == summary.REGRESSION and rows[ONE[0], "output error at mean 0"].verdict == WORSE
    assert rows[cell, "gradient error at mean 0"].verdict == WORSE


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


def test_a_norm_that_base_did_not_have_is_not_available(repository):
    (repository / "normsuite" / "norms" / "40-instance-norm.toml").unlink()
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "without one")
    cell = "InstanceNorm/torch/tiny/forward"
    code, rows = judged(repository, "HEAD", "HEAD~1", only=[cell, *ONE])
    assert rows[cell, "time"].verdict == NOT_AVAILABLE and "base has no norm InstanceNorm" in rows[cell, "time"].note
    assert code != summary.REGRESSION


def test_a_cell_that_head_breaks_is_a_regression(repository):
    append(repository, "functional.py", BREAKS, "breaks one")
    code, rows = judged(repository, "HEAD~1", "HEAD", only=[*ONE, "GroupNorm/torch/tiny/forward"])
    assert code == summary.REGRESSION and rows[ONE[0], "time"].verdict == "fails"
    assert "head fails: TypeError: no" in rows[ONE[0], "time"].note


def test_a_version_that_cannot_stand_beside_the_other_is_measured_apart(repository):
    """Each refuses to be the second of its kind in a process, as one with other compiled libraries would."""
    append(repository, "errors.py", ALONE, "alone")
    append(repository, "errors.py", "# more\n")
    done = gate(repository, "HEAD~1", "HEAD", "--json", "-")
    assert done.returncode in (0, 1, 3) and "(ImportError: one is enough): each in its own processes" in done.stderr
    assert json.loads(done.stdout)["record"]["case"]["apart"] is True


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
        most = max(most, sum(bool(_measuring(process.pid)) for process in together))
        time.sleep(0.05)
    assert [process.returncode in (0, 1, 3) for process in together] == [True, True]
    for process in together:
        process.communicate()
    assert most == 1
    assert len(results.read_records(repository / "reports" / "gate", measure.WHAT).good) == 2


def _measuring(pid):
    return started_by(pid, "normsuite.gate.worker")


def interrupt(repository, *arguments, measuring_s=0.0, **environment):
    """Ctrl-C once it measures; it ends as it should, and so do its processes."""
    process = subprocess.Popen(
        [COMMAND, *arguments, "--budget", "600s"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
    )
    workers = []
    try:
        while not workers:
            assert process.poll() is None, process.communicate()
            workers = _measuring(process.pid)
            time.sleep(0.05)
        time.sleep(measuring_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert not any(worker.is_running() for worker in workers)


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
    assert code in (summary.NO_REGRESSION, summary.NOTHING_DECIDED)
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
    assert len(started.read_text().splitlines()) == 1 + len(values) >= 5, "to count, and once for each value"


def test_nothing_is_collected_while_the_clock_runs():
    """Not with both versions in one process, and not with one."""
    seen = []

    def call():
        seen.append(gc.isenabled())
        time.sleep(1e-4)

    for measured in (
        lambda: pairs.alone(HostTimer(call), blocks=10, longest_s=1.0),
        lambda: pairs.compare(HostTimer(call), HostTimer(call), blocks=10, longest_s=1.0, draw=random.Random(0)),
    ):
        seen.clear()
        measured()
        at = seen.index(False)
        assert all(seen[:at]) and not any(seen[at:]) and len(seen[at:]) >= 40 and gc.isenabled()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "base = None: which commit is to be compared with?"),
        (["HEAD", "--budget", "soon"], "budget = 'soon': must be a time such as 120s or 2m"),
        (["HEAD~0", "HEAD", "--margin", "speed=1%"], "margin = 'speed=1%': unknown metric; known are time"),
        (["HEAD", "--margin", "much"], "margin = 'time=much': must be a number"),
        (["HEAD", "--norm", "GroupNorn"], "norm = 'GroupNorn': unknown"),
        (["HEAD", "--backend", "numpy"], "backend = 'numpy'"),
        (["HEAD", "--head-python", "/nowhere"], "head_python = '/nowhere': no such interpreter"),
        (["HEAD", "HEAD", "--self-check"], "head = 'HEAD': a self-check compares BASE with itself"),
        (["--self-check", "--tables", "-1"], "tables = -1: must not be negative"),
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
    given = {"margins": measure.MARGINS, "budget_s": 1.0, "threads": 1, **changed}
    with pytest.raises(ArgumentError) as error:
        measure.run(measure.Setup(tree, tree, cells.plan(only=ONE), **given))
    assert str(error.value).startswith(says)


# ---- error rates ----


@pytest.mark.parametrize("worse", [True, False])
def test_a_version_that_learns_worse_is_found(repository, worse, digits_cache, monkeypatch):
    """Its learning rate is a hundredth; the digits are few, so that the test is short."""
    from normsuite.gate import error_rate

    monkeypatch.setattr(error_rate, "TRAIN_SIZE", 1920)
    if worse:
        append(repository, "study/train.py", LAZY, "lazy")
    else:
        append(repository, "errors.py", "# more\n")
    before, after = (version(repository, name) for name in ("HEAD~1", "HEAD"))
    found = error_rate.measure({"base": before, "head": after}, ["BatchNorm"], 3)["BatchNorm"]
    assert "absent" not in found, found
    if worse:
        assert min(h - b for b, h in zip(found["base"], found["head"], strict=True)) > 0.05
    else:
        assert found["base"] == found["head"] and max(found["base"]) < 0.5


def test_a_version_that_ends_the_processes_that_train_it_fails_at_that_norm(
    repository, tmp_path, digits_cache, monkeypatch
):
    """The other norm of the same processes is trained; each side by its own interpreter."""
    from normsuite.gate import error_rate

    monkeypatch.setattr(error_rate, "TRAIN_SIZE", 480)
    append(repository, "study/train.py", KILLS_TRAINING, "kills")
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\necho "$@" >> {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    before, after = (version(repository, name) for name in ("HEAD~1", "HEAD"))
    done = []
    found = error_rate.measure(
        {"base": before, "head": after},
        ["BatchNorm", "LayerNorm"],
        2,
        pythons={"base": str(python)},
        on_run=lambda *of: done.append(of),
    )
    reason = f"fails: {error_rate.TRIES} processes that trained it ended (SIGKILL)"
    assert found["BatchNorm"]["absent"] == {"head": reason} and len(found["BatchNorm"]["base"]) == 2
    assert found["LayerNorm"]["base"] == found["LayerNorm"]["head"]
    assert done == [(n, 8) for n in range(1, 7)] and "normsuite.gate.error_rate" in started.read_text()


def test_git_that_fails_while_a_tree_is_exported_is_one_clear_error(repository, monkeypatch):
    append(repository, "errors.py", "# a text that has not been exported yet\n")
    whole = trees.Git.bytes

    def failing(git, *arguments, **more):
        if arguments[0] == "cat-file":
            raise trees.Failed("promised objects are not here")
        return whole(git, *arguments, **more)

    monkeypatch.setattr(trees.Git, "bytes", failing)
    with pytest.raises(NormsuiteError, match="promised objects are not here"):
        version(repository)


def parts(setup, on_progress=lambda stage, spent: None):
    """The parts of a gate that takes times, with nothing counted."""
    budget = Budget(setup.budget_s)
    processes = Processes(setup, budget, Lock(), on_progress)
    counts = Counts(setup, processes, budget)
    return budget, processes, counts, Looks(setup, processes, budget, counts.measurable)


def test_what_was_found_when_the_budget_was_spent_is_kept(repository, monkeypatch):
    tree = version(repository)
    setup = measure.Setup(tree, tree, cells.plan(only=["LayerNorm/torch/tiny/*"]), measure.MARGINS, 10.0, 1)

    def take(jobs, draw, *, on_ready, on_cell):
        on_ready()
        for place in range(2):
            jobs[0].found[place] = {"log_ratio": 0.1}
            on_cell()

    monkeypatch.setattr(turns, "take", take)
    shares = [(sides.SIDES, [0, 1])]
    for spent_s, may_stop, kept in ((0.0, True, 2), (9.9999, False, 2), (11.0, False, 2), (11.0, True, 0)):
        budget, processes, _, _ = parts(setup)
        budget.spent_s = spent_s
        (job,) = processes.run(shares, stage="times", blocks=20, may_stop=may_stop)
        assert len(job.found) == kept, "a first look is taken all the same"
    budget, processes, _, _ = parts(setup, lambda stage, spent: setattr(budget, "spent_s", 20.0) if spent else None)
    budget.spent_s = 9.0
    (job,) = processes.run(shares, stage="times", blocks=20, may_stop=True)
    assert len(job.found) < 2 and processes.notes == [], "what came after is not waited for, and nothing died"


def test_what_a_look_decides_is_measured_no_more(repository, monkeypatch):
    """One cell is twice as slow from the first look on, the other on either side of 1 until the budget is spent."""
    tree = version(repository)
    planned = cells.plan(only=["LayerNorm/torch/tiny/*"])
    setup = measure.Setup(tree, tree, planned, measure.MARGINS, 60.0, 1)
    budget, processes, counts, looks = parts(setup)
    for cell in planned:
        counts.absent[cell.name], budget.sample_s[cell.name] = {}, 1e-4
    asked, draw, clock = [], random.Random(0), [0.0]

    def take(jobs, _, *, on_ready, on_cell):
        for job in jobs:
            names = [cell_from_dict(cell).name for cell in job.work["cells"]]
            asked.append(names)
            values = {planned[0].name: 0.7 + 1e-4 * draw.random(), planned[1].name: 0.06 * (draw.random() - 0.5)}
            job.found = {place: {"log_ratio": values[name], "base_s": 1.0} for place, name in enumerate(names)}
        clock[0] += 2.0

    monkeypatch.setattr(turns, "take", take)
    monkeypatch.setattr("normsuite.gate.processes.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    looks.run()
    first = looks.looks[0]
    assert first == 4 and len(looks.looks) >= 4 and looks.final
    assert looks.looks == sorted(looks.looks) and len(asked) == looks.looks[-1] == len(looks.values[planned[1].name])
    assert all(len(of) == 2 for of in asked[:first]) and asked[first:] == [[planned[1].name]] * (len(asked) - first)
    processes.environment = provenance.environment()
    record = measure.record(setup, processes, budget, counts, looks, {})
    verdicts = {row.cell: (row.verdict, row.values) for row in summary.rows(record) if row.metric == "time"}
    assert verdicts[planned[0].name] == (WORSE, 4)


# ---- the self-check ----


def test_a_self_check_leaves_records_that_add_up(repository, tmp_path):
    tree = version(repository)
    setup = measure.Setup(
        tree, tree, cells.plan(only=["LayerNorm/torch/tiny/*", "GroupNorm/torch/tiny/*"]), measure.MARGINS, 1.0, 1
    )
    out = tmp_path / "check"
    made = []
    run = {"repository": repository, "out": out, "on_table": made.append}
    assert len(selfcheck.run(setup, tables=1, planted_tables=1, **run)) == 2 == len(made)
    planted = next(record for record in made if rates.is_planted(record))
    assert sorted(planted["case"]["planted"].values()) == list(rates.SHARES)
    found = selfcheck.run(setup, tables=2, planted_tables=1, **run)
    assert len(found) == 3 == len(made), "what was there is not measured again"
    other = measure.Setup(tree, tree, setup.cells, measure.MARGINS, 2.0, 1)
    assert selfcheck.run(other, tables=0, planted_tables=0, **run) == [], "another budget is another gate"
    assert git(repository, "status", "--porcelain") == "" and len(git(repository, "log", "--format=%h").split()) == 1


def test_a_self_check_says_its_rates_with_their_bounds(repository, tmp_path):
    arguments = ("--self-check", "--tables", "1", "--planted-tables", "1", "--out", str(tmp_path / "check"))
    done = gate(repository, *arguments, "--json", str(tmp_path / "rates.json"), only=["LayerNorm/torch/tiny/*"])
    assert done.returncode == 0, done.stderr
    assert len(results.read_records(tmp_path / "check", rates.WHAT).good) == 2
    found = json.loads((tmp_path / "rates.json").read_text())
    assert found["gate"]["false_alarms"]["n"] == 1 == found["gate"]["planted"]["0.02"]["n"] and found["asv"] is None
    assert done.stdout.splitlines() == found["sentences"] and len(found["records"]) == 2


@pytest.mark.parametrize("command", [["gate", "--self-check"], ["bisect", "HEAD~1", "HEAD"]])
def test_an_interrupted_check_or_bisection_leaves_no_process(repository, tmp_path, command):
    append(repository, "errors.py", "# more\n")
    interrupt(repository, *command, "--only", ONE[0], "--out", str(tmp_path / "out"), TMPDIR=str(tmp_path))
    assert not list(tmp_path.glob("tmp*")), "the clone that was committed into is gone"


def test_planted_versions_take_longer_by_about_what_was_planted(repository):
    """Ten and a half times, so that it shows on any machine; none where none was planted."""
    (cell,) = cells.plan(only=ONE)
    shares = {cell: 9.5}
    with injected_commits.clone(version(repository), repository) as clone:
        base = injected_commits.commit(clone, {})
        head = injected_commits.commit(clone, calibrate.additions(base, shares, threads=1, within=True))
        assert base.digest == injected_commits.commit(clone, {}, said="again").digest != head.digest
    outcome = measure.run(measure.Setup(base, head, [cell], measure.MARGINS, 1.0, 1))
    (row,) = (row for row in summary.rows(outcome.record) if row.metric == "time")
    assert row.verdict == WORSE and 5 < row.ratio.value < 20


# ---- bisection ----


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_every_step_is_found_in_about_log2_n_probes(count):
    for step in range(count):
        asked = []

        def probe(place, step=step, asked=asked):
            asked.append(place)
            return bisection.BAD if place >= step else bisection.GOOD

        assert bisection.search(count, probe) == (step - 1, step)
        assert len(asked) == len(set(asked)) <= count.bit_length()


def test_commits_that_cannot_be_compared_are_suspects_together():
    def probe(place):
        return bisection.UNKNOWN if place in (3, 4) else bisection.BAD if place >= 4 else bisection.GOOD

    assert bisection.search(10, probe) == (2, 5)
    assert bisection.search(4, lambda place: bisection.UNKNOWN) == (-1, 3)


def test_a_bisection_finds_the_commit_of_a_step(repository):
    start = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# one\n", "one")
    append(repository, "functional.py", THRICE, "the slow one")
    culprit = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# two\n", "two")
    append(repository, "spec.py", "raise RuntimeError\n", "broken")
    git(repository, "revert", "--no-edit", "HEAD")
    done = subprocess.run(
        [COMMAND, "bisect", start, "HEAD", "--only", ONE[0], "--budget", "1s", "--threads", "1", "--json", "-"],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [suspect["commit"] for suspect in found["suspects"]] == [culprit]
    assert found["row"]["cell"] == ONE[0] and f"made by {culprit[:9]} the slow one" in found["sentence"]


def test_the_commit_from_which_on_a_cell_fails_is_found(repository):
    """Those before it are good, however their times lie."""
    start = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# one\n", "one")
    append(repository, "functional.py", BREAKS, "breaks it")
    culprit = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# two\n", "two")
    said = []
    given = {"repository": repository, "source": SOURCE, "cells": cells.plan(only=ONE), "budget_s": 1.0, "threads": 1}
    found = bisection.run(
        start, "HEAD", metric="time", out=repository / "reports" / "gate", on_line=said.append, **given
    )
    assert [suspect["commit"] for suspect in found.suspects] == [culprit] and found.row.verdict == "fails", said


@pytest.mark.parametrize(
    ("low", "high", "half", "side"),
    [
        (1.2, 1.3, 1.1, bisection.BAD),
        (0.9, 1.05, 1.1, bisection.GOOD),
        (1.0, 1.2, 1.1, bisection.UNKNOWN),
        (math.nan, math.nan, 1.1, bisection.UNKNOWN),
        (1.5, 1.5, math.inf, bisection.GOOD),
        (math.inf, math.inf, math.inf, bisection.BAD),
    ],
)
def test_a_commit_is_on_the_side_of_half_the_step_where_its_interval_is(low, high, half, side):
    row = summary.Row("cell", "time", "s", 1.0, 1.0, Interval(low, low, high), SAME)
    assert bisection._side(row, half) == side


def test_a_bisection_wants_one_end_before_the_other(repository):
    append(repository, "errors.py", "# one\n")
    given = {
        "repository": repository,
        "source": SOURCE,
        "cells": [],
        "metric": "time",
        "budget_s": 1.0,
        "threads": 1,
        "out": repository,
    }
    with pytest.raises(ArgumentError, match="good = 'HEAD': is not before HEAD~1"):
        bisection.run("HEAD", "HEAD~1", **given)
    with pytest.raises(ArgumentError, match="bad = 'HEAD': no commit after HEAD changes the package"):
        bisection.run("HEAD", "HEAD", **given)
