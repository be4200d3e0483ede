"""Sweeps of runs: what is recorded once, what fails, and what is done again."""

import errno
import json
import os
import pickle
import platform
import signal
from concurrent.futures import Future
from dataclasses import replace

import pytest
from filelock import FileLock
from sweep_records import SMALL, Inline, recorded, what_was_found

from normsuite.errors import ArgumentError, DataError, NormsuiteError, OutputError
from normsuite.machine import allocator
from normsuite.records import provenance, results
from normsuite.spec import NORMS
from normsuite.study import sweep, workers
from normsuite.study.identity import record_name
from normsuite.study.plan import plan
from normsuite.study.train import Run


def test_a_changed_norm_or_changed_digits_make_another_run(monkeypatch):
    run = Run("RMSNorm", 0, 1)
    name = record_name(run, "digits")
    assert name == record_name(run, "digits") != record_name(run, "other digits")
    changed = replace(NORMS["RMSNorm"], axes=frozenset({"spatial"}))
    monkeypatch.setitem(NORMS, "RMSNorm", changed)
    assert record_name(run, "digits") != name


def test_a_machine_that_computes_otherwise_makes_another_run_and_a_faster_one_does_not(monkeypatch):
    run = Run("none", 0, 1)
    name = record_name(run, "digits")
    monkeypatch.setattr(provenance, "usable_cores", lambda: 64)
    monkeypatch.setattr(provenance, "_governor", lambda: "performance")
    assert record_name(run, "digits") == name
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "of another kind")
    assert record_name(run, "digits") != name


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)


@pytest.mark.usefixtures("inline")
def test_a_run_that_fails_is_named(tmp_path, digits_cache, monkeypatch):
    def fail(*arguments):
        raise MemoryError("too\nmuch")

    monkeypatch.setattr(workers, "do", fail)
    runs = plan(norms=["LayerNorm"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(NormsuiteError, match=r"LayerNorm, seed 0: failed: MemoryError: too much"):
        sweep.sweep(runs, tmp_path)


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(first)


@pytest.mark.parametrize("error", [SystemExit(0), Unpicklable("too", "much")], ids=["exit", "unpicklable"])
def test_what_a_user_s_norm_raises_while_it_trains_reaches_the_parent(error, monkeypatch):
    """Left as it is, the one would end the study with 0, and the other would look like a worker that died."""

    def fail(*arguments):
        raise error

    monkeypatch.setattr(workers, "train", fail)
    (run,) = plan(norms=["LayerNorm"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(NormsuiteError, match=f"LayerNorm, seed 0: failed: {type(error).__name__}") as found:
        workers._trained(run, None)
    assert pickle.loads(pickle.dumps(found.value)).args


def test_what_was_finished_at_the_same_time_as_a_failure_is_kept():
    class AllAtOnce:
        def submit(self, work, run, task):
            future = Future()
            if run.norm == "none":
                future.set_exception(MemoryError("too much"))
            else:
                future.set_result({"norm": run.norm})
            return future

    runs, finished = plan(norms=["none", "LayerNorm", "BatchNorm"], seeds=1, epochs=1), []
    with pytest.raises(NormsuiteError, match="none, seed 0: failed: MemoryError"):
        for run, record in workers.finish(AllAtOnce(), runs, None):
            finished.append((run.norm, record["norm"]))
    assert sorted(finished) == [("BatchNorm", "BatchNorm"), ("LayerNorm", "LayerNorm")]


def test_two_datasets_make_one_study(tmp_path, digits_cache, monkeypatch):
    """Each run has the digits of its own dataset."""
    asked = []
    monkeypatch.setattr(sweep.digits, "checksum", lambda dataset, data_dir: asked.append(dataset) or f"of {dataset}")
    monkeypatch.setattr(sweep.workers, "locally", lambda todo, task, *_: ((run, made(run, task)) for run in todo))

    def made(run, task):
        values = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
        epoch = {"epoch": 1, **dict.fromkeys(values, 1.0)}
        samples = {"epochs": [epoch], "network_parameters": 1, "norm_parameters": 0, "of": task.checksums[run.dataset]}
        return results.make_record("study", run.as_dict(), samples, environment=provenance.environment(), seeds=[0])

    runs = plan(norms=["none"], seeds=1, epochs=1, dataset=["mnist", "fashion-mnist"])
    found = sweep.sweep(runs, tmp_path, processes=1)
    assert asked == ["mnist", "fashion-mnist"]
    assert [record["samples"]["of"] for record in found] == ["of mnist", "of fashion-mnist"]


def test_a_sweep_records_every_run_once(tmp_path, digits_cache):
    runs = plan(norms=["none", "layer_norm"], seeds=1, epochs=1, **SMALL)
    made = []
    records = sweep.sweep(runs, tmp_path, processes=2, on_record=made.append)
    assert [r["case"]["norm"] for r in records] == ["none", "LayerNorm"] and len(made) == 2
    for record in records:
        assert record["environment"]["threads"] == 1 and record["seeds"] == [0]
        assert allocator.PINNED.items() <= record["environment"]["allocator"].items()
        assert set(record["samples"]["epochs"][0]) == {
            "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
        }  # fmt: skip
        text = json.dumps(record)
        assert platform.node() not in text and str(tmp_path) not in text

    done = []
    again = sweep.sweep(
        runs, tmp_path, on_start=lambda total, done_: done.append((total, done_)), on_record=made.append
    )
    assert again == records and len(made) == 2 and done == [(20, 20)]


def test_runs_of_machines_that_compute_differently_are_told_of():
    made = [{"environment": {"cpu": cpu, "packages": {"torch": "2.14.1"}}} for cpu in ("one", "one", "another")]
    assert sweep.mixed(made[:2]) is None
    assert "machines that compute differently" in sweep.mixed(made) and "another, torch 2.14.1" in sweep.mixed(made)
    narrow, wide = ({**made[0], "depends": {"instructions": name}} for name in ("AVX2", "AVX512"))
    assert "one, AVX2, torch 2.14.1; one, AVX512, torch" in sweep.mixed([wide, narrow])


def test_a_damaged_record_is_named_set_aside_and_run_again(tmp_path, digits_cache):
    runs = plan(norms=["none", "layer_norm"], seeds=1, epochs=1, **SMALL)
    records = sweep.sweep(runs, tmp_path, processes=2)
    damaged = next(tmp_path.glob("*LayerNorm*.json"))
    half = damaged.read_text()[:100]
    damaged.write_text(half)
    made, notes = [], []
    more = sweep.sweep(runs, tmp_path, processes=1, on_record=made.append, on_note=notes.append)
    assert len(made) == 1 and more[0] == records[0]
    assert len(notes) == 1 and damaged.name in notes[0] and "is damaged" in notes[0]
    assert damaged.with_suffix(".damaged").read_text() == half
    assert what_was_found(more) == what_was_found(records)  # whatever the number of workers


def test_a_sweep_fails_before_it_trains(tmp_path, digits_cache):
    runs = plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(DataError, match="train-images"):
        sweep.sweep(runs, tmp_path / "out", data_dir=tmp_path / "empty")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"):
        sweep.sweep(runs, tmp_path / "file")
    with pytest.raises(ArgumentError, match="workers = 0"):
        sweep.sweep(runs, tmp_path / "out", processes=0)


def test_a_second_sweep_on_the_same_folder_is_refused(tmp_path, digits_cache):
    runs = plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    with FileLock(tmp_path / ".sweep.lock"), pytest.raises(OutputError, match="another study is writing there"):
        sweep.sweep(runs, tmp_path)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.usefixtures("inline")
def test_a_full_disk_is_one_clear_error_and_keeps_what_was_finished(tmp_path, digits_cache, monkeypatch):
    runs = plan(norms=["none", "BatchNorm"], seeds=1, epochs=1, **SMALL)
    synced, sync = [], os.fsync

    def full(file):
        synced.append(file)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*No space left on device"):
        sweep.sweep(runs, tmp_path)
    assert len(recorded(tmp_path)) == 1 and not list(tmp_path.glob("*.part"))
    monkeypatch.undo()
    (tmp_path / "study-none-left.part").write_text("{")  # of a process that was killed while it wrote
    (tmp_path / "film.part").write_text("a stranger's")
    sweep.sweep(runs, tmp_path)
    assert len(recorded(tmp_path)) == 2 and [path.name for path in tmp_path.glob("*.part")] == ["film.part"]


def test_workers_that_die_again_and_again_end_the_sweep(tmp_path, digits_cache, monkeypatch):
    """A run that always takes its process with it, such as one that needs more memory than there is."""
    monkeypatch.setattr(workers, "do", _kill_this_process)
    notes = []
    with pytest.raises(NormsuiteError, match="workers died 3 times in a row"):
        sweep.sweep(plan(norms=["none"], seeds=1, epochs=1, **SMALL), tmp_path, processes=1, on_note=notes.append)
    assert notes == ["a worker process ended; all unfinished runs are restarted"] * 2


def _kill_this_process(run, task):
    os.kill(os.getpid(), signal.SIGKILL)
