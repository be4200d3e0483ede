"""The bench on an accelerator, on a double of one: the order of calls, what fails, several processes."""

import random
import types

import bench_records
import pytest
import torch
from device_double import Double

from normsuite.bench import device_worker, run
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, COPY
from normsuite.errors import UnsupportedError
from normsuite.machine import device as devices
from normsuite.measure import (
    clock,
    device_clock,
    device_schedule,
    implementations,
    process,
    workload,
)
from normsuite.measure.cases import CASES, Case
from normsuite.measure.implementations import Implementation
from normsuite.measure.task import Task
from normsuite.records import kinds, provenance, results
from normsuite.spec import NORMS

ROWS = Case("rows", (32, 64), 4, "rows", normalized_shape=(64,))
VOLUMES = Case("volumes", (2, 8, 3, 4, 5), 4, "volumes", channels_last=True)


def timed(calls, device, *, queued=None, least=3, most=3):
    return device_schedule.timed(
        calls, device, seconds=1e-9, draw=random.Random(0), queued=queued or {}, least=least, most=most
    )


# ---- the order of calls ----


def test_every_sample_is_queued_behind_other_work_and_between_two_events():
    device = Double()
    found = timed({"a": [lambda: None] * 3, "b": [lambda: None] * 3}, device, least=2, most=2)
    assert device.log[:2] == ["capture of 3"] * 2, "a graph has a call for every set of operands"
    log = device.log[2:]
    of_device = log[: log.index("synchronize", log.index("replay 2")) + 1]
    sample = ["occupy", "event", "replay", "event", "synchronize"]
    assert [word.split()[0] for word in of_device] == sample * (len(of_device) // len(sample))
    assert found.device_s == {name: pytest.approx([1e-3 / 3] * 2) for name in "ab"}
    assert found.captured == {"a": None, "b": None}
    assert all(len(found.host_s[name]) == 2 for name in "ab")


def test_rounds_go_a_b_b_a():
    device = Double()
    timed({name: [lambda: None] * 2 for name in "abc"}, device, least=4, most=4)
    replays = [word for word in device.log if word.startswith("replay")][3:]  # behind the calibration
    there, back = replays[:3], replays[3:6]
    assert sorted(there) == ["replay 1", "replay 2", "replay 3"] and back == there[::-1]
    assert replays == (there + back) * 2


def test_a_short_graph_is_repeated_until_the_clock_can_tell():
    device = Double(graph_s=1e-5)
    timer = device_clock.captured([lambda: None] * 4, device)
    repeat, call_s = clock.calibrate(timer)
    assert repeat * 1e-5 >= device_clock.SHORTEST_SAMPLE_S and call_s == pytest.approx(1e-5 / 4)


@pytest.mark.parametrize(
    ("operand", "cache", "sets"), [(100 * 2**20, 50 * 2**20, 2), (2**20, 50 * 2**20, 32), (10 * 2**20, 50 * 2**20, 15)]
)
def test_operands_of_all_sets_are_three_times_the_cache(operand, cache, sets):
    assert device_clock.operand_sets(operand, cache) == sets


def test_a_task_takes_half_of_the_free_memory_at_most():
    large = Task(NORMS["LayerNorm"], ROWS, "step", device="cuda")  # 8 KiB a tensor, five of them a set
    assert workload.sets_that_fit(large, 2**30, 2**20) == 32
    assert workload.sets_that_fit(large, 6 * 5 * large.bytes, 2**20) == 3
    assert workload.sets_that_fit(large, 9 * large.bytes, 2**20) == 0


@pytest.mark.parametrize(("call_s", "calls"), [(1e-6, 100), (5e-4, 20), (1.0, 10)])
def test_host_time_is_of_so_few_calls_that_the_queue_has_room(call_s, calls):
    assert device_clock.host_calls(call_s) == calls


# ---- what fails ----


def test_a_failed_capture_names_whose_it_was():
    def call():
        return None

    device = Double(broken=[call])
    with pytest.raises(device_schedule.Uncapturable) as failed:
        timed({"a": [lambda: None], "b": [call]}, device)
    assert failed.value.label == "b" and failed.value.reason == "operation not permitted when stream is capturing"
    found = timed({"a": [lambda: None], "b": [call]}, device, queued={"b": "no"})
    assert found.captured == {"a": None, "b": "no"}


class Fake(Implementation):
    """Fails as its name says."""

    def prepare(self, task, given):
        if self.name == "unable":
            raise UnsupportedError("backend", self.name, "has no such thing")
        if self.name == "broken":
            raise ValueError("out of\nluck")
        if self.name == "deadly":
            raise torch.AcceleratorError("illegal memory access")
        return lambda: given.input.detach().clone()


def measured(made, people, device, **further):
    settings = {"sets": 2, "seconds": 1e-9, "draw": random.Random(0), "failures": {}, "count": False, **further}
    return device_worker.measured(made, people, device, **settings)


def test_who_cannot_is_a_reason_and_the_rest_is_measured():
    people = [*implementations.choose(["torch"]), Fake("unable"), Fake("broken"), Fake("left")]
    device = Double()
    found = measured(
        Task(NORMS["RMSNorm"], ROWS, "forward"),
        people,
        device,
        count=True,
        failures={"left": (device_worker.LEFT_OUT, "died before"), "torch": (device_worker.QUEUED, "no graph")},
    )
    assert {BASELINE, AGAIN, COPY, "torch"} <= found["times_s"].keys() == found["host_s"].keys()
    assert found["refused"] | {"unable": "has no such thing", "left": "died before"} == found["refused"]
    assert found["refused"]["broken"] == "failed: ValueError: out of luck"
    assert found["not_captured"] == {"torch": "no graph"} and found["operand_sets"] == 2
    assert found["counts"]["torch"]["output_error"] < 1e-6 and found["counts"][COPY]["peak_bytes"] == 8192
    assert device.log[-1] == "release"


def test_memory_is_released_and_the_device_s_end_is_told_where_a_task_fails():
    device = Double()
    with pytest.raises(device_worker.Unusable, match="deadly: AcceleratorError"):
        measured(Task(NORMS["RMSNorm"], ROWS, "forward"), [Fake("deadly")], device)
    assert device.log[-1] == "release"


def job(tasks, **further):
    return {
        "tasks": [made.as_dict() for made in tasks],
        "left": list(range(len(tasks))),
        "backends": [],
        "threads": 2,
        "seconds": 1e-9,
        "number": 1,
        "failures": [],
        "count": False,
        **further,
    }


@pytest.fixture
def runtime(monkeypatch):
    """A worker whose accelerator is a double of one."""
    device = Double()
    monkeypatch.setattr(device_worker, "Accelerator", lambda name: device)
    monkeypatch.setattr(device_worker, "choose", lambda names, device: implementations.choose(["torch"]))
    monkeypatch.setattr(devices, "free_bytes", lambda name: 2**30)
    monkeypatch.setattr(devices, "cache_bytes", lambda name: 2**10)
    monkeypatch.setattr(devices, "properties", lambda name: {"multiprocessors": 132})
    return device


def test_the_worker_ends_with_a_failed_capture_and_tells_what_is_left(runtime, monkeypatch):
    tasks = [Task(NORMS["RMSNorm"], ROWS, mode) for mode in ("forward", "step")]
    said = []
    device_worker.work(job(tasks), said.append)
    assert [message.get("task") for message in said] == [None, None, 0, None, 1]
    assert said[0]["state_reason"] and said[0]["environment"]["device"] == {"multiprocessors": 132}
    assert said[2]["device_state"] == [None, None]
    monkeypatch.setattr(runtime, "capture", lambda calls: (_ for _ in ()).throw(RuntimeError("no")))
    said.clear()
    device_worker.work(job(tasks, left=[1, 0]), said.append)
    assert said[1:] == [
        {"begin": 1},
        {
            "failed": {
                "task_of": 1,
                "label": BASELINE,
                "norm": "RMSNorm",
                "mode": "step",
                "fate": "queued",
                "reason": "no",
            }
        },
    ]
    failures = [said[-1]["failed"], {**said[-1]["failed"], "label": "torch", "fate": "left out"}]
    step, other = tasks[1], Task(NORMS["RMSNorm"], CASES["tiny"], "step")
    assert device_worker._known(failures, 1, step) == {BASELINE: ("queued", "no"), "torch": ("left out", "no")}
    assert device_worker._known(failures, 0, other) == {BASELINE: ("queued", "no")}
    assert device_worker._known(failures, 0, tasks[0]) == {}


def test_a_task_without_room_is_skipped_with_the_reason(runtime, monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda name: 2**10)
    said = []
    device_worker.work(job([Task(NORMS["RMSNorm"], ROWS, "forward")]), said.append)
    assert "more than half of the memory" in said[-1]["skipped"]


# ---- several processes ----


class Processes:
    """Stands for the workers: each is given what it says by a function of its job."""

    def __init__(self, says):
        self.jobs, self._says = [], says

    def __call__(self, job, threads):
        self.jobs.append(job)
        yield {
            "environment": {**provenance.environment(threads=threads), "accelerator": "Model"},
            "state_reason": "none",
        }
        yield from self._says(job, len(self.jobs))


def said_of(index, number, **further):
    (process_of_it,) = bench_records.samples({AUTO: 0.5}, processes=1, seed=number)
    host_s = {label: [1e-5] * 6 for label in process_of_it["times_s"]}
    found = {**process_of_it, "host_s": host_s, "not_captured": {}, "operand_sets": 2, "refused": {}}
    return {"task": index, **found, "clock_mhz": 1980, "device_state": [None, None], **further}


def planned():
    return [Task(NORMS["RMSNorm"], ROWS, mode, device="cuda") for mode in ("forward", "backward")]


def test_what_is_left_goes_on_in_a_fresh_process_and_each_task_has_its_record_at_once(tmp_path, monkeypatch):
    failed = {"label": "liger", "norm": "RMSNorm", "mode": "backward", "fate": "queued", "reason": "no", "task_of": 0}

    def says(job, number):
        for index in job["left"]:
            yield {"begin": index}
            if index == 1 and not job["failures"]:
                yield {"failed": failed}
                return
            counted = {"counts": {}, "different": {}} if job["count"] else {}
            yield said_of(index, number, **counted)

    processes, written = Processes(says), []
    monkeypatch.setattr(run, "_messages", processes)
    outcome = run.run(
        planned(),
        processes=2,
        out=tmp_path,
        on_task=lambda stage, made: written.append(len(list(tmp_path.glob("*.json")))),
    )
    assert [job["left"] for job in processes.jobs] == [[0, 1], [1], [0, 1]]
    assert [job["failures"] for job in processes.jobs] == [[], [failed], [failed]]
    assert [job["count"] for job in processes.jobs] == [True, True, False]
    assert written == [1, 2, 2, 2] and len(outcome.records) == 2
    assert (
        "liger: calls of RMSNorm backward cannot be captured as a graph and are timed one by one (no)" in outcome.notes
    )
    assert "clocks and power are not read: none" in outcome.notes
    assert not results.read_records(tmp_path, kinds.BENCH.what).damaged


def test_a_process_that_died_costs_one_task(monkeypatch):
    def says(job, number):
        for index in job["left"]:
            yield {"begin": index}
            if index == 0:
                raise process.Died("SIGSEGV")
            yield said_of(index, number)

    monkeypatch.setattr(run, "_messages", Processes(says))
    outcome = run.run(planned(), processes=1)
    assert [record["case"]["mode"] for record in outcome.records] == ["backward"]
    assert "the process ended at RMSNorm rows forward (SIGSEGV)" in outcome.notes[0]


def test_a_process_that_died_before_its_first_task_leaves_all_to_the_next(monkeypatch):
    def says(job, number):
        if number == 1:
            raise process.Died("exit code 1")
        for index in job["left"]:
            yield {"begin": index}
            yield said_of(index, number)

    processes = Processes(says)
    monkeypatch.setattr(run, "_messages", processes)
    outcome = run.run(planned(), processes=3)
    assert [job["left"] for job in processes.jobs] == [[0, 1]] * 3
    assert [job["count"] for job in processes.jobs] == [True, True, False], "the first that is there counts"
    assert len(outcome.records) == 2 and not any("did not fit" in note for note in outcome.notes)


def test_no_task_begins_when_the_budget_is_used_up(monkeypatch):
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)

    def says(job, number):
        for index in job["left"]:
            yield {"begin": index}
            clock.now += 6.0
            yield said_of(index, number)

    processes = Processes(says)
    monkeypatch.setattr(run, "_messages", processes)
    monkeypatch.setattr(run, "time", clock)
    outcome = run.run(planned(), processes=2, budget_s=10.0)
    assert [job["left"] for job in processes.jobs] == [[0, 1], [0]], "the second does what the first has done"
    assert [record["case"]["mode"] for record in outcome.records] == ["forward"]
    assert any("1 of 2 tasks did not fit" in note for note in outcome.notes)
