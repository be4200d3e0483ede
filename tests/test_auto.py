"""The backend that chooses: what it chooses and why, and what it remembers."""

import gc
import itertools
import math
import weakref
from dataclasses import replace

import pytest
import torch
from auto_tables import EVERY_NORM, call, channels_last, drawn, forget, of_layouts
from strategies import ON_CPU, num_groups
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from normsuite import backends, functional
from normsuite.backends import auto
from normsuite.errors import UnsupportedError
from normsuite.measure.task import Task
from normsuite.spec import NORMS
from normsuite.tune import crossover as crossing
from normsuite.tunings import accelerators

# ---- the choice ----


@pytest.mark.parametrize(
    ("axes", "last", "shape", "expected"),
    [
        (("group",), False, (2, 8, 5, 5), "reference"),
        (("group",), True, (2, 8, 5, 5), "numba"),
        (("group",), False, (2, 8), "numba"),
        (("group", "spatial"), False, (2, 8, 5, 5), "numba"),
        (("batch", "group"), False, (2, 8, 5, 5), "numba"),
    ],
)
def test_a_mean_over_channels_alone_is_not_the_kernels(axes, last, shape, expected):
    spec = replace(NORMS["GroupNorm"], name="Own", axes=frozenset(axes), torch_call=None)
    x = channels_last(torch.zeros(shape)) if last else torch.zeros(shape)
    choice = auto.choose(call(spec, x))
    assert choice.backend == expected and ("lies apart" in choice.reason) is (expected == "reference")


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


@pytest.mark.parametrize("evaluation, step", [(1000, 2000), (2000, 1000), (math.inf, 10), (10, math.inf)])
def test_a_step_by_running_statistics_is_the_kernels_where_they_win_in_both_parts(monkeypatch, evaluation, step):
    entry = {"lengths": [1], "forward": [1], "step": [step], "evaluation": [evaluation]}
    monkeypatch.setattr(auto, "table", lambda: {"BatchNorm": of_layouts(NORMS["BatchNorm"], entry, entry)})
    running = {"running_mean": torch.zeros(2), "running_var": torch.ones(2), "use_input_stats": False}
    least = [
        auto.least(call(NORMS["BatchNorm"], torch.zeros(2, 2, 50, requires_grad=wants), **running))
        for wants in (False, True)
    ]
    assert least == [evaluation, max(evaluation, step)]


def test_kernels_on_one_thread_are_not_chosen_beside_torch_s_many(measured, monkeypatch):
    large, threads = torch.zeros(2, 4, 3000), torch.get_num_threads()
    monkeypatch.setattr(backends.get("numba").threads, "_forked", True)
    try:
        for number, expected in ((2, "torch"), (1, "numba")):
            torch.set_num_threads(number)
            choice = auto.choose(call(NORMS["BatchNorm"], large))
            assert choice.backend == expected
            assert ("one thread: a forked child" in choice.reason) == (expected == "torch")
    finally:
        torch.set_num_threads(threads)


def test_another_norm_of_a_measured_name_has_layouts_of_its_own(measured):
    spec = replace(NORMS["LayerNorm"], name="BatchNorm")
    assert auto.choose(call(spec, torch.zeros(1, 4, 3000))).backend == "torch"


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
        ("BatchNorm", torch.zeros(2, 4), ("channels_last_few", 4)),
        ("BatchNorm", torch.zeros(2, 4, 1, 1), ("channels_last_few", 4)),
        ("GroupNorm", torch.zeros(2, 4, 1, 1), ("contiguous", 1)),
        ("GroupNorm", many.transpose(2, 3), ("contiguous", 256)),
        ("BatchNorm", many[..., ::2], ("contiguous", 128)),
    ):
        assert auto.layout(call(NORMS[name], x)) == expected
    last = channels_last(many).movedim(1, -1)  # as ConvNeXt's: the channels are what is averaged over
    spec = NORMS["LayerNorm"]
    moved = backends.Call(spec, spec.view(last.shape, normalized_shape=(4,)), many, normalized_shape=(4,))
    assert auto.layout(replace(moved, input=many.movedim(1, -1))) == ("contiguous", 4), "copied by both"
    assert auto.layout(replace(moved, input=last)) == ("contiguous", 4)
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
        ("GPU", (2, 4, 6000), None, "torch", "for strided float32"),
    ],
)
def test_an_accelerator_has_a_table_of_its_own(measured, monkeypatch, model, shape, channels_last, backend, reason):
    pytest.importorskip("triton")
    monkeypatch.setattr(accelerators, "table", lambda: TABLE)
    monkeypatch.setattr(accelerators, "model", lambda device: model)
    x = torch.zeros(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    elif channels_last is None:
        x = x[:, :, ::2]
    choice = auto.choose(replace(call(NORMS["BatchNorm"], x), input=Elsewhere(x)))
    assert choice.backend == backend and reason in choice.reason


def test_rows_of_an_accelerator_that_lie_together_are_one():
    """A norm over several sizes reads each sample as one row, which may begin at a whole vector though parts do not."""
    spec = NORMS["LayerNorm"]
    for shape, normalized, expected in (((256, 8, 7, 7), (8, 7, 7), "contiguous"), ((256, 7), (7,), "unaligned")):
        view = spec.view(shape, normalized_shape=normalized)
        assert accelerators.layout_of(spec, view, shape, 4, contiguous=True) == expected


def test_a_gradient_through_running_statistics_is_an_evaluation_and_a_step_on_an_accelerator():
    x = call(NORMS["BatchNorm"], torch.zeros(2, 4, 3))
    assert accelerators.modes(x) == ("forward",)
    evaluated = replace(x, use_input_stats=False, running_mean=torch.zeros(4), running_var=torch.ones(4))
    assert accelerators.modes(evaluated) == ("evaluation",)
    wanting = replace(evaluated, input=torch.zeros(2, 4, 3, requires_grad=True))
    assert accelerators.modes(wanting) == ("evaluation", "step")


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


# ---- what is cached ----


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


def test_a_call_in_place_is_checked_once_and_one_with_a_tensor_given_twice_each_time(monkeypatch):
    """Guards take a tensor once: such calls would push out others that are checked by them."""
    forget(monkeypatch)
    weight = torch.rand(6)
    for _ in range(3):
        x = torch.randn(4, 6)
        wanted = torch.nn.functional.layer_norm(x, (6,), weight, weight)
        with torch.no_grad():
            y = functional.layer_norm(x, (6,), weight, weight, backend="numba")
            assert not functional.checked_calls
        torch.testing.assert_close(y, wanted)
    for place in range(3):
        x = torch.randn(4, 6)
        wanted = torch.nn.functional.layer_norm(x, (6,), weight)
        with torch.no_grad():
            if place:  # it would end here
                monkeypatch.setattr(functional.validation, "call", None)
            y = functional.layer_norm(x, (6,), weight, out=x, backend="numba")
            assert y is x and sum(map(len, functional.checked_calls.values())) == 1
        torch.testing.assert_close(y, wanted)


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
