"""The compiled kernels beside torch: threads, tracers, memory, and large results."""

import functools
import itertools
import math
import re
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from outcomes import EVERY_NORM, LAYOUTS, agree, close, drawn, outcome, same_bits
from strategies import num_groups
from torch.testing import assert_close

from normsuite import functional
from normsuite.measure import memory
from normsuite.spec import NORMS

pytest.importorskip("numba", reason="needs numba")
from normsuite.backends.numba import arguments, launch, operator, outputs, planning, tasks, threads
from normsuite.backends.numba.sizes import SIZES
from normsuite.tune import streaming

# ---- threads ----


@pytest.fixture
def with_threads():
    """Set torch's number of threads; it is restored."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("grained", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 3, 8, 100])
def test_a_thread_takes_its_share_in_order_then_those_of_others(workers, grained, monkeypatch):
    """A thread that runs alone does every task once: its own, then those of the following numbers."""
    shares, counts = min(workers, arguments.SHARES), Counter()

    def take(data, counter, count):
        counts[counter] += count
        return counts[counter] - count

    monkeypatch.setattr(tasks, "take", take)
    monkeypatch.setattr(tasks, "counted", lambda data, counter: counts[counter])
    monkeypatch.setattr(tasks, "arrived", None)
    for number, count in itertools.product({0, workers // 2, workers - 1}, (0, 1, 7, 300)):
        counts.clear()
        monkeypatch.setattr(tasks, "number", lambda a, number=number: number)
        a, done, finished = SimpleNamespace(workers=workers, tasks=count, grain=4, batch=3), [], []

        def do(a, data, here, first, last, code, streamed, done=done):
            done.append((first, last))

        def end(a, data, last, finished=finished):
            finished.append(last)

        tasks.loop(lambda a, data: None, do, end, grained=grained).py_func(a, None, 0, False)
        each = [task for first, last in done for task in range(first, last)]
        assert sorted(each) == list(range(count)) and finished == [count > 0]
        turned = each.index(0) if count else 0
        assert each[turned:] + each[:turned] == list(range(count))  # in order, but for where it begins
        assert all(last - first <= (3 if grained else 1) for first, last in done)
        if each and shares <= -(-count // 4):
            assert each[0] == -(-count // (4 if grained else 1)) * (number % shares) // shares * (4 if grained else 1)


BITS = [
    ("BatchNorm", (8, 16, 33, 31)),
    ("BatchNorm", (4, 2, 170, 71)),
    ("LayerNorm", (40, 6, 20, 20)),
    ("LayerNorm", (19, 8, 20, 20)),
    ("LayerNorm", (2, 2, 170, 71)),
    ("GroupNorm", (8, 16, 33, 31)),
    ("GroupNorm", (2, 2, 170, 71)),
    ("InstanceNorm", (8, 16, 33, 31)),
    ("InstanceNorm", (2, 2, 170, 71)),
    ("RMSNorm", (40, 6, 20, 20)),
]


@pytest.mark.parametrize(("dtype", "activation"), [(torch.float32, None), (torch.float64, "silu")], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("name", "shape"), BITS, ids=[f"{n}-{s[0]}x{s[1]}" for n, s in BITS])
def test_the_same_bits_for_any_number_of_threads(name, shape, layout, dtype, activation, with_threads):
    spec = NORMS[name]
    x = LAYOUTS[layout](drawn(*shape, dtype=dtype))
    assert x.numel() > 32768
    affine = shape[1:] if spec.affine == "element" else shape[1:2]
    weight = drawn(*affine, dtype=dtype, seed=1)
    bias = drawn(*affine, dtype=dtype, seed=2) if spec.centred else None
    found = []
    for count in (1, 2, 3):
        with_threads(count)
        running = [None, None]
        if spec.running != "never":
            running = [torch.zeros(shape[1], dtype=dtype), torch.ones(shape[1], dtype=dtype)]
        options = {"running_mean": running[0], "running_var": running[1], "num_groups": num_groups(spec)}
        options["activation"] = activation
        found.append(outcome(spec, x, weight, bias, backend="numba", **options) + [t for t in running if t is not None])
        if spec.running != "never":
            assert running[0].any()
            options["use_input_stats"] = False
            found[-1] += outcome(spec, x, weight, bias, backend="numba", **options)
    assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])


def test_kernels_follow_torch_s_number_of_threads(with_threads):
    if threads.why_serial():
        pytest.skip(threads.why_serial())
    for count in (1, 3, 2):
        with_threads(count)
        assert threads.count() == count


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_several_python_threads_at_once(layout):
    spec = NORMS["BatchNorm"]
    inputs = [LAYOUTS[layout](drawn(8, 16, 33, 31, dtype=torch.float32, seed=seed)) for seed in range(4)]
    weight, bias = drawn(16, dtype=torch.float32, seed=8), drawn(16, dtype=torch.float32, seed=9)

    def compute(x):
        return outcome(spec, x, weight, bias, backend="numba", activation="silu")

    expected = [compute(x) for x in inputs]
    together, wrong = threading.Barrier(len(inputs)), []

    def work(place):
        together.wait()
        try:
            if not all(same_bits(compute(inputs[place]), expected[place]) for _ in range(10)):
                wrong.append(place)
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# ---- torch's tracers ----


def operands(layout, trailing, dtype=torch.float32):
    x = LAYOUTS[layout](drawn(3, 4, 5, 6, dtype=dtype))
    affine = x.shape[len(x.shape) - trailing :] if trailing else (4,)
    weight, bias = drawn(*affine, dtype=dtype, seed=1), drawn(*affine, dtype=dtype, seed=2)
    spec = NORMS["LayerNorm" if trailing else "BatchNorm"]
    view = spec.view(x.shape, normalized_shape=tuple(affine) if trailing else None)
    return x, weight, bias, (" ".join(sorted(spec.axes)), True, operator.sizes_of(view, trailing), trailing > 0)


def test_an_operator_plans_a_call_once(monkeypatch):
    x, weight, bias, settings = operands("contiguous", 0)
    made = []
    make = planning.make
    monkeypatch.setattr(planning, "make", lambda *given, **named: made.append(given) or make(*given, **named))
    for _ in range(3):
        y, statistics = operator.OPERATORS.forward(x, weight, bias, None, None, *settings, 1e-4, None)
        operator.OPERATORS.backward(y, x, statistics, weight, bias, *settings, False, 1e-4, None)
    assert len(made) == 1


def test_a_gradient_of_the_bias_has_the_bias_s_type():
    """Not the weight's, in which a sum of a hundred thousand ones is infinite."""
    x = torch.zeros(100_000, 2, requires_grad=True)
    weight, bias = torch.ones(2, dtype=torch.float16, requires_grad=True), torch.zeros(2, requires_grad=True)
    functional.normalize(NORMS["BatchNorm"], x, weight, bias, backend="numba").sum().backward()
    assert bias.grad.dtype is torch.float32 and bias.grad.tolist() == [100_000.0] * 2


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # of opcheck
@pytest.mark.parametrize(
    ("layout", "trailing"), [("contiguous", 0), ("channels_last", 0), ("channels_last", 3), ("contiguous", 1)]
)
def test_the_operators_are_what_they_say_to_torch(layout, trailing):
    x, weight, bias, settings = operands(layout, trailing)
    running = (torch.zeros(4), torch.ones(4)) if not trailing else None
    given = [t.clone().requires_grad_() for t in (x, weight, bias)]
    assert given[0].stride() == x.stride()
    torch.library.opcheck(operator.OPERATORS.forward, (*given, None, None, *settings, 1e-5, "silu"))
    torch.library.opcheck(operator.OPERATORS.forward, (given[0], None, None, None, None, *settings, 1e-5, None))
    y, statistics = operator.OPERATORS.forward(x, weight, bias, None, None, *settings, 1e-5, None)
    dy = drawn(*y.shape, dtype=y.dtype, seed=5)
    torch.library.opcheck(operator.OPERATORS.backward, (dy, x, statistics, weight, bias, *settings, False, 1e-5, None))
    if running:
        torch.library.opcheck(operator.OPERATORS.forward, (*given, *running, *settings, 1e-5, None))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@EVERY_NORM
def test_a_compiled_graph_gives_the_same_gradients(spec, layout):
    torch._dynamo.reset()
    x = LAYOUTS[layout](drawn(3, 4, 5, 6))
    affine = x.shape[1:] if spec.affine == "element" else (4,)
    weight, bias = drawn(*affine, seed=1), drawn(*affine, seed=2) if spec.centred else None
    options = {"num_groups": num_groups(spec), "activation": "silu", "backend": "numba"}
    call = functools.partial(functional.normalize, spec, **options)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    given = [t.detach().requires_grad_() for t in (x, weight, bias) if t is not None]
    dy, found = drawn(*x.shape, seed=9), []
    for compute in (compiled, call):
        y = compute(*given)
        found.append([y.detach(), *torch.autograd.grad(y, given, dy)])
    close(found[0], found[1], 1e-13)
    assert found[0][0].stride() == found[1][0].stride()


# ---- memory ----


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_working_memory_is_torch_s_and_little(layout):
    x = LAYOUTS[layout](drawn(16, 16, 64, 64, dtype=torch.float32))
    output, statistics = 4 * x.numel(), 4 * 16 * 4
    with torch.no_grad():
        peak = memory.peak_bytes(
            lambda: functional.batch_norm(x, None, None, training=True, activation="relu", backend="numba")
        )
    assert output + statistics <= peak <= 1.1 * output
    if layout == "channels_last":
        assert peak > output + statistics  # columns are summed somewhere


def test_parts_leave_their_sums_in_torch_s_memory():
    x = drawn(1, 1, 512, 512, dtype=torch.float32)
    with torch.no_grad():
        peak = memory.peak_bytes(lambda: functional.instance_norm(x, backend="numba"))
    assert 4 * x.numel() + 4 * 4 < peak <= 1.1 * 4 * x.numel()


# ---- large results ----

LARGE = [
    ("BatchNorm", (3, 5, 23, 45)),
    ("GroupNorm", (3, 6, 33, 31)),
    ("InstanceNorm", (9, 5, 33, 31)),
    ("LayerNorm", (9, 6, 33, 61)),
    ("LayerNorm", (9, 2, 90, 71)),
    ("LayerNorm", (3, 2, 90, 71)),
    ("RMSNorm", (10, 6, 33, 61)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("name", "shape"), LARGE, ids=[f"{n}-{'x'.join(map(str, s))}" for n, s in LARGE])
def test_what_is_written_past_the_caches_has_the_same_bits(name, shape, layout, dtype, monkeypatch):
    """Rows that begin and end in the middle of a line, and more numbers than a buffer holds."""
    spec, x = NORMS[name], LAYOUTS[layout](drawn(*shape, dtype=dtype))
    of_affine = shape[1:] if spec.affine == "element" else shape[1:2]
    weight = drawn(*of_affine, seed=1, dtype=dtype)
    bias = drawn(*of_affine, seed=2, dtype=dtype) if spec.centred else None
    computed = functools.partial(outcome, spec, x, weight, bias, num_groups=num_groups(spec), backend="numba")
    wanted = computed()
    monkeypatch.setattr(outputs, "STREAMED", {"forward": 0, "backward": 0})
    monkeypatch.setattr(launch, "SIZES", replace(SIZES, shortest_run=0))
    asked, get = [], launch.kernels.get
    monkeypatch.setattr(launch.kernels, "get", lambda *given: asked.append(given) or get(*given))
    found = computed()
    asked = [given for given in asked if given[0] != "transposing.transpose"]
    long = spec.affine == "element" and x[0].numel() > SIZES.rows_in_cache and planning.parts_for(x.numel()) > 1
    assert [streamed for _, _, _, streamed in asked] == [True, not long]
    assert same_bits(found, wanted)


def test_what_shares_a_line_with_others_is_not_touched():
    room = torch.full((4096,), 7.0)
    inner = room[3:-5].view(1, 4, 1022)
    x = drawn(1, 4, 1022, dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "STREAMED", {"forward": 0})
        asked, get = [], launch.kernels.get
        patch.setattr(launch.kernels, "get", lambda *given: asked.append(given) or get(*given))
        y = functional.instance_norm(x, out=inner, backend="numba")
    assert [streamed for _, _, _, streamed in asked] == [True]
    assert_close(y, functional.instance_norm(x, backend="reference"))
    assert y.data_ptr() == inner.data_ptr() and (room[:3] == 7).all() and (room[-5:] == 7).all()


def test_only_what_is_large_and_lies_together_is_written_past_the_caches(monkeypatch):
    monkeypatch.setattr(outputs, "STREAMED", {"forward": 2**22, "backward": 2**20})

    def streamed(x, spec, count, parts=1):
        s = operator.Settings(spec.axes, True, operator.sizes_of(spec.view(x.shape), 0), False, False, 1e-5, None)
        return launch._streamed(s.launch(x, None).plan, torch.empty(count, dtype=x.dtype), "backward", parts)

    instance, many = NORMS["InstanceNorm"], outputs.STREAMED["backward"] // 4
    assert streamed(torch.empty(2, 3, 32, 32), instance, many)
    assert not streamed(torch.empty(2, 3, 32, 32), instance, many - 1)
    assert not streamed(torch.empty(2, 3, 7, 7), instance, many), "rows of 196 bytes"
    last = torch.empty(2, 64, 32, 32).contiguous(memory_format=torch.channels_last)
    assert streamed(last, instance, many)
    assert not streamed(last, instance, many, parts=2), "another task writes what this one reads"
    wide = torch.empty(2, 2048, 2, 2).contiguous(memory_format=torch.channels_last)
    assert not streamed(wide, instance, many), "a row does not fit into the buffer"


def test_rows_that_are_worked_on_together_give_what_all_at_once_give(monkeypatch):
    x = drawn(11, 2, 90, 71)
    monkeypatch.setattr(launch, "SIZES", replace(SIZES, together=5 * x[0].numel()))
    for activation in (None, "relu"):
        agree(NORMS["LayerNorm"], x, drawn(*x.shape[1:], seed=1), drawn(*x.shape[1:], seed=2), activation=activation)


def test_parts_of_few_long_rows_are_worked_on_by_all_threads(monkeypatch):
    """There are more of them than tasks in the forward pass, which has one for each row."""
    x = drawn(9, 20_000, dtype=torch.float32).requires_grad_()
    y = functional.layer_norm(x, (20_000,), torch.ones(20_000), torch.zeros(20_000), backend="numba")
    asked = []
    monkeypatch.setattr(threads, "count", lambda: 64)
    monkeypatch.setattr(threads, "run", lambda kernel, a, phase, count: asked.append((count, a.tasks)))
    torch.autograd.grad(y, x, torch.ones_like(y))
    assert asked and all(count == min(64, tasks) for count, tasks in asked)
    assert max(count for count, _ in asked) > len(x)


@pytest.mark.parametrize(("name", "layout"), streaming.NORMALISED, ids=lambda given: str(given))
def test_both_ways_to_write_are_measured_in_the_same_chains(name, layout):
    before = dict(outputs.STREAMED)
    for chain, call in streaming.chains(name, layout, batch=2).items():
        first, second = call(), call()
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else same_bits(first, second)
        assert math.isfinite(streaming.ratio(chain, call, 0.005))
    assert before == outputs.STREAMED


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's list of what memory was asked for")
def test_large_results_ask_for_large_pages():
    def asked(y):
        mapped = Path("/proc/self/smaps").read_text().split("VmFlags:")
        for before, after in itertools.pairwise(mapped):
            begin, end = (int(at, 16) for at in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) ", before, re.MULTILINE)[-1])
            if begin <= y.data_ptr() + y.nbytes // 2 < end:
                return "hg" in after.split("\n")[0].split()
        raise AssertionError("its memory is not mapped")

    x = torch.empty(32 * SIZES.huge // 4)
    assert asked(outputs.like(x)) and not asked(torch.empty_like(x))
    turned = torch.empty(2, 3, 4, 5).movedim(1, -1)
    assert outputs.like(turned).stride() == turned.stride()
