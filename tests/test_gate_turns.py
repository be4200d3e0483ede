"""Processes of a gate that are started together."""

import os
import random
import signal
import sys

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
        return process.fresh(["-c", WAITS, str(tmp_path), *names], process.environment(1))

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
    turns.take([job], lambda job: process.fresh(["-c", says], process.environment(1)))
    assert job.died == f"hangs: ended after {limit} s"


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
