"""The gate before raw addresses: tensors that are not what they seem are computed by torch's operations or refused."""

import subprocess
import sys
import warnings

import pytest
import torch
from outcomes import EVERY_NORM, close, drawn, outcome
from strategies import num_groups
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close

from normsuite import addresses, fast_path, functional, modules
from normsuite.backends import auto
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, StorageError, UnsupportedError
from normsuite.spec import NORMS
from tools.drawing import Halved

pytest.importorskip("numba", reason="needs numba")


@pytest.fixture(autouse=True)
def _kernels_at_every_size(monkeypatch):
    """A table without entries, so that `auto` takes the kernels whatever was measured on this processor."""
    monkeypatch.setattr(auto, "table", dict)
    fast_path.checked_calls.clear()


KERNELS = pytest.mark.parametrize("backend", ["numba", "auto"])
EVERY_WAY = pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])
SHAPE = (64, 8, 16, 16)
"""Large enough for kernels to share the work out."""


def affine_of(spec, shape=SHAPE):
    return shape[1:] if spec.affine == "element" else shape[1:2]


def norm_of(spec, x, *affine, **options):
    return functional.normalize(spec, x, *affine, num_groups=num_groups(spec), **options)


# ---- what passes, and what does not ----


def misaligned(x):
    """The same numbers, beginning one byte behind a multiple of their size."""
    room = bytearray(x.numel() * x.element_size() + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.frombuffer(room, dtype=x.dtype, offset=1, count=x.numel()).view(x.shape).copy_(x)


def cut_short(x):
    x = x.clone()
    x.untyped_storage().resize_(x.nbytes // 2)
    return x


def freed(x):
    x = x.clone()
    x.untyped_storage().resize_(0)
    return x


STRANGE = {
    "subclass": lambda x: Halved(2 * x),
    "sparse": lambda x: x.to_sparse(),
    "negative view": lambda x: torch._neg_view(-x),
    "misaligned": misaligned,
    "cut short": cut_short,
    "freed": freed,
    "meta": lambda x: x.to("meta"),
    "zeros": lambda x: torch._efficientzerotensor(x.shape, dtype=x.dtype),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_the_gate_is_closed_and_says_why(kind):
    x = STRANGE[kind](drawn(4, 6))
    assert not addresses.is_memory(x) and addresses.why_no_memory(x)
    with pytest.raises(StorageError, match="input = "):
        addresses.demand(input=x)


def test_the_gate_is_open_for_memory_of_any_strides():
    x = drawn(4, 6, 5, 3)
    for t in (x, x[1:, ::2], x.movedim(1, -1), x[:, :1].expand_as(x), torch.nn.Parameter(x), x[..., 1]):
        assert addresses.is_memory(t) and addresses.why_no_memory(t) is None
    with torch.inference_mode():
        assert addresses.is_memory(x.clone())
    gapped = torch.empty(10)[::3]
    gapped.untyped_storage().resize_(9 * 4)
    assert not addresses.is_memory(gapped), "its last number lies behind the end"


@KERNELS
@pytest.mark.parametrize("kind", ["subclass", "negative view", "misaligned"])
@EVERY_NORM
def test_what_is_no_memory_of_its_own_is_computed_all_the_same(spec, kind, backend):
    """As input and as weight, the first time and behind a plain call of the same kind."""
    x, weight = drawn(*SHAPE), drawn(*affine_of(spec), seed=1)
    wanted = norm_of(spec, x, weight, backend="reference")
    for _ in range(2):
        assert_close(norm_of(spec, x, STRANGE[kind](weight), backend=backend), wanted)
        assert_close(norm_of(spec, STRANGE[kind](x), weight, backend=backend), wanted)
        assert_close(norm_of(spec, x, weight, backend=backend), wanted)


SMALL = (2, 4, 3, 5)


@pytest.mark.parametrize(
    ("backend", "shape"),
    [("numba", SHAPE), ("auto", SHAPE), ("numba", SMALL), ("reference", SMALL)],
    ids=["numba", "auto", "numba, small", "reference"],
)
@pytest.mark.parametrize("kind", ["cut short", "freed"])
@EVERY_NORM
def test_memory_that_is_not_there_is_refused(spec, kind, shape, backend):
    x, weight = drawn(*shape), drawn(*affine_of(spec, shape), seed=1)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"input = .*bytes of its storage"):
            norm_of(spec, STRANGE[kind](x), weight, backend=backend)
        with pytest.raises(StorageError, match=r"weight = .*bytes of its storage"):
            norm_of(spec, x, STRANGE[kind](weight), backend=backend)
        norm_of(spec, x, weight, backend=backend)


@pytest.mark.parametrize("backend", ["torch", "auto"])
@EVERY_NORM
def test_freed_memory_ends_no_process_where_torch_computes(spec, backend):
    """Torch refuses it itself, but for RMSNorm; in the first call of a kind we do."""
    x, weight = drawn(*SMALL), drawn(*affine_of(spec, SMALL), seed=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"bytes of its storage|not allocated"):
            norm_of(spec, freed(x), weight, backend=backend)
        norm_of(spec, x, weight, backend=backend)


def test_running_statistics_that_are_not_there_are_refused_and_nothing_is_counted():
    norm = modules.BatchNorm2d(8, dtype=torch.float64, backend="numba")
    x = drawn(*SHAPE)
    norm(x)
    norm.running_var.untyped_storage().resize_(0)
    with pytest.raises(StorageError, match="running_var = "):
        norm(x)
    assert norm.num_batches_tracked == 1


def test_running_statistics_that_share_memory_with_what_is_read():
    """The values from before are read, whatever is moved meanwhile."""
    x = drawn(*SHAPE)
    for places in ((0, 0), (0, 4), (8, 2), (8, 0)):  # of running_mean and running_var, beside a weight at 0
        found = []
        for name in ("reference", "numba"):
            room = drawn(24, seed=3).abs() + 0.5
            weight = room[:8].clone() if name == "reference" else room[:8]
            mean, var = (room[place : place + 8] for place in places)
            found.append(functional.batch_norm(x, mean, var, weight, training=True, backend=name))
        assert_close(found[1], found[0])


# ---- other devices by default ----


@EVERY_WAY
@EVERY_NORM
def test_another_default_device_changes_nothing(spec, backend):
    x, weight = drawn(*SHAPE, dtype=torch.float32), drawn(*affine_of(spec), dtype=torch.float32, seed=1)
    dy = drawn(*SHAPE, dtype=torch.float32, seed=9)
    for activation in (None, "silu"):
        for layout in (lambda t: t, lambda t: t.to(memory_format=torch.channels_last)):
            wanted = outcome(spec, layout(x), weight, num_groups=num_groups(spec), activation=activation)
            with torch.device("meta"):
                given = [t.detach().requires_grad_() for t in (layout(x), weight)]
                y = norm_of(spec, *given, activation=activation, backend=backend)
                found = [y.detach(), *torch.autograd.grad(y, given, dy)]
            assert all(t.device.type == "cpu" for t in found)
            assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_script_under_a_default_device_ends_as_it_should():
    """In a process of its own, which an address of nothing would end."""
    script = """
import torch
from normsuite import functional as F
torch.set_default_device("meta")
x = torch.randn(64, 8, 16, 16, device="cpu")
for backend in ("numba", "auto"):
    print(F.group_norm(x, 2, backend=backend).std().item() > 0.9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


# ---- between forward and backward ----


@KERNELS
@EVERY_NORM
@pytest.mark.parametrize("name", ["input", "weight"])
@pytest.mark.parametrize(
    "changed",
    [lambda t: t[:1].clone(), lambda t: t.double(), lambda t: t.bfloat16(), lambda t: t.flatten()[:4].clone(), freed],
    ids=["shorter", "wider", "narrower", "flat", "freed"],
)
def test_data_that_were_replaced_before_the_backward_pass_are_refused(spec, name, changed, backend):
    x, weight = drawn(*SHAPE, dtype=torch.float32), drawn(*affine_of(spec), dtype=torch.float32, seed=1)
    given = {"input": x.requires_grad_(), "weight": weight.requires_grad_()}
    y = norm_of(spec, *given.values(), backend=backend)
    given[name].data = changed(given[name].data)
    if spec.name == "InstanceNorm" and name == "weight":  # of which torch's call saves a copy
        wanted = norm_of(spec, x, weight.detach().new_zeros(8).copy_(drawn(8, seed=1)), backend="reference")
        assert_close(torch.autograd.grad(y.sum(), x)[0], torch.autograd.grad(wanted.sum(), x)[0], rtol=0, atol=1e-3)
        return
    says = f"{name} = " if backend == "numba" else None  # what `auto` leaves to torch, torch refuses
    with pytest.raises(RuntimeError, match=says) as caught:
        y.sum().backward()
    assert isinstance(caught.value, StorageError) or backend == "auto"


@EVERY_NORM
@pytest.mark.parametrize("what", ["input", "weight", "dy"])
def test_the_reference_does_not_read_storage_that_was_freed_before_its_backward_pass(spec, what):
    """It computes without the input where it has saved a difference of it, and without a weight that it has copied."""
    x, weight, dy = (
        drawn(*SMALL).requires_grad_(),
        drawn(*affine_of(spec, SMALL), seed=1).requires_grad_(),
        drawn(*SMALL),
    )
    given = {"input": x * 1, "weight": weight * 1, "dy": dy.clone()}
    y = norm_of(spec, given["input"], given["weight"], backend="reference")
    wanted = torch.autograd.grad(y, (x, weight), dy, retain_graph=True)
    given[what].untyped_storage().resize_(0)
    if (what == "input" and spec.centred) or (what == "weight" and spec.name == "InstanceNorm"):
        assert_close(torch.autograd.grad(y, (x, weight), dy), wanted)
    else:
        with pytest.raises(StorageError, match=rf"{what} = .*bytes of its storage"):
            torch.autograd.grad(y, (x, weight), given["dy"])


@EVERY_WAY
@pytest.mark.parametrize("activation", [None, "silu"], ids=str)
@pytest.mark.parametrize("shape", [(2, 8, 5, 5), SHAPE], ids=["small", "large"])
def test_the_weight_of_instance_norm_may_be_stepped_before_the_backward_pass(shape, activation, backend):
    """As in torch, which repeats it; the gradients, and those of gradients, are of the weight that was used."""
    x, weight, dy = drawn(*shape).requires_grad_(), (drawn(8, seed=1) + 2).requires_grad_(), drawn(*shape, seed=9)

    def found(y):
        first = torch.autograd.grad(y, (x, weight), dy, create_graph=True)
        return *first, *torch.autograd.grad(first[0].pow(3).sum(), (x, weight))

    wanted = found(functional.instance_norm(x, weight=weight, activation=activation, backend="reference"))
    for _ in range(2):
        before = weight.detach().clone()
        y = functional.instance_norm(x, weight=weight, activation=activation, backend=backend)
        with torch.no_grad():
            weight *= 3
        close(found(y), wanted, 1e-9)
        with torch.no_grad():
            weight.copy_(before)


@pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])
@pytest.mark.parametrize("momentum", [0.1, None], ids=str)
@pytest.mark.parametrize("name", ["BatchNorm2d", "InstanceNorm2d"])
def test_a_replayed_graph_moves_running_statistics_that_ask_for_no_gradient(name, momentum, backend):
    """A trace of operations knows of no `no_grad`."""
    options = {"affine": True, "track_running_stats": True, "momentum": momentum, "dtype": torch.float64}
    norm, x = getattr(modules, name)(8, backend=backend, **options), drawn(*SHAPE).requires_grad_()

    def training(x, weight, mean, var, count):
        given = {"weight": weight, "running_mean": mean, "running_var": var, "num_batches_tracked": count}
        return torch.func.functional_call(norm, given, (x,))

    def state():
        ones = torch.ones(8, dtype=x.dtype)
        return ones.clone().requires_grad_(), 0 * ones, ones.clone(), torch.tensor(0)

    graph = make_fx(training)(x.detach(), *state())
    replayed, called = state(), state()
    assert_close(graph(x, *replayed), training(x, *called))
    assert_close(replayed, called)
    assert not replayed[1].requires_grad and not replayed[2].requires_grad
    if momentum is not None:
        assert replayed[1].abs().min() > 0


@EVERY_NORM
@pytest.mark.parametrize("further", [False, True], ids=["once", "create_graph"])
def test_an_incoming_gradient_that_is_not_there_is_refused(spec, further):
    x, weight = drawn(*SHAPE).requires_grad_(), drawn(*affine_of(spec), seed=1).requires_grad_()
    for change in (freed, cut_short):
        y = norm_of(spec, x, weight, backend="numba")
        with pytest.raises(StorageError, match=r"dy = .*bytes of its storage"):
            torch.autograd.grad(y, (x, weight), change(drawn(*SHAPE, seed=9)), create_graph=further)


@EVERY_WAY
@EVERY_NORM
@pytest.mark.parametrize("kind", ["zeros", "negative view", "misaligned"])
def test_an_incoming_gradient_that_is_no_memory_is_computed_with(spec, kind, backend):
    """Torch makes zeros that are stored nowhere for what has no derivative, as the imaginary part of a real number."""
    x, dy = drawn(*SHAPE).requires_grad_(), STRANGE[kind](drawn(*SHAPE, seed=9))
    (wanted,) = torch.autograd.grad(norm_of(spec, x, backend="reference"), x, dy.clone())
    assert_close(torch.autograd.grad(norm_of(spec, x, backend=backend), x, dy)[0], wanted)


@EVERY_WAY
@EVERY_NORM
def test_zeros_that_are_stored_nowhere_are_zeros(spec, backend):
    x, none = drawn(*SHAPE), STRANGE["zeros"](drawn(*affine_of(spec)))
    bias = drawn(*affine_of(spec), seed=2) if spec.centred else None
    for _ in range(2):
        norm_of(spec, x, torch.zeros_like(none), bias, backend=backend)
        wanted = norm_of(spec, x, torch.zeros_like(none), bias, backend="reference")
        assert_close(norm_of(spec, x, none, bias, backend=backend), wanted)
        assert_close(norm_of(spec, STRANGE["zeros"](x), backend=backend), torch.zeros_like(x))


def strided(t):
    return torch.stack([t, torch.full_like(t, 7.0)], -1)[..., 0]


@EVERY_NORM
@pytest.mark.parametrize("activation", [None, "silu"], ids=str)
def test_what_a_hook_on_saved_tensors_gives_back_is_read_as_it_lies_or_refused(spec, activation):
    """Input, weight, a copy of the bias and statistics, each by itself."""
    given = [drawn(*SHAPE), drawn(*affine_of(spec), seed=1), drawn(*affine_of(spec), seed=2) if spec.centred else None]
    sources = [t.requires_grad_() for t in given if t is not None]
    dy = drawn(*SHAPE, seed=9)

    def gradients(changed, which):
        seen = []

        def unpack(t):
            seen.append(t)
            return changed(t) if len(seen) - 1 == which else t

        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
            y = norm_of(spec, *given, activation=activation, backend="numba")
        return torch.autograd.grad(y, sources, dy), len(seen)

    wanted, saved = gradients(lambda t: t, 0)
    assert saved == (4 if activation and spec.centred else 3)
    for which in range(saved):
        assert_close(gradients(strided, which)[0], wanted)
        for changed in (lambda t: t[:1].clone() if len(t) > 1 else t[..., :1].clone(), lambda t: t.float(), freed):
            with pytest.raises(StorageError, match=r"(input|weight|bias|statistics) = "):
                gradients(changed, which)


@EVERY_WAY
@EVERY_NORM
def test_running_statistics_that_ask_for_a_gradient_are_refused(spec, backend):
    if spec.running == "never":
        pytest.skip("has no running statistics")
    x = drawn(*SHAPE)
    for name in ("running_mean", "running_var"):
        for training in (True, False):
            running = {"running_mean": drawn(8, seed=1), "running_var": torch.ones(8, dtype=x.dtype)}
            running[name].requires_grad_()
            with pytest.raises(UnsupportedError, match=rf"{name}\.requires_grad = True"):
                norm_of(spec, x, **running, use_input_stats=training, backend=backend)
            with torch.no_grad():
                assert norm_of(spec, x, **running, use_input_stats=training, backend=backend).shape == x.shape


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # of torch's own forward mode
@EVERY_WAY
@pytest.mark.parametrize("name", ["BatchNorm", "InstanceNorm"])
def test_running_statistics_move_under_torch_func_as_torch_s(name, backend):
    """Tensors that a transform has captured, which only torch's own call may change there."""
    x, tangent = drawn(*SHAPE), drawn(*SHAPE, seed=5)
    theirs = {"BatchNorm": torch.nn.functional.batch_norm, "InstanceNorm": torch.nn.functional.instance_norm}[name]

    def ours(t, mean, var, *_):
        return norm_of(NORMS[name], t, running_mean=mean, running_var=var, backend=backend)

    def found(function):
        mean, var = drawn(8, seed=1), torch.ones(8, dtype=x.dtype)
        gradient = torch.func.grad(lambda t: function(t, mean, var, None, None, True).pow(3).sum())(x)
        derivative = torch.func.jvp(lambda t: function(t, mean, var, None, None, True), (x,), (tangent,))
        return [gradient, *derivative, mean, var]

    assert_close(found(ours), found(theirs))


@KERNELS
def test_data_of_another_layout_are_read_as_they_lie(backend):
    x, dy = drawn(*SHAPE), drawn(*SHAPE, seed=5)
    wanted = outcome(NORMS["GroupNorm"], x, dy=dy, num_groups=2)[1]
    given = x.clone().requires_grad_()
    y = functional.group_norm(given, 2, backend=backend)
    given.data = given.data.to(memory_format=torch.channels_last)
    assert_close(torch.autograd.grad(y, given, dy)[0], wanted)


@KERNELS
@pytest.mark.parametrize("activation", [None, "relu", "silu"], ids=str)
@EVERY_NORM
def test_a_bias_may_be_stepped_between_two_backward_passes(spec, activation, backend):
    """As with torch's BatchNorm, whose backward pass asks for no bias."""
    if not spec.centred:
        pytest.skip("has no bias")
    weight, bias = torch.ones(affine_of(spec)), torch.zeros(affine_of(spec), requires_grad=True)
    inputs = [drawn(*SHAPE, seed=seed, dtype=torch.float32) for seed in range(2)]
    wanted = [
        torch.autograd.grad(
            norm_of(spec, x, weight, bias, activation=activation, backend="reference").square().sum(), bias
        )
        for x in inputs
    ]
    outputs = [norm_of(spec, x, weight, bias, activation=activation, backend="numba") for x in inputs]
    found = []
    for y in outputs:
        found.append(torch.autograd.grad(y.square().sum(), bias))
        with torch.no_grad():
            bias -= 0.1 * found[-1][0]
    for mine, theirs in zip(found, wanted, strict=True):
        assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


# ---- many gradients in one, gradients of gradients ----


@EVERY_WAY
@EVERY_NORM
def test_batched_gradients_are_those_one_by_one(spec, backend):
    x, weight = drawn(2, 4, 3, 3).requires_grad_(), drawn(*affine_of(spec, (2, 4, 3, 3)), seed=1).requires_grad_()
    for activation in (None, "silu"):
        y = norm_of(spec, x, weight, activation=activation, backend=backend)
        many = drawn(5, 2, 4, 3, 3, seed=2)
        found = torch.autograd.grad(y, (x, weight), many, is_grads_batched=True, retain_graph=True)
        wanted = [torch.autograd.grad(y, (x, weight), dy, retain_graph=True) for dy in many]
        close(found, [torch.stack(t) for t in zip(*wanted, strict=True)])
    jacobian = torch.autograd.functional.jacobian
    compute = lambda t: norm_of(spec, t, weight.detach(), backend=backend)  # noqa: E731
    assert_close(jacobian(compute, x, vectorize=True), jacobian(compute, x))


@EVERY_WAY
def test_the_gradient_of_an_evaluation_is_the_same_after_a_training_step(backend):
    norm = modules.BatchNorm1d(3, dtype=torch.float64, backend=backend)
    x = drawn(6, 3).requires_grad_()
    y, dy = norm.eval()(x), drawn(6, 3, seed=1)
    before = torch.autograd.grad(y, x, dy, retain_graph=True)[0]
    norm.train()(x.detach() * 9 + 3)
    for further in (False, True):
        assert_close(torch.autograd.grad(y, x, dy, create_graph=further, retain_graph=True)[0], before)


# ---- outputs that exist ----


@EVERY_WAY
@EVERY_NORM
def test_autograd_is_told_that_an_output_was_written(spec, backend):
    x, buffer = drawn(*SHAPE), torch.empty(SHAPE, dtype=torch.float64)
    other = torch.ones(SHAPE, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        norm_of(spec, x, out=buffer, backend=backend)
    product = (other * buffer).sum()
    with torch.no_grad():
        norm_of(spec, x, out=buffer, backend=backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


@EVERY_WAY
@EVERY_NORM
@pytest.mark.parametrize("ahead", [0, 1, 5, 4096])
def test_an_output_that_overlaps_the_input_gets_what_the_input_was(spec, ahead, backend):
    n = drawn(*SHAPE).numel()
    room = drawn(n + ahead)
    x, out = room[:n].view(SHAPE), room[ahead:].view(SHAPE)
    wanted = norm_of(spec, x.clone(), backend="reference")
    assert norm_of(spec, x, out=out, backend=backend) is out
    close([out], [wanted])


@EVERY_WAY
def test_an_output_that_overlaps_the_weight_gets_what_the_weight_was(backend):
    room = drawn(512 * 256 + 256)
    x, weight, out = drawn(512, 256, seed=1), room[:256], room[128 : 128 + 512 * 256].view(512, 256)
    wanted = functional.layer_norm(x, (256,), weight.clone(), backend="reference")
    close([functional.layer_norm(x, (256,), weight, out=out, backend=backend)], [wanted])


@EVERY_WAY
def test_an_output_that_cannot_be_written_is_refused(backend):
    x = drawn(8, 16)
    with torch.inference_mode():
        inference = torch.empty_like(x)
        assert functional.layer_norm(x, (16,), out=inference, backend=backend) is inference
    with pytest.raises(ArgumentError, match="inference mode"):
        functional.layer_norm(x, (16,), out=inference, backend=backend)
    one = x[:1].expand(8, 16)
    with pytest.raises(ShapeError, match="a place of its own"):
        functional.layer_norm(one, (16,), out=one, backend=backend)
    with pytest.raises(NormsuiteError, match="out"):
        functional.layer_norm(drawn(*SHAPE), (16,), out=freed(drawn(*SHAPE)), backend=backend)


# ---- other kinds of tensors ----


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("backend", ["torch", "numba", "auto"])
def test_jagged_tensors_are_torch_s(backend):
    parts = [drawn(2, 8, dtype=torch.float32), drawn(3, 8, dtype=torch.float32)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    y = functional.layer_norm(jagged, (8,), backend=backend)
    assert_close(y.unbind()[1], functional.layer_norm(parts[1], (8,)))
    with pytest.raises(ArgumentError, match="nested"):
        functional.layer_norm(torch.nested.nested_tensor(parts), (8,), backend=backend)
    with pytest.raises(NormsuiteError, match="nested"):
        functional.layer_norm(jagged, (8,), backend="reference")


@EVERY_WAY
def test_silu_of_minus_infinity_is_torch_s(backend):
    bias = torch.tensor([-torch.inf, torch.inf, -1e4, 1e4, -90.0, 90.0, -88.5, 0.0])
    for x in (torch.zeros(2, 8, 4, 4), torch.zeros(*SHAPE)):
        y = functional.group_norm(x, 2, None, bias, activation="silu", backend=backend)
        wanted = torch.nn.functional.silu(bias).reshape(1, 8, 1, 1).expand(x.shape)
        assert_close(y, wanted, equal_nan=True, rtol=1e-5, atol=1e-30)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@EVERY_WAY
@EVERY_NORM
def test_a_trace_holds_operations_and_serves_other_batches(spec, backend):
    x, other = drawn(*SHAPE), drawn(3, *SHAPE[1:], seed=1)
    compute = lambda t: norm_of(spec, t, backend=backend)  # noqa: E731
    compute(x)  # remembered
    traced = torch.jit.trace(compute, (x,))
    for t in (x, other):
        assert_close(traced(t), compute(t))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
@pytest.mark.parametrize("backend", ["torch", "numba", "auto"])
def test_distributed_tensors_are_torch_s(backend, tmp_path):
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        x, weight = drawn(512, 256, dtype=torch.float32), drawn(256, dtype=torch.float32, seed=1)
        ours = distribute_tensor(x, mesh, [Shard(0)]), distribute_tensor(weight, mesh, [Replicate()])
        wanted = functional.rms_norm(x, (256,), weight, 1e-5)
        for _ in range(2):
            y = functional.rms_norm(ours[0], (256,), ours[1], 1e-5, backend=backend)
            assert_close(y.full_tensor(), wanted)
            functional.rms_norm(x, (256,), weight, 1e-5, backend=backend)
            with pytest.raises(RuntimeError, match="mixed"):
                functional.rms_norm(x, (256,), ours[1], 1e-5, backend=backend)
    finally:
        torch.distributed.destroy_process_group()
