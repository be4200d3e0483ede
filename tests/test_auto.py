"""The backend that chooses: what it chooses and why, and that nothing else about a call depends on it."""

import gc
import itertools
import math
import weakref
from dataclasses import replace

import pytest
import torch
from strategies import ON_CPU, num_groups
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from normsuite import accelerators, backends, fast_path, functional, modules
from normsuite.backends import auto
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, UnknownNameError, UnsupportedError
from normsuite.measure.task import Task
from normsuite.spec import NORMS
from normsuite.tune import crossover as crossing

EVERY_NORM = pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)


def from_on(**least):
    """An entry of the table: for each mode the kernels from so many elements on."""
    return {"lengths": [1], **{mode: [numbers] for mode, numbers in least.items()}}


LEAST = from_on(forward=1000, step=2000, forward_activated=1000, step_activated=1500)
LEAST_LAST = from_on(forward=3000, step=4000, forward_activated=1000, step_activated=1000)


def of_layouts(spec, contiguous, channels_last):
    """A norm's part of the table."""
    return {name: channels_last if name.startswith("channels") else contiguous for name in crossing.layouts(spec)}


def forget(monkeypatch):
    """As if nothing had been computed yet."""
    monkeypatch.setattr(functional, "checked_calls", {})
    monkeypatch.setattr(fast_path, "checked_calls", functional.checked_calls)


@pytest.fixture
def measured(monkeypatch):
    """A table of our own, whatever was measured: for every norm but RMSNorm."""
    names = [name for name in NORMS if name != "RMSNorm"]
    table = {name: of_layouts(NORMS[name], LEAST, LEAST_LAST) for name in names}
    monkeypatch.setattr(auto, "table", lambda: table)
    forget(monkeypatch)
    return table


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def call(spec, x, **given):
    """The checked call that a backend sees."""
    shape = tuple(x.shape[1:]) if spec.affine == "element" else None
    groups = num_groups(spec)
    view = spec.view(x.shape, num_groups=groups, normalized_shape=shape)
    return backends.Call(spec, view, x, num_groups=groups, normalized_shape=shape, **given)


# ---- the choice ----


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm"])
def test_small_tensors_are_torch_s_and_large_ones_the_kernels(name, measured):
    for layout, wants in itertools.product(["contiguous", "channels_last"], [False, True]):
        (least,) = measured[name][layout]["step" if wants else "forward"]
        for numel, expected in ((least - 50, "torch"), (least, "numba"), (10 * least, "numba")):
            x = torch.zeros(1, 2, 25, numel // 50)
            if layout == "channels_last":
                x = channels_last(x)
                assert not x.is_contiguous()
            choice = auto.choose(call(NORMS[name], x.requires_grad_(wants)))
            assert choice.backend == expected and str(numel) in choice.reason
            if expected == "torch":
                assert str(least) in choice.reason
            with torch.no_grad():  # nothing is kept for a backward pass then
                choice = auto.choose(call(NORMS[name], x))
            assert choice.backend == ("torch" if numel < measured[name][layout]["forward"][0] else "numba")


def test_a_mode_may_never_be_the_kernels(monkeypatch):
    entry = {"lengths": [1], "forward": [1000], "step": [math.inf]}
    monkeypatch.setattr(auto, "table", lambda: {"BatchNorm": of_layouts(NORMS["BatchNorm"], entry, entry)})
    for numel, expected in ((999, "torch"), (1000, "numba"), (10**7, "numba")):
        choice = auto.choose(call(NORMS["BatchNorm"], torch.zeros(1, 1, numel)))
        assert choice.backend == expected
        assert expected == "numba" or choice.reason.endswith("faster from 1000 on")
    choice = auto.choose(call(NORMS["BatchNorm"], torch.zeros(1, 1, 10**6, requires_grad=True)))
    assert choice.backend == "torch" and "at no size" in choice.reason


def test_the_number_depends_on_how_many_lie_side_by_side(monkeypatch):
    entry = {"lengths": [1, 64], "forward": [10**6, 100], "step": [10**6, 100]}
    monkeypatch.setattr(auto, "table", lambda: {"BatchNorm": of_layouts(NORMS["BatchNorm"], entry, entry)})
    for length, expected in ((63, "torch"), (64, "numba"), (65, "numba")):
        assert auto.choose(call(NORMS["BatchNorm"], torch.zeros(4, 2, length))).backend == expected
        assert auto.choose(call(NORMS["BatchNorm"], channels_last(torch.zeros(4, length, 2, 2)))).backend == expected


def test_layouts_are_told_apart():
    few, many = torch.zeros(2, 4, 7, 7), torch.zeros(2, 4, 16, 16)
    for name, x, expected in (
        ("GroupNorm", few, ("contiguous", 49)),
        ("GroupNorm", channels_last(few), ("channels_last_few", 4)),
        ("GroupNorm", channels_last(many), ("channels_last", 4)),
        ("LayerNorm", many, ("contiguous", 1024)),
        ("LayerNorm", many[:1], ("row", 1024)),
        ("LayerNorm", channels_last(many[:1]), ("channels_last", 4)),
        ("BatchNorm", torch.zeros(1, 4), ("contiguous", 1)),
    ):
        assert auto.layout(call(NORMS[name], x)) == expected
    for spec in NORMS.values():
        for layout, lengths in crossing.layouts(spec).items():
            *_, case = crossing.shapes(spec, layout, lengths[-1][1], [2**22])
            task = Task(spec, case, "forward")
            view = spec.view(case.shape, num_groups=task.num_groups, normalized_shape=task.normalized_shape)
            measured = backends.Call(spec, view, task.operands().input)
            assert auto.layout(measured)[0] == layout, "measured where it is looked up"


def test_a_choice_is_a_backend_and_one_line(measured):
    choice = auto.choose(call(NORMS["BatchNorm"], torch.zeros(2, 4, 3)))
    backend, reason = choice
    assert (backend, reason) == (choice.backend, choice.reason)
    assert backend in ON_CPU and reason and "\n" not in reason


def test_a_norm_that_was_not_measured_is_the_kernels(measured):
    assert "RMSNorm" not in measured
    assert auto.choose(call(NORMS["RMSNorm"], torch.zeros(64, 128))).backend == "numba"


def test_a_norm_that_torch_has_not_is_the_kernels(measured):
    spec = replace(NORMS["RMSNorm"], name="Other", torch_call=None)
    choice = auto.choose(call(spec, torch.zeros(2, 4)))
    assert choice.backend == "numba" and "torch has no Other" in choice.reason
    choice = auto.choose(call(NORMS["LayerNorm"], torch.zeros(2, 4), running_mean=torch.zeros(4)))
    assert choice.backend == "numba" and "takes no running_mean" in choice.reason


def test_several_processes_are_the_reference_s(measured):
    for x in (torch.zeros(2, 4, 3), torch.zeros(2, 4, 3000)):
        choice = auto.choose(call(NORMS["BatchNorm"], x, process_group=object()))
        assert choice.backend == "reference"
        assert "torch" in choice.reason and "numba" in choice.reason and "one process" in choice.reason


def test_types_without_a_kernel_are_torch_s_or_the_reference_s(measured):
    large = torch.zeros(2, 4, 3000)
    for x in (large.to(torch.float8_e4m3fn), large.int(), large.to(torch.complex64)):
        choice = auto.choose(call(NORMS["BatchNorm"], x))
        assert choice.backend == "torch" and f"numba has no kernel for {x.dtype}" in choice.reason
        own = replace(NORMS["BatchNorm"], name="Other", torch_call=None)
        assert auto.choose(call(own, x)).backend == "reference"
    with pytest.raises(UnsupportedError, match=r"floating-point input, not torch\.int32"):
        functional.normalize(replace(NORMS["LayerNorm"], name="Other", torch_call=None), large.int(), backend="auto")


class Elsewhere:
    """A tensor of the CPU that says it lies on an accelerator."""

    device = torch.device("cuda", 0)
    requires_grad = False

    def __init__(self, x):
        self.x = x

    def __getattr__(self, name):
        return getattr(self.x, name)


TABLE = {"GPU": {"BatchNorm": {"contiguous": {"float32": {"forward": 40_000, "step": -1}}}}}


@pytest.mark.parametrize(
    ("model", "shape", "channels_last", "backend", "reason"),
    [
        ("other GPU", (2, 4, 3000), False, "torch", "nobody has measured"),
        ("GPU", (2, 4, 3000), False, "triton", "kernels are faster"),
        ("GPU", (2, 4, 300), False, "torch", "9600 bytes"),
        ("GPU", (2, 4, 3001), False, "torch", "unaligned float32"),
        ("GPU", (2, 4, 50, 60), True, "torch", "channels_last float32"),
    ],
)
def test_an_accelerator_has_a_table_of_its_own(measured, monkeypatch, model, shape, channels_last, backend, reason):
    pytest.importorskip("triton")
    monkeypatch.setattr(accelerators, "table", lambda: TABLE)
    monkeypatch.setattr(accelerators, "model", lambda device: model)
    x = torch.zeros(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    choice = auto.choose(replace(call(NORMS["BatchNorm"], x), input=Elsewhere(x)))
    assert choice.backend == backend and reason in choice.reason


def test_the_shipped_table_of_accelerators_has_known_entries():
    for norms in accelerators.table().values():
        assert set(norms) <= set(NORMS)
        for layouts in norms.values():
            assert set(layouts) <= {"contiguous", "channels_last", "unaligned", "few"}
            for dtypes in layouts.values():
                for entry in dtypes.values():
                    assert set(entry) <= {"forward", "step", "evaluation"}
                    assert all(size == accelerators.NEVER or size > 0 for size in entry.values())


def test_without_numba_everything_is_torch_s_or_the_reference_s(measured, monkeypatch):
    monkeypatch.setattr(auto, "why_not_loaded", lambda name: "cannot be imported (No module named 'numba')")
    x = drawn(4, 8, 300)
    choice = auto.choose(call(NORMS["BatchNorm"], x))
    assert choice.backend == "torch" and "cannot be imported" in choice.reason
    own = replace(NORMS["BatchNorm"], name="Other", torch_call=None)
    choice = auto.choose(call(own, x))
    assert choice.backend == "reference" and "cannot be imported" in choice.reason
    for spec in (NORMS["BatchNorm"], own):
        expected = functional.normalize(NORMS["BatchNorm"], x, backend="reference")
        assert_close(functional.normalize(spec, x, backend="auto"), expected)


def test_a_compiled_graph_is_torch_s_operations(measured):
    torch._dynamo.reset()
    seen = []

    def keep(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    x = drawn(4, 8, 30, 30)
    compiled = torch.compile(lambda x: functional.group_norm(x, 2, backend="auto"), fullgraph=True, backend=keep)
    assert_close(compiled(x), functional.group_norm(x, 2))
    assert any("group_norm" in target for target in seen) and not any("numba" in target for target in seen)


# ---- what is remembered ----


def test_a_choice_is_remembered_and_still_follows_what_it_depends_on(measured, monkeypatch):
    """The second call of a kind asks nobody; another type, layout, activation or mode is another kind."""
    asked = []
    choose = auto.choose
    monkeypatch.setattr(auto, "choose", lambda call: asked.append(1) or choose(call))
    weight = torch.ones(4)
    for first in (True, False):
        before = len(asked)
        for x in (torch.zeros(2, 4, 5, 6), channels_last(torch.zeros(2, 4, 5, 6)), torch.zeros(2, 4, 5, 6).double()):
            for activation in (None, "relu"):
                for wants in (False, True):
                    functional.group_norm(
                        x.clone().requires_grad_(wants), 2, weight.to(x.dtype), activation=activation, backend="auto"
                    )
        assert (len(asked) > before) == first
    for first in (True, False):
        before = len(asked)
        functional.group_norm(torch.zeros(2, 4, 5, 6), 2, torch.ones(4, requires_grad=True), backend="auto")
        assert (len(asked) > before) == first, "a weight that wants a gradient makes another kind, as an input does"


@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@EVERY_NORM
def test_a_call_like_one_before_gives_what_the_first_gave(spec, backend, measured, monkeypatch):
    """Bit for bit, from other tensors than the first call's; running statistics and a given output are the new ones."""

    def computed(x, train, activation, into, wants):
        generator = torch.Generator().manual_seed(7)
        affine = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
        weight, bias = (torch.randn(affine, generator=generator).requires_grad_(wants) for _ in range(2))
        running = [torch.zeros(x.shape[1]), torch.ones(x.shape[1])] if spec.running != "never" else [None, None]
        out = torch.empty_like(x) if into else None
        y = functional.normalize(
            spec,
            x,
            weight,
            bias if spec.centred else None,
            running_mean=running[0],
            running_var=running[1],
            use_input_stats=train,
            momentum=0.3,
            num_groups=num_groups(spec),
            activation=activation,
            out=out,
            backend=backend,
        )
        assert out is None or y is out
        more = torch.autograd.grad(y, weight, torch.ones_like(y)) if wants else ()
        return [y, *more, *(t for t in running if t is not None)]

    for shape, layout, train, activation, (into, wants) in itertools.product(
        [(2, 4, 5, 6), (4, 8, 16, 17)],
        [lambda x: x, channels_last],
        [True, False] if spec.running != "never" else [True],
        [None, "relu"],
        [(False, False), (False, True), (True, False)],
    ):
        x, other = layout(drawn(*shape)), layout(drawn(*shape, seed=1))
        forget(monkeypatch)
        computed(other, train, activation, into, wants)
        again = computed(x, train, activation, into, wants)
        assert sum(map(len, functional.checked_calls.values())) == 1
        forget(monkeypatch)
        first = computed(x, train, activation, into, wants)
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(again, first, strict=True))


@pytest.mark.parametrize("backend", ON_CPU)
def test_what_is_remembered_keeps_no_tensor(backend, measured):
    x, out = drawn(4, 8, 16, 17), torch.empty(4, 8, 16, 17)
    tensors = [weakref.ref(x), weakref.ref(out)]
    functional.group_norm(x, 2, out=out, activation="relu", backend=backend)
    del x, out
    gc.collect()
    assert [ref() for ref in tensors] == [None, None]


@pytest.mark.parametrize("backend", ["auto", "numba"])
def test_a_parameter_that_has_no_numbers_is_not_taken_for_none(backend, measured):
    """A kernel is told of an absent weight by the address that a tensor without memory has, too."""
    x, weight = drawn(4, 8, 16, 17), torch.ones(8)
    for first in (True, False):
        with pytest.raises((UnsupportedError, RuntimeError), match="meta"):
            functional.group_norm(x, 2, weight.to("meta"), backend=backend)
        if first:
            functional.group_norm(x, 2, weight, backend=backend)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's own decompositions
def test_what_is_remembered_is_not_used_where_torch_looks_at_operations(measured):
    """After a call of the same kind: each sample for itself, as operations, and differentiated forward."""
    x = drawn(3, 4, 8, 16, 17)
    expected = torch.stack([functional.group_norm(one, 2, backend="numba") for one in x])
    assert_close(torch.vmap(lambda one: functional.group_norm(one, 2, backend="numba"))(x), expected)
    one, other = x[0], x[1]
    with FakeTensorMode() as mode:
        assert functional.group_norm(mode.from_tensor(one), 2, backend="numba").shape == one.shape
    _, along = torch.func.jvp(lambda x: functional.group_norm(x, 2, backend="numba"), (one,), (other,))
    _, wanted = torch.func.jvp(lambda x: functional.group_norm(x, 2, backend="reference"), (one,), (other,))
    assert_close(along, wanted)


# ---- the result ----


@pytest.mark.parametrize("activation", [None, "silu"], ids=str)
@EVERY_NORM
def test_results_are_those_of_the_chosen_backend(spec, activation, measured):
    """Bit for bit, on either side of every number of the table, with the gradients and the running statistics."""
    chosen = set()
    for shape, layout, wants in itertools.product(
        [(2, 4, 5, 6), (2, 4, 16, 17), (4, 8, 16, 17)], [lambda x: x, channels_last], [False, True]
    ):
        x = layout(drawn(*shape)).requires_grad_(wants)
        affine = shape[1:] if spec.affine == "element" else shape[1:2]
        weight, bias = drawn(*affine, seed=1), drawn(*affine, seed=2) if spec.centred else None
        best = auto.choose(call(spec, x, weight=weight, bias=bias, activation=activation)).backend
        chosen.add(best)
        found = []
        for backend in ("auto", best):
            running = [torch.zeros(shape[1]), torch.ones(shape[1])] if spec.running != "never" else [None, None]
            y = functional.normalize(
                spec,
                x,
                weight,
                bias,
                running_mean=running[0],
                running_var=running[1],
                num_groups=num_groups(spec),
                activation=activation,
                backend=backend,
            )
            more = torch.autograd.grad(y, x, drawn(*shape, seed=5)) if wants else ()
            found.append([y, *more, *(t for t in running if t is not None)])
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(*found, strict=True))
    assert chosen == ({"torch", "numba"} if spec.name in measured else {"numba"})


def test_out_is_filled_whatever_is_chosen(measured):
    for shape in ((2, 4, 5, 6), (4, 8, 16, 17)):
        x = drawn(*shape)
        out = torch.empty_like(x)
        best = auto.choose(call(NORMS["BatchNorm"], x)).backend
        y = functional.batch_norm(x, None, None, training=True, out=out, backend="auto")
        assert y is out
        assert torch.equal(out, functional.batch_norm(x, None, None, training=True, backend=best))


@EVERY_NORM
def test_channels_last_stays_so(spec):
    """With the numbers of the real table, from tiny to large."""
    for shape in ((2, 4, 3, 3), (2, 8, 16, 17), (8, 16, 65, 33)):
        x = channels_last(drawn(*shape)).requires_grad_()
        y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto")
        assert y.is_contiguous(memory_format=torch.channels_last)
        x = drawn(*shape)
        assert functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto").is_contiguous()


def test_modules_take_it():
    for x in (drawn(2, 4, 3, 3), drawn(8, 4, 65, 33)):
        mine, theirs = modules.BatchNorm2d(4, momentum=None, backend="auto"), torch.nn.BatchNorm2d(4, momentum=None)
        for _ in range(2):
            assert_close(mine(x), theirs(x), rtol=1e-5, atol=1e-5)
        assert_close(mine.running_mean, theirs.running_mean)
        assert_close(mine.running_var, theirs.running_var)
        assert_close(mine.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


# ---- errors, whoever computes ----

X = torch.ones(2, 8, 3)
ONE, EIGHT = torch.ones(1), torch.ones(8)


@pytest.fixture(params=[1, 2**40], ids=["kernels", "torch"])
def either_way(request, monkeypatch):
    """Once with all tensors large enough for the kernels, once with all small enough for torch's call."""
    entry = from_on(**{mode: request.param for mode in LEAST if mode != "lengths"})
    monkeypatch.setattr(auto, "table", lambda: {name: of_layouts(spec, entry, entry) for name, spec in NORMS.items()})
    forget(monkeypatch)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("compute", "error", "says"),
    [
        (lambda f: f.group_norm(X, 3, backend="auto"), ShapeError, "num_groups = 3: must divide"),
        (lambda f: f.group_norm(X, 0, backend="auto"), ArgumentError, "num_groups = 0"),
        (lambda f: f.group_norm(X, 2.5, backend="auto"), ArgumentError, "num_groups = 2.5"),
        (lambda f: f.group_norm(X, None, backend="auto"), ArgumentError, "num_groups = None"),
        (lambda f: f.group_norm(X, 2, torch.ones(7), backend="auto"), ShapeError, "weight.shape = (7,): must be (8,)"),
        (lambda f: f.group_norm(X, 2, None, torch.ones(8, 3), backend="auto"), ShapeError, "bias.shape = (8, 3)"),
        (lambda f: f.group_norm(X, 2, torch.ones(8, 1), backend="auto"), ShapeError, "weight.shape = (8, 1)"),
        (lambda f: f.layer_norm(X, (4,), backend="auto"), ShapeError, "input.shape = (2, 8, 3): must end in"),
        (lambda f: f.layer_norm(X, (), backend="auto"), ShapeError, "must end in normalized_shape = ()"),
        (lambda f: f.rms_norm(X, (), backend="auto"), ShapeError, "must end in normalized_shape = ()"),
        (lambda f: f.layer_norm(X, 3, backend="auto"), ArgumentError, "normalized_shape = 3"),
        (lambda f: f.layer_norm(X, (3,), EIGHT, backend="auto"), ShapeError, "weight.shape = (8,): must be (3,)"),
        (lambda f: f.layer_norm(X, (3,), torch.ones(1, 3), backend="auto"), ShapeError, "weight.shape = (1, 3)"),
        (lambda f: f.batch_norm(torch.ones(3), None, None, backend="auto"), ShapeError, "input.shape = (3,)"),
        (lambda f: f.batch_norm(torch.ones(3), None, None, training=True, backend="auto"), ShapeError, "input.shape"),
        (lambda f: f.batch_norm(torch.ones(3), ONE, ONE, backend="auto"), ShapeError, "input.shape = (3,)"),
        (lambda f: f.batch_norm(torch.ones(0), None, None, training=True, backend="auto"), ShapeError, "(0,)"),
        (lambda f: f.batch_norm(torch.ones(()), None, None, training=True, backend="auto"), ShapeError, "()"),
        (lambda f: f.group_norm(torch.ones(4), 2, backend="auto"), ShapeError, "input.shape = (4,)"),
        (lambda f: f.batch_norm(X, None, None, backend="auto"), ArgumentError, "running_mean = None: is needed"),
        (lambda f: f.batch_norm(X, EIGHT, None, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.batch_norm(X, EIGHT, None, training=True, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.batch_norm(X, ONE, EIGHT, backend="auto"), ShapeError, "running_mean.shape = (1,)"),
        (lambda f: f.batch_norm(X, EIGHT, EIGHT[:, None], backend="auto"), ShapeError, "running_var.shape = (8, 1)"),
        (
            lambda f: f.batch_norm(X, None, None, EIGHT.reshape(2, 4), training=True, backend="auto"),
            ShapeError,
            "weight.shape = (2, 4): must be (8,)",
        ),
        (
            lambda f: f.batch_norm(X, None, None, None, EIGHT[:, None], training=True, backend="auto"),
            ShapeError,
            "bias.shape = (8, 1): must be (8,)",
        ),
        (lambda f: f.batch_norm(X[:1, :, :1], None, None, training=True, backend="auto"), ShapeError, "more than 1"),
        (lambda f: f.instance_norm(X[:, :, :1].contiguous(), backend="auto"), ShapeError, "input.shape = (2, 8, 1)"),
        (lambda f: f.instance_norm(X[:, :, 0].contiguous(), backend="auto"), ShapeError, "input.shape = (2, 8)"),
        (lambda f: f.instance_norm(X, EIGHT, None, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.instance_norm(X, None, None, EIGHT[:, None], backend="auto"), ShapeError, "weight.shape = (8, 1)"),
        (lambda f: f.batch_norm(X, None, None, training=True, eps=-1.0, backend="auto"), ArgumentError, "eps = -1.0"),
        (lambda f: f.batch_norm(X, None, None, training=True, eps=0.0, backend="auto"), ArgumentError, "eps = 0.0"),
        (lambda f: f.instance_norm(X, eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.group_norm(X, 2, eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.layer_norm(X, (3,), eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.instance_norm([[1.0]], backend="auto"), ArgumentError, "input = 'list'"),
        (lambda f: f.instance_norm(X, activation="tanh", backend="auto"), UnknownNameError, "activation = 'tanh'"),
        (lambda f: f.instance_norm(X, activation="nothing", backend="auto"), UnknownNameError, "activation = 'noth"),
        (lambda f: f.instance_norm(X, activation=3, backend="auto"), UnknownNameError, "activation = 3"),
    ],
)
def test_bad_input_is_named_whatever_its_size(compute, error, says):
    with pytest.raises(error) as caught:
        compute(functional)
    assert isinstance(caught.value, NormsuiteError) and says in str(caught.value)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("RMSNorm", {"bias": drawn(8, 3, seed=1)}),
        ("LayerNorm", {"running_mean": drawn(8, seed=1), "running_var": torch.ones(8)}),
        ("GroupNorm", {"running_mean": drawn(8, seed=1), "running_var": torch.ones(8), "use_input_stats": False}),
    ],
)
def test_nothing_is_dropped_that_torch_does_not_take(name, given):
    """What torch's function has no argument for is computed by a backend that has, for a small tensor too."""
    x = drawn(2, 8, 3)
    spec = NORMS[name]
    with pytest.raises(UnsupportedError, match="takes no"):
        functional.normalize(spec, x, num_groups=num_groups(spec), backend="torch", **given)

    def outcome(backend):
        own = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in given.items()}
        try:
            y = functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend, **own)
        except (ShapeError, UnsupportedError, RuntimeError) as error:
            return type(error).__name__
        return [y, *(value for value in own.values() if isinstance(value, torch.Tensor))]

    best = outcome("numba")
    found = outcome("auto")
    if isinstance(best, str):
        assert found == best
    else:
        assert_close(found, best)


@pytest.mark.usefixtures("either_way")
def test_a_refused_call_moves_nothing():
    running = torch.zeros(8), torch.ones(8)
    with pytest.raises(ShapeError):
        functional.batch_norm(X, *running, torch.ones(7), training=True, backend="auto")
    with pytest.raises(UnknownNameError):
        functional.batch_norm(X, *running, training=True, activation="tanh", backend="auto")
    assert torch.equal(running[0], torch.zeros(8)) and torch.equal(running[1], torch.ones(8))


def call_of(spec, x, **changed):
    """A training call with everything that the norm takes, some of it changed."""
    affine = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    given = {"weight": torch.ones(affine), "bias": torch.ones(affine) if spec.centred else None}
    if spec.running != "never":
        given.update(running_mean=torch.zeros(x.shape[1]), running_var=torch.ones(x.shape[1]))
    given.update(changed)
    return given, lambda backend: functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend, **given)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@EVERY_NORM
def test_a_call_like_one_before_is_refused_for_a_parameter_of_another_shape(spec, name, backend):
    """Of as many numbers, and of others; nothing is moved."""
    given, right = call_of(spec, X)
    if given.get(name) is None:
        pytest.skip(f"{spec.name} has no {name}")
    for shape in [(*given[name].shape, 1), given[name].shape[:0], (4, -1), (given[name].numel() - 1,)]:
        right(backend)
        some = torch.full_like(given[name], float(name != "running_mean")).flatten()
        changed, call = call_of(spec, X, **{name: (some if -1 in shape else some[: math.prod(shape)]).reshape(shape)})
        with pytest.raises(ShapeError, match=rf"{name}\.shape = "):
            call(backend)
        if "running_var" in changed:
            assert (changed["running_mean"] == 0).all() and (changed["running_var"] == 1).all()


@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@EVERY_NORM
def test_a_call_like_one_before_is_not_checked_in_full_and_another_is(spec, backend, monkeypatch):
    """Whatever the answer depends on makes another kind of call."""
    asked, in_full = [], functional._call
    monkeypatch.setattr(functional, "_call", lambda *given: asked.append(1) or in_full(*given))
    forget(monkeypatch)
    x = drawn(4, 8, 6, 5)
    shape = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    given = {"weight": torch.ones(shape), "eps": 1e-5, "num_groups": num_groups(spec)}
    if spec.affine == "element":
        given["normalized_shape"] = tuple(shape)
    others = [
        {"input": x[:2]},
        {"input": x.double(), "weight": torch.ones(shape, dtype=torch.float64)},
        {"input": channels_last(x)},
        {"input": x.clone().requires_grad_()},
        {"weight": None},
        {"eps": 1e-3},
        {"eps": 1},
        {"activation": "relu"},
        {"activation": "silu"},
        {"out": torch.empty_like(x)},
        {"backend": "reference"},
    ]
    if spec.centred:
        others.append({"bias": torch.ones(shape)})
    if spec.running != "never":
        running = {"running_mean": torch.zeros(8), "running_var": torch.ones(8)}
        others += [running, {**running, "use_input_stats": False}]

    def call(changed=None):
        before = len(asked)
        arguments = {"input": x, "backend": backend, **given, **(changed or {})}
        functional.normalize(spec, arguments.pop("input"), **arguments)
        return len(asked) > before

    assert call()
    for changed in others:
        assert not call(), "the same call again is looked up"
        assert call(changed), f"a call with another {', '.join(changed)} is checked"
    assert not call({"input": x.clone()})
    parameter = {"weight": torch.nn.Parameter(torch.ones(shape), requires_grad=False)}
    assert call(parameter), "of another class"
    assert not call(parameter)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_as_many_numbers_in_another_shape_are_another_call(name, backend):
    """What is known of (4, 6, 3) holds for other inputs of 72 numbers that end alike, and not for those that do not."""
    compute = {"LayerNorm": functional.layer_norm, "RMSNorm": functional.rms_norm}[name]
    compute(drawn(4, 6, 3), (6, 3), eps=1e-5, backend=backend)
    for shape in [(2, 2, 6, 3), (4, 6, 3), (1, 4, 6, 3)]:
        x = drawn(*shape, seed=1).requires_grad_()
        y = compute(x, (6, 3), eps=1e-5, backend=backend)
        wanted = compute(x, (6, 3), eps=1e-5, backend="reference")
        assert_close(y, wanted)
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(wanted.square().sum(), x, create_graph=True)
        assert_close(*(torch.autograd.grad(g.square().sum(), x)[0] for g in (first, second)), rtol=1e-4, atol=1e-4)
    for shape in [(4, 3, 6), (72,), (12, 6), (6, 4, 3)]:
        with pytest.raises(ShapeError, match=r"must end in normalized_shape = \(6, 3\)"):
            compute(drawn(*shape), (6, 3), eps=1e-5, backend=backend)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@EVERY_NORM
def test_a_call_like_one_before_of_other_types_is_computed_or_refused_as_if_it_were_the_first(
    spec, backend, monkeypatch
):
    def outcome(x, **changed):
        try:
            return call_of(spec, x, **changed)[1](backend)
        except RuntimeError as error:
            return str(error)

    for x, weight in [(X.double(), torch.float64), (X.bfloat16(), torch.float32), (X, torch.float64)]:
        shape = X.shape[1:] if spec.affine == "element" else X.shape[1:2]
        given = {"weight": torch.ones(shape, dtype=weight)}
        forget(monkeypatch)
        first = outcome(x, **given)
        forget(monkeypatch)
        call_of(spec, X)[1](backend)
        again = outcome(x, **given)
        assert first == again if isinstance(first, str) else torch.equal(first, again)


@pytest.mark.parametrize("backend", ON_CPU)
def test_what_was_checked_before_does_not_let_a_wrong_type_through(backend):
    """2.0 equals 2, and is no number of groups all the same."""
    functional.group_norm(X, 2, backend=backend)
    with pytest.raises(ArgumentError, match=r"num_groups = 2\.0"):
        functional.group_norm(X, 2.0, backend=backend)


@pytest.mark.usefixtures("either_way")
def test_an_empty_batch_is_an_empty_batch():
    x = torch.zeros(0, 8, 3)
    for spec in NORMS.values():
        running = {"running_mean": torch.zeros(8), "running_var": torch.ones(8)} if spec.running != "never" else {}
        y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto", **running)
        assert y.shape == x.shape
        assert not running or (running["running_var"] == 1).all()
