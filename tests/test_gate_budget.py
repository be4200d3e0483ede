"""A gate whose budget is too short says so before it is spent; one that is ended keeps what it had finished."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from asv_folder import Repository
from filelock import FileLock

from normsuite.gate import comment, compare, tables, trees
from normsuite.gate import processes as processes_of_gate
from normsuite.gate.setup import Setup
from normsuite.measure import listening, own_workloads
from normsuite.records import provenance, results
from tools.injected_commits import SOURCE

ROOT = Path(__file__).parent.parent


@pytest.fixture
def repository(tmp_path, own_cache):
    """A repository with two versions of a package whose content does not matter."""
    made = Repository(tmp_path / "r")
    (made.path / "normsuite").mkdir()
    shutil.copy(ROOT / "pyproject.toml", made.path)
    for version in (1, 2):
        (made.path / "normsuite" / "__init__.py").write_text(f"version = {version}\n")
        made.git("add", "--all")
        made.commit(f"version {version}")
    return made.path


def setup(repository, budget_s, only="*/torch/*"):
    sides = [
        trees.of_commit(name, argument="base", repository=repository, source=SOURCE) for name in ("HEAD~1", "HEAD")
    ]
    return Setup(*sides, own_workloads.plan(only=[only]), compare.MARGINS, budget_s, 1)


def processes(monkeypatch, clock, *, start_s, cell_s, end_after=None):
    """Every process starts and measures a cell in so many seconds of a clock of its own; the n-th cell is Ctrl-C."""
    ended = []

    def take(jobs, draw, *, in_pairs, on_ready=lambda: None, on_cell):
        clock[0] += start_s
        counts = jobs[0].work["count"]
        if not counts:
            on_ready()
        for job in jobs:
            job.environment, job.has_imported = provenance.environment(threads=1), True
            for place in range(len(job.work["cells"])):
                clock[0] += cell_s
                both = {side: {"peak bytes": 4096} for side in ("base", "head")}
                counted = {"counts": both, "absent": {}, "sample_s": 1e-4}
                job.found[place] = counted if counts else {"log_ratio": 0.0, "base_s": 1e-4}
                if not counts:
                    ended.append(place)
                    if len(ended) == end_after:
                        raise KeyboardInterrupt
                on_cell()
        if counts:
            on_ready()

    monkeypatch.setattr(processes_of_gate.turns, "take", take)
    monkeypatch.setattr(processes_of_gate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return take


def test_a_budget_that_is_too_short_is_said_by_the_first_cells(repository, monkeypatch, capsys):
    clock, said_at = [0.0], []
    processes(monkeypatch, clock, start_s=5.0, cell_s=2.0)

    def progress(stage, spent_s):
        if not said_at and "too short" in capsys.readouterr().err:
            said_at.append(spent_s)

    given = setup(repository, 30.0)
    outcome = compare.run(given, progress)
    assert said_at and said_at[0] < 30 / 2, "before half of it is spent"
    (note,) = [note for note in outcome.record["notes"] if "too short" in note]
    assert f"the budget of 30 s is too short for {len(given.cells)} cells: they take about " in note
    assert not outcome.notes, "it is said once"
    assert 30 < float(note.split()[-2]) < outcome.record["spent_s"], "the least that it takes"


def test_nothing_is_said_of_a_budget_that_is_long_enough(repository, monkeypatch, capsys):
    processes(monkeypatch, [0.0], start_s=5.0, cell_s=0.01)
    outcome = compare.run(setup(repository, 120.0))
    assert "budget" not in capsys.readouterr().err and outcome.record["notes"] == []


def test_cells_that_hang_do_not_outlast_the_budget(repository, monkeypatch):
    clock = [0.0]

    def take(jobs, draw, *, in_pairs, on_ready=lambda: None, on_cell):
        clock[0] += 150.0
        for job in jobs:
            job.environment, job.has_imported = provenance.environment(threads=1), True
            job.at, job.died = 0, listening.Ended("SIGKILL", 150.0)

    monkeypatch.setattr(processes_of_gate.turns, "take", take)
    monkeypatch.setattr(processes_of_gate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    record = compare.run(setup(repository, 200.0)).record
    assert (
        clock[0] == 300.0 and "bytes and errors: the budget was spent before all cells were counted" in record["notes"]
    )


def test_the_record_has_both_environments_where_the_interpreters_differ(repository, monkeypatch):
    whole = processes(monkeypatch, [0.0], start_s=1.0, cell_s=0.01)
    given = replace(setup(repository, 60.0), apart=True)
    packages = {"base": {"torch": "2.0"}, "head": {"torch": "2.14"}}

    def take(jobs, *args, **kwargs):
        whole(jobs, *args, **kwargs)
        for job in jobs:
            (side,) = job.work["sides"]
            job.environment = {**job.environment, "packages": packages[side]}

    monkeypatch.setattr(processes_of_gate.turns, "take", take)
    found = compare.run(given).record
    assert found["environment"]["packages"] == packages["head"]
    assert found["environment"]["base"] == {"packages": packages["base"]}
    results.write_record(repository, "both", found)
    kept = results.read_record(repository / "both.json")
    assert ("torch of base", "2.0") in tables.method(kept).rows
    assert "torch 2.14 (base: 2.0)" in comment.comment(kept, [])


def test_a_cell_that_cannot_be_timed_says_why(repository, monkeypatch):
    whole = processes(monkeypatch, [0.0], start_s=1.0, cell_s=0.01)

    def take(jobs, *args, **kwargs):
        whole(jobs, *args, **kwargs)
        for job in jobs if not jobs[0].work["count"] else []:
            job.found[0] = {"absent": {"head": "no room"}, "spent_s": 0.0}

    monkeypatch.setattr(processes_of_gate.turns, "take", take)
    given = setup(repository, 60.0)
    notes = compare.run(given).record["notes"]
    assert [note for note in notes if note.startswith("times of ")] == [f"times of {given.cells[0].name}: head no room"]


@pytest.mark.parametrize("end_after", [1, 7])
def test_what_was_measured_before_an_interruption_has_a_record(repository, monkeypatch, end_after):
    """The process in which it came too."""
    processes(monkeypatch, [0.0], start_s=1.0, cell_s=0.01, end_after=end_after)
    outcome = compare.run(setup(repository, 60.0))
    assert outcome.interrupted
    kept = sum(len(of) for of in outcome.record["samples"]["log_ratios"].values())
    assert kept == end_after
    results.write_record(repository, "kept", outcome.record)
    assert results.read_record(repository / "kept.json")["samples"]["counts"]


def test_a_second_gate_says_off_a_terminal_that_it_waits(repository, own_cache):
    (own_cache / "normsuite").mkdir(exist_ok=True)
    with FileLock(own_cache / "normsuite" / "gate.lock"):
        command = [
            sys.executable,
            "-P",
            "-m",
            "normsuite",
            "gate",
            "HEAD~1",
            "HEAD",
            "--only",
            "GroupNorm/torch/tiny/forward",
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True) as process:
            line = process.stderr.readline()
            time.sleep(0.2)
            process.terminate()
            rest = process.stderr.read()
    assert line == "normsuite: another gate is measuring on this machine: waiting for it\n"
    assert process.returncode == 143 and "Traceback" not in rest
