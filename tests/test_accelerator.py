"""What is promised of an accelerator, on one: norms, clocks, bytes, a bench, a study and asv's cells."""

import math
from dataclasses import replace

import asv_benchmarks
import pytest
import torch
from outcomes import EVERY_NORM, drawn

from normsuite import backends, functional, modules
from normsuite.bench import run
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, COPY, Bench
from normsuite.errors import UnsupportedError
from normsuite.machine import device as devices
from normsuite.measure import accuracy, clock, implementations, memory, task
from normsuite.measure.accuracy import Truth
from normsuite.measure.cases import CASES
from normsuite.measure.workload import named
from normsuite.spec import NORMS
from normsuite.study.train import Run, train

FOUND = torch.accelerator.current_accelerator(check_available=True)
DEVICE = FOUND.type if FOUND else "none"
pytestmark = pytest.mark.skipif(FOUND is None, reason="needs an accelerator")

ON_CPU_ONLY = ("numba",)
MOST_BYTES_A_SECOND = 1e14
"""Ten times what the fastest caches give."""

SHOWN = [CASES[name] for name in ("tiny", "study", "study-7", "token", "vit")]

# Of the largest difference to the oracle, over the root mean square.
BOUNDS = {torch.float64: 1e-13, torch.float32: 4e-6, torch.float16: 8 * 2**-10, torch.bfloat16: 8 * 2**-7}


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("backend", [name for name in (AUTO, *backends.NAMES) if name not in ON_CPU_ONLY])
@EVERY_NORM
def test_every_norm_gives_what_the_oracle_gives(spec, backend, dtype):
    if backend == "triton" and dtype == torch.float64:
        pytest.skip("the kernels compute in float32")
    implementation = next(c for c in implementations.everyone() if c.label == backend)
    for case in SHOWN:
        if case.suits(spec):
            made = task.Task(spec, case, "step", dtype=str(dtype).removeprefix("torch."), device=DEVICE)
            given = made.operands()
            errors = Truth(made, given).errors(implementation.tensors(implementation.prepare(made, given)()))
            assert max(errors) < BOUNDS[dtype], case.name


@pytest.mark.parametrize("backend", ON_CPU_ONLY)
@EVERY_NORM
def test_kernels_of_the_processor_say_so(spec, backend):
    with pytest.raises(UnsupportedError, match=f"{backend}.*{DEVICE}"):
        accuracy.errors(named(spec.name, backend, "tiny", device=DEVICE))


@pytest.mark.parametrize("activation", backends.ACTIVATIONS)
@EVERY_NORM
def test_an_activation_follows(spec, activation):
    for mode in ("forward", "step"):
        made = task.Task(spec, CASES["study"], mode, activation, device=DEVICE)
        given = made.operands()
        ours = next(c for c in implementations.everyone() if c.label == AUTO)
        with torch.set_grad_enabled(made.gradients):
            found = ours.tensors(ours.prepare(made, given)())
        output, gradient = Truth(made, given).errors(found)
        assert output < 4e-6 and (gradient or 0) < 4e-6


def test_an_output_that_exists_is_written():
    x = drawn(4, 8, 5, 5, dtype=torch.float32).to(DEVICE)
    out = torch.full_like(x, math.nan)
    with torch.no_grad():
        assert functional.group_norm(x, 4, activation="relu", out=out) is out
        torch.testing.assert_close(out, torch.relu(torch.nn.functional.group_norm(x, 4)))


def test_a_module_moves_there_and_back():
    """Running statistics too; what it learned there it computes here."""
    norm = modules.BatchNorm(8)
    x = drawn(16, 8, 5, 5, dtype=torch.float32)
    norm.to(DEVICE)(x.to(DEVICE)).sum().backward()
    assert {t.device.type for t in norm.state_dict().values()} == {DEVICE} == {norm.weight.grad.device.type}
    there = norm.eval()(x.to(DEVICE)).cpu()
    torch.testing.assert_close(norm.cpu()(x), there, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of what its compiler imports
def test_the_compiler_takes_it_there():
    norm = modules.GroupNorm(4, 8, activation="silu").to(DEVICE)
    x = drawn(4, 8, 5, 5, dtype=torch.float32).to(DEVICE)
    torch.testing.assert_close(torch.compile(norm, fullgraph=True)(x), norm(x), rtol=1e-4, atol=1e-5)


def test_samples_are_the_device_s_time_and_not_the_launch_s():
    """A product of 8.8 · 10¹² operations, which a launch does not wait for and no device does within a millisecond."""
    a = torch.randn(16384, 16384, device=DEVICE)
    with clock.timers({"": [lambda: a @ a]}, device=DEVICE) as timers:
        samples = clock.samples(timers[""], seconds=0.01, least=2, most=2)
    assert len(samples) == 2 and min(samples) > 1e-3


def test_peak_bytes_are_the_allocator_s():
    x = torch.zeros(2**20, device=DEVICE)  # 4 MiB
    assert memory.peak_bytes(lambda: x + 1, device=DEVICE) == x.nbytes
    assert memory.peak_bytes(lambda: (x + 1) + (x + 2), device=DEVICE) == 3 * x.nbytes
    assert memory.peak_bytes(lambda: x.add_(1), device=DEVICE) == 0


def test_the_device_says_what_it_is():
    assert devices.check(DEVICE) == DEVICE and devices.name(DEVICE)
    assert devices.cache_bytes(DEVICE) >= 2**20
    if torch.version.cuda:
        assert "driver" in devices.driver(DEVICE)


def test_a_bench_has_a_record():
    """No step is faster than its traffic; names and bytes are in the record."""
    tasks = [task.Task(NORMS["LayerNorm"], CASES["vit"], "step", "relu", device=DEVICE)]
    outcome = run.run(tasks, backends=[AUTO], processes=2, seconds=0.02)
    (record,) = outcome.records
    unread = [note for note in outcome.notes if not note.startswith("clocks and power are not read")]
    assert not unread and record["settings"]["clock"] == run.CLOCK
    assert record["environment"]["accelerator"] == devices.name(DEVICE)
    assert record["environment"]["driver"] == devices.driver(DEVICE)
    clocks = [found["clock_mhz"] for found in record["samples"]["processes"]]
    assert len(clocks) == 2 and (None in clocks) == (devices.clock_mhz(DEVICE) is None)
    rows = {row.implementation: row for row in Bench([record]).rows}
    assert {BASELINE, AGAIN, COPY, AUTO} <= rows.keys()
    tensor = tasks[0].case.bytes
    for name in (BASELINE, AUTO):
        row = rows[name]
        assert row.time_s.value > 5 * tensor / MOST_BYTES_A_SECOND and row.gradient_error < 4e-6
        assert row.peak_bytes >= 2 * tensor and row.saved_bytes >= tensor
    assert rows[COPY].peak_bytes == tensor


def test_a_run_of_the_study_learns(digits):
    run_there = Run("BatchNorm", 0, epochs=2, train_size=6400, device=DEVICE)
    last = train(run_there, digits.to(DEVICE)).epochs[-1]
    here = train(replace(run_there, device="cpu"), digits).epochs[-1]
    assert last.test_accuracy > 0.9 and last.test_accuracy == pytest.approx(here.test_accuracy, abs=0.02)


@EVERY_NORM
def test_asv_measures_it(spec):
    cell = (spec.name, "torch", "tiny", DEVICE)
    for kind in (asv_benchmarks.latency.Latency(), asv_benchmarks.memory_benchmarks.Memory()):
        kind.setup(*cell)
        value = kind.track_training_step(*cell)
        assert value > 0 if isinstance(value, int) else min(asv_benchmarks.samples(value)) > 0
