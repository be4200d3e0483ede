"""The bench of an accelerator, on a double of one: what is asked of it in which order, and what the records say."""

import json
import math
import random
import sys
import types
from dataclasses import replace

import pytest
import report_records
import test_bench_command
import torch
from device_double import Double

from normsuite import device as devices
from normsuite import device_state, provenance, report, results, schema
from normsuite.bench import device_worker, run, summary, tables, worker
from normsuite.bench.sentences import sentences
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, COPY, Bench
from normsuite.errors import ArgumentError, UnsupportedError
from normsuite.measure import (
    cases,
    clock,
    device_accuracy,
    device_clock,
    device_schedule,
    implementations,
    operands,
    own_workloads,
    process,
    task,
    workload,
)
from normsuite.measure.accuracy import Truth
from normsuite.measure.cases import CASES, Case
from normsuite.measure.implementations import Implementation
from normsuite.measure.task import Task
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
    (process_of_it,) = test_bench_command.samples({AUTO: 0.5}, processes=1, seed=number)
    host_s = {label: [1e-5] * 6 for label in process_of_it["times_s"]}
    found = {**process_of_it, "host_s": host_s, "not_captured": {}, "operand_sets": 2, "refused": {}}
    return {"task": index, **found, "clock_mhz": 1980, "device_state": [None, None], **further}


def planned():
    return [Task(NORMS["RMSNorm"], ROWS, mode, device="cuda") for mode in ("forward", "backward")]


def test_what_is_left_goes_on_in_a_fresh_process_and_each_task_has_its_record_at_once(tmp_path, monkeypatch):
    failed = {"label": "liger", "norm": "RMSNorm", "mode": "backward", "fate": "queued", "reason": "no"}

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
    assert "liger is queued in RMSNorm backward: no" in outcome.notes
    assert "clocks and power are not read: none" in outcome.notes
    assert not results.read_records(tmp_path, summary.WHAT).damaged


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


# ---- modes, cases, operands ----


@pytest.mark.parametrize("name", [BASELINE, AUTO, "reference"])
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_a_backward_pass_alone_gives_the_gradients_of_a_step(name, activation):
    made = Task(NORMS["GroupNorm"], CASES["tiny"], "backward", activation)
    given = made.operands()
    implementation = next(c for c in implementations.everyone() if c.label == name)
    call = implementation.prepare(made, given)
    step = implementation.prepare(replace(made, mode="step"), given)
    for _ in range(2):
        for found, expected in zip(call(), step()[1:], strict=True):
            torch.testing.assert_close(found, expected)


def test_the_processor_measures_a_backward_pass_where_it_is_asked_for():
    assert {made.mode for made in task.plan()} == {"forward", "step", "evaluation"}
    (made,) = task.plan(norms=["RMSNorm"], names=["tiny"], modes=["backward"], activations=["none"])
    found = []
    settings = {"tasks": [made.as_dict()], "backends": ["torch"], "threads": 2, "seconds": 0.01, "number": 0}
    worker.work({**settings, "count": True}, found.append)
    counted = found[-1]["counts"]["torch"]
    assert counted["gradient_error"] < 1e-6 and counted["saved_bytes"] > 0


def test_the_gate_measures_a_backward_pass_within_a_step():
    with pytest.raises(ArgumentError, match="mode = 'backward': the gate measures it within a step"):
        own_workloads.plan(modes=["backward"])


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(devices, "check", lambda device: device)
    return task.plan(device="cuda")


def test_an_accelerator_has_cases_of_its_own(there):
    assert {made.case.name for made in there} == cases.ACCELERATOR_CASES.keys()
    assert not cases.ACCELERATOR_CASES.keys() & CASES.keys()
    assert {made.case.name for made in task.plan()} == CASES.keys()
    assert {made.dtype for made in there} == {"float32", "bfloat16"}
    assert {made.mode for made in there} == {"forward", "backward", "evaluation", "step"}
    by_case = {made.case.name: {m.spec.name for m in there if m.case == made.case} for made in there}
    assert by_case["resnet-256-56"] == {"BatchNorm"} and by_case["rows-8192x4096"] == {"RMSNorm", "LayerNorm"}
    assert {made.activation for made in there if made.case.name == "vae-1024"} == {"silu"}
    modes = [made.mode for made in there]
    assert set(modes[modes.index("step") :]) == {"step"}, "what is forward and backward comes last"


def test_a_case_that_is_named_is_measured_with_any_norm_that_suits(there):
    (made, *_) = task.plan(norms=["GroupNorm"], names=["resnet-256-7"], device="cuda")
    assert made.spec.name == "GroupNorm" and made.case.shape == (256, 512, 7, 7)


def test_a_task_survives_its_way_to_the_worker(there):
    for made in there:
        found = Task.from_dict(json.loads(json.dumps(made.as_dict())))
        assert found.as_dict() == made.as_dict() and found.case.channels_last == made.case.channels_last


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operands_are_drawn_in_their_layout_with_numbers_of_their_own(dtype):
    def draw(number):
        return operands.drawn_there(
            NORMS["BatchNorm"], VOLUMES, device="cpu", dtype=dtype, parameters=torch.float32, number=number
        )

    first, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(first.input, again.input) and torch.equal(first.weight, again.weight)
    assert not torch.equal(first.input, other.input) and not torch.equal(first.dy, other.dy)
    assert first.input.is_contiguous(memory_format=torch.channels_last_3d) and first.input.dtype == dtype
    assert first.weight.dtype == torch.float32 and float(first.weight.detach().mean()) == pytest.approx(1, abs=0.2)
    assert float(first.input.detach().float().std()) == pytest.approx(1, abs=0.1)


def test_running_statistics_stay_float32_beside_a_narrow_input_there():
    batch, rows = (Task(NORMS[n], CASES["tiny"], "step", dtype="bfloat16") for n in ("BatchNorm", "RMSNorm"))
    assert batch.parameter_dtype == torch.bfloat16, "on the processor all are of one type"
    assert replace(batch, device="cuda").parameter_dtype == torch.float32
    assert replace(rows, device="cuda").parameter_dtype == torch.bfloat16
    assert replace(batch, device="cuda", dtype="float64").parameter_dtype == torch.float64


# ---- errors ----


@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@pytest.mark.parametrize("case", [CASES["tiny"], ROWS, VOLUMES], ids=lambda case: case.name)
@pytest.mark.parametrize("norm", [spec.name for spec in NORMS.values() if spec.torch_call])
def test_errors_there_are_the_oracle_s(norm, case, activation):
    spec = NORMS[norm]
    if not case.suits(spec):
        pytest.skip("no such case")
    made = Task(spec, case, "step", activation)
    given = made.operands()
    y, dx, *_ = implementations.everyone()[0].prepare(made, given)()
    y, dx = 1.001 * y.detach(), dx + 1e-3 * dx.abs().max()  # the planted errors leave every sign of y
    expected = Truth(made, given).errors((y, dx))
    assert device_accuracy.DeviceTruth(made, given).errors(y, dx) == pytest.approx(expected, rel=1e-6)
    backward = device_accuracy.DeviceTruth(replace(made, mode="backward"), given).errors(None, dx)
    assert backward == (None, pytest.approx(expected[1], rel=1e-2))
    some = device_accuracy.DeviceTruth(made, given, most=2 * case.bytes // 4 // case.shape[0])
    assert 0 < some.errors(y, dx)[0] <= expected[0] * 1.5


def test_an_evaluation_s_error_is_the_oracle_s():
    made = Task(NORMS["BatchNorm"], CASES["tiny"], "evaluation")
    given = made.operands()
    y = implementations.everyone()[0].prepare(made, given)().detach() + 1e-3
    expected = Truth(made, given).errors((y,))
    assert device_accuracy.DeviceTruth(made, given).errors(y, None) == (pytest.approx(expected[0], rel=1e-6), None)


# ---- the driver ----


def test_a_driver_that_is_not_asked_has_a_reason(monkeypatch):
    found = device_state.DeviceState("xpu")
    assert "only NVIDIA" in found.reason and found.read() is None
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pip install nvidia-ml-py" in device_state.DeviceState("cuda").reason


def test_what_a_driver_tells_is_read_and_the_rest_is_none(monkeypatch):
    class NVMLError(Exception):
        pass

    def refuses(handle):
        raise NVMLError("not supported")

    library = types.SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1980, 2: 2619}[kind],
        nvmlDeviceGetPowerUsage=lambda handle: 345_600,
        nvmlDeviceGetEnforcedPowerLimit=refuses,
        nvmlDeviceGetTemperature=lambda handle, kind: 41,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x4 | 0x40,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1-2"))
    found = device_state.DeviceState("cuda")
    assert found.reason is None
    assert found.read() == {
        "sm_mhz": 1980,
        "memory_mhz": 2619,
        "power_w": 345.6,
        "power_limit_w": None,
        "celsius": 41,
        "throttled": ["power cap", "thermal, hardware"],
    }


# ---- records ----


def with_host(record):
    state = {"power_w": 300.0, "power_limit_w": 700.0, "throttled": ["power cap"], "sm_mhz": 1980}
    for of_process in record["samples"]["processes"]:
        of_process["host_s"] = {name: [t / 100 for t in times] for name, times in of_process["times_s"].items()}
        of_process |= {"not_captured": {AUTO: "no graph"}, "operand_sets": 2, "device_state": [None, state]}
    record["case"] |= {"device": "cuda"}
    record["environment"] |= {"accelerator": "Model", "device": {"multiprocessors": 132, "cache_bytes": 50 * 2**20}}
    return record


def test_device_time_and_host_time_stand_side_by_side():
    found = Bench([with_host(test_bench_command.record({AUTO: 0.5}, mode="backward"))])
    row = next(row for row in found.rows if row.implementation == AUTO)
    assert row.time_s.value == pytest.approx(0.5e-3, rel=0.01) and row.host_s.value == pytest.approx(0.5e-5, rel=0.01)
    assert row.traffic_share == pytest.approx(1.5, rel=0.01)  # three tensors in the time of a copy's two
    assert row.not_captured == "no graph"
    assert found.time == "device time" and found.host.ratio(0, AUTO, BASELINE).value == pytest.approx(0.5, rel=0.01)
    (rows, *means) = tables.brief(found)
    assert rows.names[:3] == ("by", "device time", "host time")
    assert any("Host time" in table.title for table in means)
    assert "auto: not captured in 1 of the tasks, timed by events (no graph)" in sentences(found)


def test_a_record_without_host_times_is_read_as_before():
    made = test_bench_command.record({AUTO: 0.5})
    found = Bench([made])
    assert found.host is None and found.time == "time" and found.rows[0].host_s is None
    assert not math.isnan(found.rows[0].time_s.value)
    made["samples"]["processes"][0]["host_s"] = {AUTO: [1.0], BASELINE: [1.0, 1.0]}
    assert "rounds are not complete" in schema.problem(made)


def test_the_report_names_both_times(tmp_path):
    source = report_records.write_source(tmp_path)
    for norm in ("RMSNorm", "LayerNorm"):
        record = with_host(test_bench_command.record({AUTO: 0.5}, norm=norm, mode="backward"))
        results.write_record(source / "bench", f"bench-{norm}", record)
    page, _ = report.write(source, tmp_path / "html")
    cost, method = (page.with_name(f"{name}.html").read_text() for name in ("cost", "method"))
    assert "Every case (Model): device time and host time" in cost and "Host time / host time of torch.nn" in cost
    assert "Backward: geometric mean of the device time" in cost and "Backward: geometric mean of the host time" in cost
    assert "300 to 300 W of 700 W" in method and "power cap" in method


def test_records_of_two_types_are_two_tables():
    one, two = test_bench_command.record({AUTO: 0.5}), test_bench_command.record({AUTO: 0.5})
    two["case"]["dtype"] = "bfloat16"
    assert [len(found.records) for found in summary.benches([one, two, one])] == [2, 1]
