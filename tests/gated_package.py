"""Repositories whose package is this one, and changes to it that the gate finds."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import started_by

from normsuite.gate import compare, sides, summary, trees
from normsuite.measure import own_workloads as cells
from tools.injected_commits import SOURCE

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
CLASHES = WRAPPED.format(
    body="""if name == 'layer_norm' and {'normsuite_base', 'normsuite_head'} <= set(__import__('sys').modules):
            BODY
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
"""Trains with its own package alone: a worker that has trained this version trains the other one next."""


def git(folder, *arguments):
    who = {f"GIT_{role}_{what}": "someone" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, env={**os.environ, **who}
    )
    return done.stdout.strip()


@pytest.fixture
def gate_cache(tmp_path_factory, monkeypatch):
    """Trees and locks of these tests apart from the user's; the same for all of them, since kernels are kept there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
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
    """Return a clone of it for one test."""
    folder = tmp_path / "repository"
    git(first, "clone", "--quiet", str(first), str(folder))
    return folder


def append(repository, file, text, message="a change"):
    """Commit more at the end of one of the package's files."""
    with (repository / "normsuite" / file).open("a") as target:
        target.write(text)
    git(repository, "commit", "--quiet", "--all", "--message", message)


def gate(repository, *arguments, only=ONE, budget="1s", command="gate"):
    """Call it as people type it."""
    patterns = [argument for pattern in only for argument in ("--only", pattern)]
    return subprocess.run(
        [COMMAND, command, *arguments, *patterns, "--budget", budget, "--threads", "1"],
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
    outcome = compare.run(compare.Setup(*sides, cells.plan(only=only), compare.MARGINS, budget_s=1.0, threads=1))
    found = summary.rows(outcome.record)
    return summary.exit_code(outcome.record, found), {(row.cell, row.metric): row for row in found}


def measuring(pid):
    """The processes of a gate that measure, and those that wait for them, without the idle one that forks."""
    found = started_by(pid, "normsuite.measure.preloaded")
    below = {process.pid for process in found}
    return [process for process in found if _parent_of(process) in below]


def _parent_of(process):
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


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
            workers = measuring(process.pid)
            time.sleep(0.05)
        time.sleep(measuring_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert not psutil.wait_procs(workers, timeout=20)[1]
