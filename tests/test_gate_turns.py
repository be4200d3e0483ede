"""Processes of a gate that are started together."""

import json
import os
import random
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from normsuite.gate import starts, turns
from normsuite.measure import preloaded, process

WAITS = """
import json, pathlib, sys, time
folder, mine, other = pathlib.Path(sys.argv[1]), *sys.argv[2:]
sys.stdin.readline()
folder.joinpath(mine).touch()
while not folder.joinpath(other).exists():
    time.sleep(0.01)
print(json.dumps({"ready": True}), flush=True)
sys.stdin.readline()
print(json.dumps({"cell": 0, "by": mine}), flush=True)
"""
"""It is ready once another has been told its job too."""

SLEEPS = "import time; time.sleep(600)"
HANGS = f"print('{{\"begin\": 0}}', flush=True); {SLEEPS}"


def test_they_are_made_ready_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "START_S", 20.0)
    jobs = [turns.Job({"name": "one"}), turns.Job({"name": "two"})]

    def start(job):
        names = ["one", "two"] if job is jobs[0] else ["two", "one"]
        return process.fresh(["-c", WAITS, str(tmp_path), *names], process.variables(1))

    turns.take(jobs, start)
    assert [(job.died, job.found[0]["by"]) for job in jobs] == [(None, "one"), (None, "two")]


@pytest.mark.parametrize(
    ("silent", "limit"),
    [
        pytest.param("START_S", "0.5", id="before its first cell"),
        pytest.param("SILENT_S", "0.75", id="in a cell"),
    ],
)
def test_one_that_is_silent_is_ended_and_the_limit_said(monkeypatch, silent, limit):
    monkeypatch.setattr(turns, silent, float(limit))
    says = HANGS if silent == "SILENT_S" else SLEEPS
    job = turns.Job({})
    turns.take([job], lambda job: process.fresh(["-c", says], process.variables(1)))
    assert str(job.died) == f"hangs: ended after {limit} s"


@pytest.mark.skipif(not preloaded.is_possible(), reason="processes are not forked here")
def test_a_parent_that_the_system_has_ended_is_started_again():
    with starts.Starts(1, random.Random(0)) as several:
        job = turns.Job({})
        with several.start(job):
            pass
        (parent,) = several._parents.values()
        os.kill(parent._process.pid, signal.SIGKILL)
        parent._process.wait()
        with several.start(job) as one, pytest.raises(process.Died, match="KeyError"):
            one.tell({})  # no job: it runs, and says so
            list(one.messages())
        assert several._parents[sys.executable] is not parent


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("'a banner'", "said 'a banner', which is no message"),
        ("5", "said '5', which is no message"),
    ],
)
def test_a_process_that_says_something_else_is_ended(line, says):
    """It would go on for ever."""
    with process.fresh(["-c", f"print({line}, flush=True); {SLEEPS}"], process.variables(1)) as one:
        with pytest.raises(process.Died, match=re.escape(says)):
            list(one.messages())
        assert one._process.wait() == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="what a process leaves running is found by its group")
def test_what_a_fresh_process_leaves_running_ends_with_it():
    left = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=subprocess.DEVNULL)"
    code = f"import json, subprocess, sys; left = {left}"
    code += "; print(json.dumps({'left': left.pid}), flush=True)"
    with process.fresh(["-c", code], process.variables(1)) as one:
        (said,) = one.messages()
    begun = time.monotonic()
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(said["left"]).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() - begun < 30
            time.sleep(0.05)


def test_bytes_that_are_no_text_are_no_message():
    code = "import sys; sys.stdout.buffer.write(bytes([255, 10])); sys.stdout.flush()"
    with process.fresh(["-c", code], process.variables(1)) as one, pytest.raises(process.Died, match="no message"):
        list(one.messages())


def test_a_process_that_cannot_be_started_is_that_jobs_fault_alone(tmp_path):
    jobs = [turns.Job({}, python=str(tmp_path / "none")), turns.Job({})]
    says = "import json, sys; print(json.dumps({'cell': 0, 'ready': True}), flush=True); "
    says += "[sys.stdin.readline() for _ in 'ab']"
    turns.take(jobs, lambda job: process.fresh(["-c", says], process.variables(1), python=job.python))
    assert str(jobs[0].died) == f"cannot be started: No such file or directory: {tmp_path / 'none'}"
    assert jobs[1].found == {0: {"cell": 0, "ready": True}}


@pytest.mark.parametrize("count", [True, False])
def test_a_version_that_cannot_be_imported_alone_is_one_dead_process_once_it_was_counted(count):
    says = {"unimportable": "head", "error": "ImportError: this time", "beside": []}
    job = turns.Job({"count": count})

    def take():
        turns.take([job], lambda job: process.fresh(["-c", f"print({json.dumps(json.dumps(says))})"], {}))

    if count:
        with pytest.raises(turns.Unimportable):
            take()
    else:
        take()
        assert str(job.died) == "head cannot be imported: ImportError: this time"


def test_a_call_that_ends_its_process_without_an_error_is_said():
    job = turns.Job({})
    turns.take([job], lambda job: process.fresh(["-c", "print('{\"begin\": 0}')"], process.variables(1)))
    assert str(job.died) == "exit code 0"


def test_what_a_process_has_started_ends_with_it():
    code = f"import json, subprocess, sys; one = subprocess.Popen([sys.executable, '-c', '{SLEEPS}']); "
    code += f"print(json.dumps({{'pid': one.pid}}), flush=True); {SLEEPS}"
    with process.fresh(["-c", code], process.variables(1)) as one:
        pid = next(one.messages())["pid"]
        assert psutil.pid_exists(pid)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_a_signal_without_a_name_is_said_by_its_number():
    assert process.last_words(-35, "") == "signal 35" and process.last_words(-9, "") == "SIGKILL"


def test_another_interpreter_finds_no_package_of_this_one(tmp_path, own_cache):
    """Where this package is installed, torch and others lie beside it."""
    installed = tmp_path / "lib" / "site-packages" / "normsuite"
    (installed.parent / "torch").mkdir(parents=True)
    installed.mkdir()
    for _ in range(2):
        folder = process.alone(installed)
        assert [each.name for each in folder.iterdir()] == ["normsuite"] and (folder / "normsuite").samefile(installed)
    assert process.alone(tmp_path / "clone" / "normsuite") == tmp_path / "clone"
    mine, other = (process.variables(1, python=of)["PYTHONPATH"] for of in (sys.executable, "/usr/bin/python3"))
    assert mine.partition(os.pathsep)[0] == str(process._ROOT)
    assert Path(other.partition(os.pathsep)[0], "normsuite").samefile(process._PACKAGE)
