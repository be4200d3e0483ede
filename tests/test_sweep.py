"""The sweep: records that are whole, runs that are not done twice, and what happens when something dies."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
import pytest
from filelock import FileLock
from processes import started_by

from normsuite import allocator, provenance, results
from normsuite.errors import ArgumentError, DataError, NormsuiteError, OutputError
from normsuite.spec import NORMS
from normsuite.study import sweep, workers
from normsuite.study.identity import record_name
from normsuite.study.plan import plan
from normsuite.study.train import Run

SMALL = {"train_size": 640, "batch_size": 64}
COMMAND = (sys.executable, "-m", "normsuite", "study")
WAIT_S = 120


def what_was_found(records):
    """By norm and seed, all but times, who was there, and what only times depend on."""
    found = {}
    for record in records:
        kept = {k: v for k, v in record.items() if k not in ("written", "workers")}
        epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["samples"]["epochs"]]
        kept["samples"] = {**record["samples"], "epochs": epochs}
        kept["environment"] = {k: v for k, v in record["environment"].items() if k != "allocator"}
        found[record["case"]["norm"], record["case"]["seed"]] = kept
    return found


def recorded(folder):
    read = results.read_records(folder, "study")
    assert not read.damaged
    return what_was_found(read)


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


class Inline:
    """An executor that works in this process."""

    def __init__(self, *arguments):
        pass

    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options):
        pass


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
    assert notes == ["a worker died; what was unfinished is begun again"] * 2


def _kill_this_process(run, task):
    os.kill(os.getpid(), signal.SIGKILL)


# ---- killed in the middle, in earnest ----

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
        line = until(lambda: next((x for x in first.stdout if "worker died" in x), None), "the note")
        assert "begun again" in line
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
        list(workers.finish(Gone(), [run], workers.Task({"mnist": "digits"}, "sources", None)))


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
        workers.do(run, workers.Task({"mnist": "digits"}, "other sources", None))
    with pytest.raises(DataError, match="other digits: expected checksum other"):
        workers.do(run, workers.Task({"mnist": "other"}, provenance.source_digest(), None))
