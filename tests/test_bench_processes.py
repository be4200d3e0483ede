"""Processes of a bench on the processor: what is kept of them, and what is done with the tasks that end them."""

import os

import pytest
from bench_records import SPECS, samples

from normsuite.bench import run, summary, worker
from normsuite.bench.summary import AUTO
from normsuite.errors import NormsuiteError
from normsuite.measure import listening, process, task
from normsuite.records import kinds, provenance, results, schema


def talk(messages, *, then=None):
    """Stands for the processes: says those messages, then fails, if at all, as asked."""

    def processes(job, threads):
        yield {"environment": provenance.environment(threads=threads)}
        yield from messages(job)
        if then and not job["count"] and job["number"] == 2:
            raise then

    return processes


def says(job):
    for index, _ in enumerate(job["tasks"]):
        yield {"begin": index}
        if job["count"]:
            yield {"task": index, "counts": {}, "refused": {}, "different": {}}
        else:
            (process,) = samples({AUTO: 0.5}, processes=1, seed=job["number"])
            yield {"task": index, **process, "clock_mhz": 1000 + job["number"], "refused": {}}


@pytest.mark.parametrize("end", [process.Died("SIGSEGV"), KeyboardInterrupt()])
def test_what_was_finished_is_kept(end, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_messages", talk(says, then=end))
    outcome = run.run(task.plan(names=["tiny"], modes=["step"]), processes=3, out=tmp_path)
    assert len(outcome.records) == len(list(tmp_path.glob("bench-*.json"))) == 2 * len(SPECS)
    done = {len([p for p in r["samples"]["processes"] if p["times_s"]]) for r in outcome.records}
    if isinstance(end, KeyboardInterrupt):
        assert outcome.interrupted and done == {2} and outcome.notes == []
    else:
        assert not outcome.interrupted and done == {3}
        assert outcome.notes == [
            "times, process 2 of 3: the process ended at RMSNorm tiny step with relu (SIGSEGV); what it had finished "
            "is kept"
        ]
    clocks = [p["clock_mhz"] for p in outcome.records[0]["samples"]["processes"]]
    assert clocks == [1000 + n if n <= max(done) else None for n in range(1, 4)]
    assert results.read_records(tmp_path, kinds.BENCH.what).damaged == []


def test_a_record_of_more_processes_is_kept(tmp_path, monkeypatch):
    """A bench that was begun again and interrupted has less to say than the one before."""
    tasks = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward"], activations=["none"])
    monkeypatch.setattr(run, "_messages", talk(says))
    run.run(tasks, processes=3, out=tmp_path)
    (path,) = tmp_path.glob("bench-*.json")
    before = path.read_bytes()
    monkeypatch.setattr(run, "_messages", talk(says, then=KeyboardInterrupt()))
    outcome = run.run(tasks, processes=3, out=tmp_path)
    assert path.read_bytes() == before and outcome.interrupted
    assert outcome.notes == ["1 record of an earlier run with more processes: kept"]
    monkeypatch.setattr(run, "_messages", talk(says))
    assert not run.run(tasks, processes=3, out=tmp_path).notes
    assert [path] == list(tmp_path.glob("bench-*.json"))


def test_a_record_s_name_says_nothing_of_this_package_s_version():
    (one,) = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward"], activations=["none"])
    record = results.make_record("bench", one.as_dict(), {}, environment=provenance.environment(threads=1), seeds=[])
    later = {**record["environment"]["packages"], "normsuite": "99"}
    other = {**record, "environment": {**record["environment"], "packages": later}}
    assert run._name({**record, "settings": {}}) == run._name({**other, "settings": {}})


def test_a_task_that_ends_a_process_costs_itself_alone(tmp_path, monkeypatch):
    """The process that counts too: what is left unchecked would be timed as if it computed the same."""
    tasks = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward", "step"], activations=["none"])

    def falls(job):
        for message in says(job):
            yield message
            if "begin" in message and job["tasks"][message["begin"]]["mode"] == "forward" and job["number"] < 2:
                raise process.Died("SIGSEGV")

    monkeypatch.setattr(run, "_messages", talk(falls))
    outcome = run.run(tasks, processes=2, out=tmp_path)
    by_mode = {record["case"]["mode"]: record["samples"] for record in outcome.records}
    timed = {mode: [bool(of["times_s"]) for of in found["processes"]] for mode, found in by_mode.items()}
    assert timed == {"forward": [False, True], "step": [True, True]}
    assert [note.partition(":")[0] for note in outcome.notes] == ["bytes and errors", "times, process 1 of 2"]


def test_a_call_that_leaves_its_process_costs_itself_alone(monkeypatch):
    """With exit code 0, as by os._exit(0), the messages end as those of a process that is done."""
    tasks = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward", "step"], activations=["none"])

    def leaves(job):
        for message in says(job):
            yield message
            if "begin" in message and job["tasks"][message["begin"]]["mode"] == "forward":
                return

    monkeypatch.setattr(run, "_messages", talk(leaves))
    outcome = run.run(tasks, processes=2)
    assert [record["case"]["mode"] for record in outcome.records] == ["step"]
    assert len(outcome.notes) == 3 and all("forward (exit code 0" in note for note in outcome.notes)


def test_a_task_that_hangs_is_not_tried_again(monkeypatch):
    tasks = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward", "step"], activations=["none"])

    def hangs(job):
        for message in says(job):
            yield message
            if "begin" in message and job["tasks"][message["begin"]]["mode"] == "forward":
                raise listening.Ended("SIGKILL", 900.0)

    monkeypatch.setattr(run, "_messages", talk(hangs))
    outcome = run.run(tasks, processes=2)
    assert [record["case"]["mode"] for record in outcome.records] == ["step"]
    (note,) = outcome.notes
    assert note.startswith("bytes and errors") and "hangs: ended after 900 s" in note


def test_tasks_behind_many_that_end_their_process_are_named(monkeypatch):
    tasks = task.plan(names=["tiny"], modes=["forward", "step"])

    def falls(job):
        for message in says(job):
            yield message
            if job["count"]:
                raise process.Died("SIGSEGV")

    monkeypatch.setattr(run, "_messages", talk(falls))
    outcome = run.run(tasks, processes=1)
    left = len(tasks) - run.MOST_ENDED
    assert (
        f"bytes and errors: {left} tasks are not tried, after {run.MOST_ENDED} that ended it in a row" in outcome.notes
    )


def test_processes_that_timed_different_implementations_are_read_again(tmp_path, monkeypatch):
    """One may fail in one process alone."""
    tasks = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["forward"], activations=["none"])

    def differs(job):
        for message in says(job):
            if "times_s" in message and job["number"] == 2:
                message["times_s"].pop(AUTO)
            yield message

    monkeypatch.setattr(run, "_messages", talk(differs))
    (record,) = run.run(tasks, processes=3, out=tmp_path).records
    assert schema.problem(record) is None
    found = results.read_records(tmp_path, kinds.BENCH.what)
    assert found.damaged == [] and len(found.good) == 1
    assert AUTO in {row.implementation for row in summary.benches(found.good)[0].rows}


def test_nothing_measured_is_an_error(monkeypatch):
    def nothing(job):
        raise process.Died("exit code 1: no room")
        yield

    monkeypatch.setattr(run, "_messages", talk(nothing))
    with pytest.raises(NormsuiteError, match=r"nothing was measured: bytes and errors: .* no room"):
        run.run(task.plan(names=["tiny"]), processes=1)


@pytest.mark.parametrize(("busy_s", "share"), [(0.0, 0.0), (1e6, 1.0)])
def test_the_share_of_other_programs_is_a_share(busy_s, share, monkeypatch):
    """What the system counts in steps may come to more than there was, and this process's own time is not theirs."""
    before = worker._busy_s(worker._usable())
    if before is None:
        pytest.skip("this system does not tell how busy it is")
    monkeypatch.setattr(worker, "_busy_s", lambda cores: before)
    others = worker.OtherPrograms()
    monkeypatch.setattr(worker, "_busy_s", lambda cores: before + busy_s)
    assert others.share() == share
    monkeypatch.setattr(worker, "_busy_s", lambda cores: None)
    assert others.share() is None, "a core is gone"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinities")
def test_the_cores_that_a_process_may_use_are_those_that_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    monkeypatch.setattr(worker, "_STAT", tmp_path / "stat")
    cores = ["cpu0 100 0 0 900 50 0 0 0 0 0", "cpu1 100000 0 0 0 0 0 0 0 0 0", "cpu2 0 10 20 970 0 3 4 5 0 0"]
    worker._STAT.write_text("\n".join(["cpu 1 1 1 1 1 1 1 1 0 0", *cores, "intr 1"]))
    assert worker._usable() == {"cpu0", "cpu2"}
    assert worker._busy_s(worker._usable()) == pytest.approx((100 + 42) / os.sysconf("SC_CLK_TCK"))
    worker._STAT.write_text("\n".join(["cpu 1 1 1 1 1 1 1 1 0 0", *cores[:2]]))
    assert worker._busy_s(worker._usable()) is None, "it does not tell of each of them"
    assert worker._busy_s(frozenset()) is None
