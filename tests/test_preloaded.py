"""Processes that are forked by a parent which has imported what takes long."""

import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from normsuite.measure import preloaded, process

pytestmark = pytest.mark.skipif(not preloaded.is_possible(), reason="processes are not forked here")

JOBS = """
import ctypes, json, os, random, sys, threading
from normsuite.measure import process

def work(job, emit):
    emit({"modules": sorted(sys.modules), "threads": threading.active_count(), "draw": random.random()})
    emit({"parent": os.getppid(), "session": os.getsid(0)})
    exec(job["do"], {"emit": emit, "os": os, "sys": sys, "ctypes": ctypes})

def main():
    process.speak(work)
"""


@pytest.fixture
def parent(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    loads = "import pathlib\npathlib.Path(__file__).with_name('loads').open('a').write('x')\n"
    (tmp_path / "heavy.py").write_text(loads)
    env = process.variables(1)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    with preloaded.Parent(["heavy", "none_of_that_name"], env) as one:
        yield one


def said(parent, do="", module="jobs"):
    with parent.process(module) as one:
        one.tell({"do": do})
        return list(one.messages())


def test_what_takes_long_is_imported_once(parent, tmp_path):
    found = [said(parent, "emit({'given': 7})") for _ in range(3)]
    assert all("heavy" in of[0]["modules"] and of[2] == {"given": 7} for of in found)
    assert (tmp_path / "loads").read_text() == "x"
    assert len({of[0]["draw"] for of in found}) == 3, "each draws its own numbers"
    assert all(of[0]["threads"] == 1 for of in found)


def test_two_run_at_once(parent):
    with parent.process("jobs") as one, parent.process("jobs") as other:
        for each in (other, one):
            each.tell({"do": "emit({'line': sys.stdin.readline()})"})
        messages = [each.messages() for each in (one, other)]
        sessions = [[next(of), next(of)][1]["session"] for of in messages]
        for each, line in ((one, "first"), (other, "second")):
            each.tell(line)
        assert [next(of)["line"] for of in messages] == ['"first"\n', '"second"\n']
    assert len(set(sessions)) == 2


@pytest.mark.parametrize(
    ("do", "says"),
    [
        ("raise ValueError('no such thing')", "exit code 1: ValueError: no such thing"),
        ("sys.exit('enough')", "exit code 1: enough"),
        ("print('last', file=sys.stderr); os._exit(3)", "exit code 3: last"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os.kill(os.getppid(), 9)", "SIGKILL"),
    ],
)
def test_how_it_ended_is_told(parent, do, says):
    with pytest.raises(process.Died) as died:
        said(parent, do)
    assert str(died.value) == says
    assert said(parent, "emit({'given': 1})")[-1] == {"given": 1}, "others go on"


@pytest.mark.parametrize("do", ["", "sys.exit()", "sys.exit(0)"])
def test_a_clean_end_is_none_to_tell(parent, do):
    assert len(said(parent, do)) == 2


def test_what_libraries_print_is_no_message(parent):
    assert said(parent, "print('a word'); os.write(1, b'another\\n'); emit({'given': 1})")[2:] == [{"given": 1}]


def test_text_that_is_no_unicode_reaches_the_parent(parent):
    """As names of files may be."""
    assert said(parent, "emit({'name': os.fsdecode(bytes([255]))})")[2:] == [{"name": os.fsdecode(bytes([255]))}]


def test_what_a_job_leaves_running_does_not_hold_its_pipes(parent):
    """As the workers of a pool that was forked."""
    begun = time.monotonic()
    found = said(parent, "emit({'left': os.fork() or __import__('time').sleep(60)})")
    assert len(found) == 3 and time.monotonic() - begun < 30
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(found[2]["left"])
        while left.status() != psutil.STATUS_ZOMBIE:  # until somebody has taken note of its end
            assert time.monotonic() - begun < 30
            time.sleep(0.05)


@pytest.mark.parametrize("do", ["sys.stdout.close()", "sys.stdout = None"])
def test_a_job_that_takes_its_output_away_ends_well(parent, do):
    assert len(said(parent, do)) == 2


def test_a_module_that_cannot_be_imported_is_said(parent):
    with pytest.raises(process.Died, match="ModuleNotFoundError: No module named 'none_of_that_name'"):
        said(parent, module="none_of_that_name")


def test_one_that_hangs_is_ended(parent):
    with parent.process("jobs") as one:
        watch = process.Watch(one, 0.5)
        one.tell({"do": "import time; time.sleep(600)"})
        with pytest.raises(process.Died, match="SIGKILL"):
            list(one.messages())
        assert watch.has_ended_it


def test_the_stack_lies_elsewhere_in_each(parent):
    """Memory lies elsewhere in each, as in fresh processes: that decides per cents of a time."""
    found = set()
    for _ in range(8):
        with parent.process("jobs") as one:
            one.tell({"do": "emit({'pid': os.getpid()}); sys.stdin.readline()"})
            pid = next(of["pid"] for of in one.messages() if "pid" in of)
            time.sleep(0.05)  # until it reads
            try:
                found.add(Path(f"/proc/{pid}/syscall").read_text().split()[-2])
            except OSError as error:
                pytest.skip(f"/proc/PID/syscall: {error.strerror}")
    assert len(found) > 3


def test_nothing_is_left_behind(tmp_path):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    (tmp_path / "jobs.py").write_text(JOBS)
    env = process.variables(1)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    with preloaded.Parent([], env) as parent, parent.process("jobs") as one:
        one.tell({"do": "import time; time.sleep(600)"})
        session = [next(one.messages()) for _ in range(2)][1]["session"]
    deadline = time.monotonic() + 10
    while psutil.pid_exists(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(session)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_parent_that_has_ended_is_told(tmp_path):
    env = process.variables(1)
    with preloaded.Parent([], env, python=sys.executable) as parent:
        os.kill(parent._process.pid, signal.SIGKILL)
        parent._process.wait()
        with pytest.raises(process.Died):
            said(parent, module="jobs")


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("#!/bin/sh\necho 'no torch' >&2; exit 3\n", "exit code 3: no torch"),
        ("#!/bin/sh\nexec sleep 600\n", "the process that forks others hangs: ended after 0.5 s"),
        ("no program", "cannot be started: Exec format error: {python}"),
    ],
)
def test_an_interpreter_that_cannot_fork_is_said(tmp_path, monkeypatch, python, says):
    monkeypatch.setattr(preloaded, "START_S", 0.5)
    program = tmp_path / "python"
    program.write_text(python)
    program.chmod(0o755)
    said_ = says.format(python=program)
    with (
        pytest.raises(process.Died, match=re.escape(said_)),
        preloaded.Parent([], process.variables(1), python=str(program)) as parent,
    ):
        said(parent)
