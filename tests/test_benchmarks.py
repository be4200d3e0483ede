"""`pytest --benchmark-only` measures asv's cases; a plain run checks that asv's benchmarks run and what they refuse."""

import pytest
import strategies
import torch
from asv.util import load_json
from asv_benchmarks import (
    ROOT,
    ModuleStep,
    Step,
    environment,
    latency,
    memory_benchmarks,
    mnist,
    numerics,
    parameters,
    samples,
)

from normsuite.machine import allocator
from normsuite.measure import labels

ON_CPU = [name for name in parameters.BACKENDS if name in strategies.ON_CPU]


@pytest.mark.parametrize("mode", ["forward", "step"])
@pytest.mark.parametrize("case", parameters.CASES)
@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("norm", parameters.NORMS)
def test_latency(benchmark, norm, backend, case, mode):
    timed(benchmark, Step(), (norm, backend, case, "cpu"), mode)


@pytest.mark.parametrize("mode", ["forward", "step"])
@pytest.mark.parametrize("module", parameters.MODULES)
def test_latency_of_modules(benchmark, module, mode):
    timed(benchmark, ModuleStep(), (module, "auto", "cpu"), mode)


def timed(benchmark, step, cell, mode):
    step.setup(*cell)
    workload, (call,), _ = step.prepared(mode)
    benchmark.group = f"{workload.task.case.name}, {mode}"
    with torch.set_grad_enabled(workload.task.gradients):
        benchmark(call)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("norm", parameters.NORMS)
def test_every_cell_measures_something(norm, backend):
    cell = (norm, backend, "tiny", "cpu")
    for kind in (latency.Latency(), memory_benchmarks.Memory()):
        kind.setup(*cell)
        value = kind.track_training_step(*cell)
        assert value > 0 if isinstance(value, int) else len(samples(value)) >= 10 and min(samples(value)) > 0
    timed = latency.Latency()
    timed.setup(*cell)
    assert min(samples(timed.track_forward(*cell))) > 0


@pytest.mark.parametrize("module", parameters.MODULES)
def test_every_module_is_measured(module):
    cell = (module, "auto", "cpu")
    timed, counted = latency.Module(), memory_benchmarks.ModuleMemory()
    for kind in (timed, counted):
        kind.setup(*cell)
    assert min(samples(timed.track_forward(*cell)) + samples(timed.track_training_step(*cell))) > 0
    assert counted.track_training_step(*cell) > 0


def test_calls_of_an_accelerator_s_size_are_measured_on_one_alone():
    """The processor stands for the accelerator, with a small case in place of a large one."""
    assert set(parameters.DTYPES) == {"float32", "bfloat16"}
    assert {name.partition("/")[0] for name in parameters.LARGE} == set(parameters._NORMS)
    large = latency.Large()
    if not torch.cuda.is_available():
        with pytest.raises(NotImplementedError, match="no cuda"):
            large.setup("GroupNorm/unet-64", "triton", "float32", "cuda")
    large.setup("GroupNorm/tiny", "torch", "bfloat16", "cpu")
    workload, _, given = large.prepared("step")
    assert (workload.task.dtype, given.input.dtype) == ("bfloat16", torch.bfloat16)
    assert min(samples(large.track_training_step("GroupNorm/tiny", "torch", "bfloat16", "cpu"))) > 0


def test_a_small_call_s_host_time_is_measured_on_an_accelerator_alone(monkeypatch):
    """The processor stands for the accelerator, since its own clock is the host's."""
    launch = latency.Launch()
    assert launch.params == (parameters.NORMS, parameters.BACKENDS, ["tiny"], ["cuda"])
    cell = ("GroupNorm", "torch", "tiny", "cpu")
    launch.setup(*cell)
    asked = []
    timers = latency.kit.clock.timers
    monkeypatch.setattr(latency.kit.clock, "timers", lambda calls, **how: asked.append(how) or timers(calls, **how))
    for track in (launch.track_forward, launch.track_training_step, launch.track_backward):
        assert min(samples(track(*cell))) > 0
    assert asked == [{"device": "cpu", "host_time": True}] * 3


def test_the_lists_of_parameters_only_grow():
    """asv knows a parameter by its place."""
    assert parameters.NORMS[:5] == ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"]
    assert parameters.BACKENDS[:5] == ["torch", "reference", "numba", "triton", "auto"]
    assert parameters._grown(["b", "a"], ["a", "c", "b"]) == ["b", "a", "c"]


def test_the_numerical_error_grows_with_the_mean():
    errors = []
    for mean in numerics.MEANS:
        benchmark = numerics.RelativeError()
        cell = ("LayerNorm", "torch", "study", "cpu", mean)
        benchmark.setup(*cell)
        errors.append(benchmark.track_output(*cell))
    assert 0 < errors[0] < errors[1] < 1


def test_the_error_rate_has_a_sample_for_each_seed(digits, monkeypatch):
    monkeypatch.setattr(mnist, "TRAIN_SIZE", 1280)
    benchmark = mnist.ErrorRate()
    cell = ("BatchNorm", "torch", "study", "cpu")
    benchmark.setup(*cell)
    rates = samples(benchmark.track_mnist(*cell))
    assert len(rates) == len(mnist.SEEDS) and all(0 < rate < 0.9 for rate in rates)


@pytest.mark.parametrize(
    "cell",
    [
        ("WeightNorm", "torch", "cpu"),
        ("BatchNorm", "fast", "cpu"),
        ("BatchNorm", "torch", "quantum"),
        ("BatchNorm", "triton", "cpu"),
    ],
)
def test_what_a_commit_or_a_machine_lacks_is_not_available(cell):
    with pytest.raises(NotImplementedError):  # asv shows n/a
        parameters.require(*cell)


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("2.14.1+cpu", 2_014_001),
        ("2.9.0rc1", 2_009_000),
        ("2.8.0a0+5228986.nv25.05", 2_008_000),
        ("3.0", 3_000_000),
        ("2.15.0.dev20261101+cu130", 2_015_000),
    ],
)
def test_the_version_of_torch_is_tracked_as_a_number(monkeypatch, version, number):
    monkeypatch.setattr(torch, "__version__", version)
    assert environment.Environment().track_torch() == number


def test_asv_pins_the_allocator_as_the_suite_s_processes_do():
    settings = load_json(ROOT / "asv.conf.json", js_comments=True)
    assert settings["matrix"]["env"] == {name: [value] for name, value in allocator.PINNED.items()}


def test_the_names_that_the_package_knows_are_those_of_asv_s_benchmarks():
    homes = {
        "latency": latency,
        "memory": memory_benchmarks,
        "numerics": numerics,
        "mnist": mnist,
        "environment": environment,
    }
    names = [value for name, value in vars(labels).items() if name.startswith("ASV_")]
    flat = [name for of in names for name in (of.values() if isinstance(of, dict) else [of])]
    assert len(flat) == 7
    for name in flat:
        module, kind, function = name.split(".")
        assert callable(getattr(getattr(homes[module], kind), function))


def test_every_asv_benchmark_sets_version_timeout_and_unit():
    timed = (latency.Latency, latency.Module, latency.Large, latency.Launch)
    counted = (memory_benchmarks.Memory, memory_benchmarks.ModuleMemory)
    for benchmark in (*timed, *counted, numerics.RelativeError, mnist.ErrorRate):
        assert benchmark.version and benchmark.timeout and benchmark.unit != "unit"
        assert len(benchmark.params) == len(benchmark.param_names)
