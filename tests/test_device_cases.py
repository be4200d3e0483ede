"""Modes, cases, errors and records of the bench on an accelerator."""

import json
import math
import sys
import types
from dataclasses import replace

import bench_records
import pytest
import report_records
import torch
from device_double import Double
from gate_records import record as gate_record

import normsuite
from normsuite import report
from normsuite.bench import summary, tables, worker
from normsuite.bench.sentences import sentences
from normsuite.bench.summary import AUTO, BASELINE, Bench
from normsuite.gate import counting, groups
from normsuite.gate import tables as gate_tables
from normsuite.gate.cells import cell_from_dict
from normsuite.machine import device as devices
from normsuite.machine import device_state
from normsuite.measure import (
    accuracy,
    cases,
    device_accuracy,
    device_clock,
    implementations,
    operands,
    own_workloads,
    task,
    workload,
)
from normsuite.measure.accuracy import Truth
from normsuite.measure.cases import CASES, Case
from normsuite.measure.task import Task
from normsuite.records import results, schema
from normsuite.spec import NORMS

ROWS = Case("rows", (32, 64), 4, "rows", normalized_shape=(64,))
VOLUMES = Case("volumes", (2, 8, 3, 4, 5), 4, "volumes", channels_last=True)


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


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(devices, "check", lambda device: device)
    return task.plan(device="cuda")


def test_a_mode_that_some_norms_lack_is_planned_for_the_others():
    planned = own_workloads.plan(modes=["evaluation"])
    assert planned and {cell.task.mode for cell in planned} == {"evaluation"}
    assert {cell.task.spec.name for cell in planned} == {"BatchNorm"}
    assert any(cell.backend in own_workloads.MODULES for cell in planned), "modules, too"


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
    y, dx = 1.001 * y.detach(), dx + 1e-3 * dx.abs().max()  # the injected errors leave every sign of y
    expected = Truth(made, given).errors((y, dx))
    assert device_accuracy.DeviceTruth(made, given).errors((y, dx)) == pytest.approx(expected, rel=1e-6)
    backward = device_accuracy.DeviceTruth(replace(made, mode="backward"), given).errors((dx,))
    assert backward == (None, pytest.approx(expected[1], rel=1e-2))
    some = device_accuracy.DeviceTruth(made, given, most=2 * case.bytes // 4 // case.shape[0])
    assert 0 < some.errors((y, dx))[0] <= expected[0] * 1.5


@pytest.mark.parametrize("axes", [("group",), ("spatial",), ("batch", "group"), ("batch", "group", "spatial")], ids=str)
def test_errors_there_of_own_norms_are_the_oracle_s_over_their_axes(axes):
    spec = replace(NORMS["GroupNorm"], name="Own", axes=frozenset(axes))
    made = Task(spec, CASES["tiny"], "step")
    given = made.operands()
    x = given.input.detach().double().reshape(2, 4, 2, -1).requires_grad_()
    dims = [place for place, axis in ((0, "batch"), (2, "group"), (3, "spatial")) if axis in axes]
    mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    weight, bias = (t.detach().double().reshape(1, 4, 2, 1) for t in (given.weight, given.bias))
    y = (x - mean) / (var + task.EPS).sqrt() * weight + bias
    (dx,) = torch.autograd.grad(y, x, given.dy.double().reshape(x.shape))
    found = [t.detach().reshape(given.input.shape) for t in (y, dx)]
    assert max(device_accuracy.DeviceTruth(made, given).errors(found)) < 1e-12
    assert max(Truth(made, given).errors(found)) < 1e-12


def test_an_evaluation_s_error_is_the_oracle_s():
    made = Task(NORMS["BatchNorm"], CASES["tiny"], "evaluation")
    given = made.operands()
    y = implementations.everyone()[0].prepare(made, given)().detach() + 1e-3
    expected = Truth(made, given).errors((y,))
    assert device_accuracy.DeviceTruth(made, given).errors((y,)) == (pytest.approx(expected[0], rel=1e-6), None)


def test_the_gate_computes_errors_there_with_the_parameters_that_it_times(monkeypatch):
    monkeypatch.setattr(Task, "on_accelerator", property(lambda task: True))
    monkeypatch.setattr(accuracy, "Truth", None)  # which computes on the processor
    counting._truth.cache_clear()
    for mode, metric, norm in (("step", "gradient", "BatchNorm"), ("forward", "output", "LayerNorm")):
        cell = workload.named(norm, "torch", "tiny", mode, dtype="bfloat16")
        found = counting.errors(normsuite, cell)
        assert found[f"{metric} error at mean 0"] < 0.05, found
        given, _ = counting._truth(cell.task, 0.0)
        assert given.weight.dtype == cell.task.parameter_dtype
    counting._truth.cache_clear()


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


def test_the_driver_is_asked_while_the_device_works():
    double = Double()

    class State:
        def read(self):
            double.log.append("read")
            return {"sm_mhz": 1980}

    assert device_clock.state_under_load(double, State()) == {"sm_mhz": 1980}
    assert double.log == ["occupy", "read", "synchronize"] and double.now_s >= 0.01
    assert device_clock.environment("cpu") == {}


# ---- records ----


def with_host(record):
    state = {"power_w": 300.0, "power_limit_w": 700.0, "throttled": ["power cap"], "sm_mhz": 1980}
    for of_process in record["samples"]["processes"]:
        of_process["host_s"] = {name: [t / 100 for t in times] for name, times in of_process["times_s"].items()}
        of_process |= {"not_captured": {AUTO: "no graph"}, "operand_sets": 2, "device_state": [None, state]}
    record["case"] |= {"device": "cuda"}
    record["environment"] |= {"accelerator": "Model", "device": {"multiprocessors": 132, "cache_bytes": 50 * 2**20}}
    return record


def test_a_gate_on_an_accelerator_says_which_and_in_what_state():
    made = gate_record()
    made["environment"] |= {"accelerator": "Model", "device": {"cache_bytes": 50 * 2**20, "multiprocessors": 132}}
    made["environment"]["device_state"] = {"power_w": 300.0, "power_limit_w": 700.0, "throttled": ["power cap"]}
    rows = dict(gate_tables.method(made).rows)
    assert (rows["accelerator"], rows["accelerator's last-level cache"]) == ("Model", "50 MiB")
    assert (rows["power"], rows["slowed down by"]) == ("300 W of 700 W", "power cap")
    assert schema.problem(made) is None
    made["environment"]["device_state"] = "nvidia-ml-py is not installed"
    assert "power" not in dict(gate_tables.method(made).rows)


def test_the_gate_s_table_on_an_accelerator_has_cases_of_its_size(monkeypatch):
    monkeypatch.setattr(devices, "check", lambda device: device)
    planned = own_workloads.plan(device="cuda")
    found = [cell.task for cell in planned if " " not in cell.backend and not cell.task.host_time]
    assert {task.case.name for task in found} == set(own_workloads.ACCELERATOR_CASES)
    assert {task.dtype for task in found} == {"float32", "bfloat16"}
    assert {task.spec.name for task in found} == set(NORMS)
    assert {task.activation for task in found} == {None, "silu"}
    named = own_workloads.plan(device="cuda", cases=["tiny"], dtypes=["float16"])
    assert {(cell.task.case.name, cell.task.dtype, cell.task.host_time) for cell in named} == {
        ("tiny", "float16", False)
    }


def test_the_gate_s_table_on_an_accelerator_has_small_calls_by_the_host_s_clock(monkeypatch):
    monkeypatch.setattr(devices, "check", lambda device: device)
    cells = own_workloads.plan(device="cuda")
    of_host = [cell for cell in cells if cell.task.host_time]
    assert all(groups.is_of_host_time(cell.name) == cell.task.host_time for cell in cells)
    assert {cell.backend for cell in of_host} == {AUTO, *own_workloads.MODULES}
    assert {(c.task.spec.name, c.task.mode) for c in of_host} == {(n, m) for n in NORMS for m in own_workloads.MODES}
    assert all(cell.task.host_time for cell in cells if " " in cell.backend)
    for cell in of_host:
        assert cell.task.dtype == "float32" and cell.task.case.name.startswith("tiny")
        again = cell_from_dict(json.loads(json.dumps(cell.as_dict())))
        assert (again.name, again.as_dict()) == (cell.name, cell.as_dict()) and again.task.host_time
        assert cell.name in {only.name for only in own_workloads.plan(device="cuda", only=[cell.name])}
    (one,) = own_workloads.plan(device="cuda", only=["RMSNorm/triton/*/step/host"])
    assert one.name == "RMSNorm/triton/tiny/step/host"
    of_groups = groups.of_cells(cell.name for cell in cells)
    assert {"all triton", "all auto, host"} <= of_groups.keys()
    for name, members in of_groups.items():
        assert {groups.is_of_host_time(member) for member in members} == {groups.is_of_host_time(name)}
    assert not [cell for cell in own_workloads.plan(everything=True) if cell.task.host_time], "the processor has one"


def test_device_time_and_host_time_stand_side_by_side():
    found = Bench([with_host(bench_records.record({AUTO: 0.5}, mode="backward"))])
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
    made = bench_records.record({AUTO: 0.5})
    found = Bench([made])
    assert found.host is None and found.time == "time" and found.rows[0].host_s is None
    assert not math.isnan(found.rows[0].time_s.value)
    made["samples"]["processes"][0]["host_s"] = {AUTO: [1.0], BASELINE: [1.0, 1.0]}
    assert "rounds are not complete" in schema.problem(made)


def test_the_report_names_both_times(tmp_path):
    source = report_records.write_source(tmp_path)
    for norm in ("RMSNorm", "LayerNorm"):
        record = with_host(bench_records.record({AUTO: 0.5}, norm=norm, mode="backward"))
        results.write_record(source / "bench", f"bench-{norm}", record)
    page, _ = report.write(source, tmp_path / "html")
    cost, method = (page.with_name(f"{name}.html").read_text() for name in ("cost", "method"))
    assert "Every task (Model): device time and host time" in cost and "Host time / host time of torch.nn" in cost
    assert "Backward: geometric mean of the device time" in cost and "Backward: geometric mean of the host time" in cost
    assert "300 W of 700 W" in method and "power cap" in method


def test_records_of_two_types_are_two_tables():
    one, two = bench_records.record({AUTO: 0.5}), bench_records.record({AUTO: 0.5})
    two["case"]["dtype"] = "bfloat16"
    assert [len(found.records) for found in summary.benches([one, two, one])] == [2, 1]
