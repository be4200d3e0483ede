"""The bench as a command: its table, its rivals, its processes, its errors."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from bench_records import SPECS, record

from normsuite.bench import run, worker
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, COPY
from normsuite.errors import ArgumentError, UnknownNameError, UnsupportedError
from normsuite.machine import allocator
from normsuite.machine import device as devices
from normsuite.measure import implementations, listening, memory, process, task
from normsuite.measure.accuracy import Truth
from normsuite.measure.cases import CASES
from normsuite.measure.implementations import Implementation
from normsuite.measure.labels import COMPILED_FORMS
from normsuite.records import kinds, results, schema
from normsuite.spec import NORMS

COMMAND = Path(sys.executable).parent / "normsuite"


def test_the_default_table():
    tasks = task.plan()
    norms = {t.spec.name for t in tasks}
    assert norms == {spec.name for spec in SPECS}
    assert {t.spec.name for t in tasks if t.mode == "evaluation"} == {"BatchNorm"}
    assert {(t.mode, t.activation) for t in tasks if t.spec.name == "LayerNorm"} == {
        (mode, activation) for mode in ("forward", "step") for activation in (None, "relu")
    }
    assert {t.spec.affine for t in tasks if t.case.name == "vit"} == {"element"}
    for planned in tasks:
        assert task.Task.from_dict(json.loads(json.dumps(planned.as_dict()))).as_dict() == planned.as_dict()


def test_a_case_of_ones_own():
    (mine,) = task.plan(norms=["groupnorm"], own=[task.shape_case("2,12,5,5")], modes=["step"], activations=["silu"])
    assert (mine.case.name, mine.case.num_groups, mine.activation) == ("2×12×5×5", 4, "silu")
    assert task.shape_case("2,12,5,5", channels_last=True, num_groups=3).num_groups == 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: task.shape_case("2,x"), "shape = '2,x'"),
        (lambda: task.shape_case("5"), "shape = '5'"),
        (lambda: task.shape_case("2,4,8", channels_last=True), "four sizes"),
        (lambda: task.shape_case("2,4,8", num_groups=3), "groups = 3"),
        (lambda: task.plan(modes=["train"]), "mode = 'train': unknown; known are forward, step, evaluation"),
        (lambda: task.plan(activations=["gelu"]), "activation = 'gelu'"),
        (lambda: task.plan(dtypes=["int8"]), "dtype = 'int8'"),
        (lambda: task.plan(norms=["LayerNorm"], modes=["evaluation"]), "norm = 'LayerNorm'"),
        (lambda: task.plan(norms=["BatchNorm"], names=["token"]), "norm = 'BatchNorm'"),
        (lambda: implementations.choose(["tensorrt"]), "backend = 'tensorrt': unknown; known are torch.nn"),
        (lambda: run.run([], processes=0), "processes = 0"),
        (lambda: run.run([], budget_s=5.0), "budget = 5.0: is for accelerators"),
        (lambda: run.run([], seconds=math.nan), "seconds = nan"),
        (lambda: run.run([], threads=0), "threads = 0"),
    ],
)
def test_wrong_arguments_are_named(wrong, says):
    with pytest.raises(ArgumentError) as error:
        wrong()
    assert says in str(error.value)


def test_everyone_is_found_by_a_file():
    names = {c.name for c in implementations.everyone()}
    files = {"torch.nn", "copy", "auto", "torch", "reference", "torch.compile", "flax", "onnxruntime", "liger", "apex"}
    assert files <= names
    default = {c.label for c in implementations.choose()}
    assert "auto, preallocated" in default and "reference" not in default
    assert {c.name for c in implementations.choose(["reference"])} == {BASELINE, AGAIN, COPY, "reference"}


def test_a_rival_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(implementations, "find_spec", lambda package: None)
    (flax,) = (c for c in implementations.everyone() if c.name == "flax")
    tiny = task.Task(NORMS["BatchNorm"], CASES["tiny"], "forward")
    assert flax.why_not(tiny) == "jax and flax not installed: pip install 'normsuite[peers]'"


RIVALS = ("torch.nn", "torch.compile", "flax", "onnxruntime")
SMALL = (
    CASES["tiny"],
    CASES["token"],
    task.shape_case("2,8,6,5", channels_last=True, num_groups=4),
)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", [name for name in RIVALS if name != "torch.compile"])
def test_rivals_compute_the_norm(name, spec, case):
    """Also that an implementation is compared for what it says it computes: y and dx against the oracle."""
    if not case.suits(spec):
        pytest.skip("no such case")
    implementation = next(c for c in implementations.everyone() if c.label == name)
    for mode, activation in (("forward", None), ("step", "relu"), ("step", "silu"), ("evaluation", None)):
        made = task.Task(spec, case, mode, activation)
        if (mode == "evaluation" and spec.running != "always") or implementation.why_not(made):
            continue
        given = made.operands()
        with torch.set_grad_enabled(made.gradients):
            found = implementation.tensors(implementation.prepare(made, given)())
        output, gradient = Truth(made, given).errors(found)
        assert output < 2e-6 and (gradient is None) == (mode != "step") and (gradient or 0) < 2e-6


def test_torch_compile_computes_the_norm():
    from normsuite.measure.implementations.compile import formula

    for spec in SPECS:
        for mode in ("step", "evaluation") if spec.running == "always" else ("step",):
            made = task.Task(spec, CASES["tiny"], mode, "relu")
            given = made.operands()
            running = made.running()
            y = formula(made)(given.input, given.weight, given.bias, *running)
            found = [y, *(torch.autograd.grad(y, given.input, given.dy) if made.gradients else ())]
            output, gradient = Truth(made, given).errors([t.detach() for t in found])
            assert output < 2e-6 and (gradient or 0) < 2e-6
            if made.training and spec.running == "always":
                expected = made.running()
                torch.nn.functional.batch_norm(given.input.detach(), *expected, training=True)
                torch.testing.assert_close(running, expected)


@pytest.mark.slow  # compiles
@pytest.mark.parametrize("label", COMPILED_FORMS)
def test_each_compiled_form_computes_the_norm_and_its_activation(label):
    implementation = next(c for c in implementations.everyone() if c.label == label)
    made = task.Task(NORMS["BatchNorm"], CASES["tiny"], "step", "relu")
    assert implementation.why_not(made) is None
    given = made.operands()
    found = implementation.tensors(implementation.prepare(made, given)())
    output, gradient = Truth(made, given).errors(found)
    assert output < 2e-6 and gradient < 2e-6
    plain = task.Task(NORMS["BatchNorm"], CASES["tiny"], "step")
    assert (implementation.why_not(plain) is None) == ("apart" not in label)


def test_saved_bytes_are_counted_once_and_without_parameters():
    x, weight = torch.ones(1000, requires_grad=True), torch.ones(1000, requires_grad=True)

    def step():
        torch.autograd.grad((x * weight).exp().sum(), (x, weight))

    assert memory.saved_bytes(step) == 3 * 4000  # x, weight, exp's output
    assert memory.saved_bytes(step, beside=[weight]) == 2 * 4000


class Fake(Implementation):
    """Computes something else, cannot, or falls over."""

    def prepare(self, task, given):
        if self.name == "unable":
            raise UnsupportedError("backend", self.name, "has no such thing")
        if self.name == "broken":
            raise RuntimeError("out of\nluck")
        wrong = torch.zeros_like(given.input)
        return lambda: (wrong, wrong) if task.gradients else wrong


def test_who_computes_something_else_is_left_out_with_the_reason(monkeypatch):
    people = [*implementations.choose(["torch"]), *map(Fake, ("wrong", "unable", "broken"))]
    monkeypatch.setattr(worker, "choose", lambda names: people)
    tiny = task.Task(NORMS["RMSNorm"], CASES["tiny"], "step")
    found = []
    job = {"count": True, "tasks": [tiny.as_dict()], "backends": [], "threads": 2, "seconds": 0.1, "number": 0}
    worker.work(job, found.append)
    environment, begun, counted = found
    assert environment["environment"]["packages"]["torch"] and begun == {"begin": 0}
    assert counted["refused"]["unable"] == "has no such thing"
    assert counted["refused"]["broken"] == "failed: RuntimeError: out of luck"
    assert counted["different"]["wrong"].startswith("computes something else (")
    assert counted["counts"][BASELINE]["output_error"] < 1e-6 and counted["counts"][COPY]["peak_bytes"] == 4096
    worker.work({**job, "count": False, "seconds": 0.01, "number": 1}, found.append)
    timed = found[-1]
    assert {BASELINE, AGAIN, COPY, "torch", "wrong"} == set(timed["times_s"])
    assert all(len(times) == len(timed["times_s"][COPY]) >= 6 for times in timed["times_s"].values())
    table = run._Table([tiny], {"processes": 2}, None)
    for number, message in ((0, environment), (0, counted), (2, timed)):
        table.take(number, message)
    (made,) = table.records()
    assert schema.problem(made) is None
    first, second = made["samples"]["processes"]
    assert first["times_s"] == {} and "wrong" not in second["times_s"] and "wrong" in made["samples"]["refused"]


def test_a_dead_child_is_named_by_its_signal():
    code = "import os, sys; print('last words', file=sys.stderr); os.kill(os.getpid(), 11)"
    with pytest.raises(process.Died, match="SIGSEGV: last words"):
        list(listening.messages(["-c", code], {"tasks": []}, os.environ, first_s=60.0, limit_s=60.0))


def command(*arguments, cwd):
    return subprocess.run([COMMAND, "bench", *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


SHORT = ("--norm", "rmsnorm", "--backend", "torch", "--mode", "forward", "--processes", 2, "--seconds", 0.01)


def test_the_command(tmp_path):
    done = command(*SHORT, "--case", "tiny", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tasks"] == 2 and found["environment"]["allocator"] == allocator.PINNED
    assert {r["implementation"] for r in found["rows"]} == {BASELINE, AGAIN, COPY, COPY + ", preallocated", "torch"} | {
        r["implementation"] for r in found["rows"] if r["implementation"] == "torch, preallocated"
    }
    assert found["not_measured"] and found["summary"]["noise"]["tasks"] == 2
    records = results.read_records(tmp_path / "reports" / "bench", kinds.BENCH.what)
    assert len(records.good) == 2 and not records.damaged
    shown = command(*SHORT, "--shape", "2,6,3,3", "--activation", "none", "--processes", 1, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "RMSNorm, 2×6×3×3, forward" in shown.stdout and "noise: torch.nn / itself" in shown.stdout
    assert "not measured" in shown.stdout


def test_ctrl_c_keeps_what_is_finished_and_leaves_130(tmp_path):
    process = subprocess.Popen(
        [COMMAND, "bench", *map(str, SHORT), "--processes", "100", "--case", "tiny"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not list(tmp_path.rglob("bench-*.json")):  # the first process has ended
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted; what was finished is kept" in said
    assert len(results.read_records(tmp_path, kinds.BENCH.what).good) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--norm", "WeightNorm"], "norm = 'WeightNorm': unknown"),
        (["--case", "huge"], "case = 'huge': unknown"),
        (["--backend", "tensorrt"], "backend = 'tensorrt': unknown"),
        (["--shape", "2,0"], "shape = '2,0': must be positive sizes"),
        (["--groups", "2"], "shape = None: --channels-last and --groups describe a --shape"),
        (["--dtype", "int8"], "dtype = 'int8': unknown"),
        (["--device", "quantum"], "device = 'quantum': unknown; known are cpu, cuda"),
        pytest.param(
            ["--device", "cuda"],
            "device = 'cuda': not available here; available are cpu",
            marks=pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator"),
        ),
        (["--processes", "0"], "processes = 0: must be at least 1"),
        (["--out", "/proc/none"], "out = '/proc/none': cannot write there"),
    ],
)
def test_an_expected_error_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("normsuite: ")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda r: r["case"].pop("tiny"), "field `tiny` - at `$.case`"),
        (lambda r: r["case"].update(mode="fast"), "Invalid enum value 'fast' - at `$.case.mode`"),
        (lambda r: r["case"].update(dtype=["float32"]), "got `array` - at `$.case.dtype`"),
        (lambda r: r["case"].update(device=1), "got `int` - at `$.case.device`"),
        (lambda r: r["environment"].update(accelerator=[1]), "got `array` - at `$.environment.accelerator`"),
        (lambda r: r.update(settings=["processes"]), "got `array` - at `$.settings`"),
        (
            lambda r: r["samples"]["processes"][0].update(clock_mhz="fast"),
            "`$.samples.processes[0].clock_mhz`",
        ),
        (lambda r: r["samples"].pop("counts"), "field `counts` - at `$.samples`"),
        (lambda r: r["samples"]["processes"][0].pop("times_s"), "field `times_s` - at `$.samples.processes[0]`"),
        (lambda r: r["samples"]["processes"][0]["times_s"][AGAIN].pop(), "rounds are not complete"),
    ],
)
def test_damaged_records_are_told_from_good_ones(damage, says):
    made = record({AUTO: 0.5})
    assert schema.problem(made) is None
    damage(made)
    assert says in schema.problem(made)


def test_a_clock_that_cannot_be_read_is_none(monkeypatch):
    class Module:
        @staticmethod
        def clock_rate(device):
            raise LookupError("not for this device")

    monkeypatch.setattr(torch, "get_device_module", lambda device: Module)
    assert devices.clock_mhz("cuda") is None
    monkeypatch.setattr(Module, "clock_rate", staticmethod(lambda device: 1980))
    assert devices.clock_mhz("cuda") == 1980 and devices.clock_mhz("cpu") is None


def test_unknown_implementations_are_named_before_anything_runs():
    with pytest.raises(UnknownNameError):
        run.run(task.plan(names=["tiny"]), backends=["tensorrt"])
