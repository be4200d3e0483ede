"""Sweeps whose processes are killed in the middle, on one machine and on a cluster."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil
import pytest
from processes import started_by
from sweep_records import COMMAND, SMALL, WAIT_S, Inline, recorded

from normsuite.errors import ArgumentError, DataError, NormsuiteError
from normsuite.records import provenance
from normsuite.study import sweep, workers
from normsuite.study.plan import plan
from normsuite.study.train import Run

STUDY = {"norms": ["none", "BatchNorm", "LayerNorm"], "seeds": 2, "epochs": 2, "train_size": 5120}
OPTIONS = [
    *(option for norm in STUDY["norms"] for option in ("--norm", norm)),
    *("--seeds", "2", "--epochs", "2", "--train-size", "5120"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, digits_cache):
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep.sweep(plan(**STUDY), folder)
    return recorded(folder)


@contextmanager
def started(*command, **options):
    """A process with all its children gone at the end, whatever happened."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        yield process
    finally:
        for each in (*psutil.Process(process.pid).children(recursive=True), process) if process.poll() is None else ():
            with suppress(psutil.NoSuchProcess):  # children may end with the one before them
                each.kill()
        process.communicate()


def until(condition, what):
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {WAIT_S} s for {what}"
        time.sleep(0.05)
    return found


def spawned(pid):
    """The processes that a sweep's runs are done in: children of the one that imports for all of them."""
    return [process for process in started_by(pid, "multiprocessing.forkserver") if process.ppid() != pid]


def test_a_killed_worker_and_a_killed_parent_lose_only_what_was_unfinished(tmp_path, undisturbed):
    with started(*COMMAND, *OPTIONS, "--out", str(tmp_path), "--workers", "2") as first:
        until(lambda: len(list(tmp_path.glob("*.json"))) >= 1, "a first record")
        until(lambda: spawned(first.pid), "a worker")[0].kill()
        line = until(lambda: next((x for x in first.stdout if "worker process ended" in x), None), "the note")
        assert "all unfinished runs are restarted" in line
        until(lambda: len(list(tmp_path.glob("*.json"))) >= 2, "a record after that")
        alive = until(lambda: spawned(first.pid), "workers begun again")
        first.kill()
        first.wait()
        _, still = psutil.wait_procs(alive, timeout=20)
        assert alive and not still, "workers end with their parent"
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert 2 <= len(kept) < len(undisturbed)
    subprocess.run([*COMMAND, *OPTIONS, "--out", str(tmp_path)], check=True, capture_output=True)
    assert all(path.read_bytes() == text for path, text in kept.items()), "what was finished is not done again"
    assert recorded(tmp_path) == undisturbed


def test_an_interrupted_sweep_leaves_no_process_and_goes_on_later(tmp_path, undisturbed):
    with started(*COMMAND, *OPTIONS, "--out", str(tmp_path), "--workers", "2") as first:
        until(lambda: list(tmp_path.glob("*.json")), "a first record")
        alive = spawned(first.pid)
        first.send_signal(signal.SIGINT)
        said, _ = first.communicate(timeout=WAIT_S)
    assert first.returncode == 130 and "interrupted; what was finished is kept" in said and "Traceback" not in said
    assert alive and not psutil.wait_procs(alive, timeout=20)[1]
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert 1 <= len(kept) < len(undisturbed) and not list(tmp_path.glob("*.part"))
    subprocess.run([*COMMAND, *OPTIONS, "--out", str(tmp_path)], check=True, capture_output=True)
    assert all(path.read_bytes() == text for path, text in kept.items())
    assert recorded(tmp_path) == undisturbed


# ---- a cluster ----

LOOPBACK = "127.0.0.1"


@contextmanager
def scheduler(folder):
    file = folder / "scheduler.json"
    command = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", LOOPBACK, "--port", "0")
    with started(*command, "--no-dashboard", "--scheduler-file", str(file)):
        until(file.exists, "the scheduler")
        yield json.loads(until(file.read_text, "its address"))["address"]


def cluster_worker(address, name):
    command = (sys.executable, "-m", "distributed.cli.dask_worker", address, "--host", LOOPBACK, "--name", name)
    return started(*command, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")


def test_a_cluster_finds_the_same_with_a_worker_killed(tmp_path, undisturbed):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with (
        scheduler(tmp_path) as address,
        cluster_worker(address, "lost") as lost,
        cluster_worker(address, "left"),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=WAIT_S)
        at = {of["name"]: where for where, of in client.scheduler_info()["workers"].items()}
        with started(*COMMAND, *OPTIONS, "--out", str(out), "--scheduler", address) as study:
            until(lambda: list(out.glob("*.json")), "a first record")
            until(lambda: client.processing().get(at["lost"]), "the worker to have a run")
            assert len(list(out.glob("*.json"))) < len(undisturbed)
            lost.send_signal(signal.SIGKILL)
            said, _ = study.communicate(timeout=WAIT_S)
            assert study.returncode == 0, said
    assert recorded(out) == undisturbed


def test_a_cluster_without_workers_is_named_and_one_that_lost_them_is_waited_for(tmp_path, digits_cache, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "ANSWER_S", 3)  # to connect within, too
    monkeypatch.setattr(workers, "LOOK_S", 0.2)
    runs = plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    notes: list[str] = []
    with scheduler(tmp_path) as address:
        with pytest.raises(ArgumentError, match=r"has no workers after 3 s"):
            sweep.sweep(runs, tmp_path / "out", scheduler=address)
        monkeypatch.setattr(workers, "ANSWER_S", WAIT_S)
        with ThreadPoolExecutor(1) as pool:
            with cluster_worker(address, "idle") as idle:
                found = pool.submit(_after_the_last_worker, runs, tmp_path / "out", address, notes, idle)
                until(lambda: found.done() or any("no workers left" in note for note in notes), "a note")
            assert not found.done(), found
            with cluster_worker(address, "new"):
                assert len(found.result(timeout=WAIT_S)) == 1
    assert notes == ["the cluster has no workers left; waiting for one", "the cluster has workers again"]


def _after_the_last_worker(runs, out, address, notes, worker):
    """A sweep whose only worker is lost as soon as it begins."""
    return sweep.sweep(
        runs, out, scheduler=address, on_start=lambda *steps: worker.send_signal(signal.SIGKILL), on_note=notes.append
    )


def test_a_scheduler_that_is_gone_is_said(digits_cache):
    """Its futures are then cancelled."""
    run = Run("none", 0, epochs=1, **SMALL)

    class Gone(Inline):
        def submit(self, work, *arguments):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(NormsuiteError, match="the scheduler is gone; finished runs are kept"):
        list(workers.finish(Gone(), [run], workers.SweepInputs({"mnist": "digits"}, "sources", None)))


def test_a_scheduler_that_is_frozen_is_not_waited_for(tmp_path, digits_cache, monkeypatch):
    """Neither at first, nor in the middle of a study; what was finished is kept."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "LOOK_S", 0.2)
    runs = plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    file = tmp_path / "scheduler.json"
    command = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", LOOPBACK, "--port", "0")
    with started(*command, "--no-dashboard", "--scheduler-file", str(file)) as process:
        address = json.loads(until(lambda: file.exists() and file.read_text(), "its address"))["address"]
        with cluster_worker(address, "one"):
            monkeypatch.setattr(workers, "ANSWER_S", WAIT_S)

            def freeze(*steps):
                monkeypatch.setattr(workers, "ANSWER_S", 2)
                process.send_signal(signal.SIGSTOP)

            try:
                with pytest.raises(NormsuiteError, match="has not answered for 2 s; finished runs are kept"):
                    sweep.sweep(runs, tmp_path / "out", scheduler=address, on_start=freeze)
                with pytest.raises(ArgumentError, match="does not answer within 2 s"):
                    sweep.sweep(runs, tmp_path / "out", scheduler=address)
            finally:
                process.send_signal(signal.SIGCONT)


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, digits_cache, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "ANSWER_S", 1)
    runs = plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(ArgumentError, match=r"scheduler = 'tcp://127.0.0.1:1': does not answer within 1 s") as caught:
        sweep.sweep(runs, tmp_path, scheduler=f"tcp://{LOOPBACK}:1")
    assert "\n" not in str(caught.value)


def test_a_worker_with_other_sources_or_digits_refuses(digits_cache):
    run = Run("none", 0, epochs=1, **SMALL)
    with pytest.raises(NormsuiteError, match="another version of normsuite"):
        workers.do(run, workers.SweepInputs({"mnist": "digits"}, "other sources", None))
    with pytest.raises(DataError, match="other digits: expected checksum other"):
        workers.do(run, workers.SweepInputs({"mnist": "other"}, provenance.source_digest(), None))
