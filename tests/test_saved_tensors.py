"""What is saved for the backward pass and changed before it, and gradients of other kinds."""

import pytest
import torch
from addressed import EVERY_WAY, KERNELS, SHAPE, SMALL, STRANGE, affine_of, cut_short, freed, norm_of
from outcomes import EVERY_NORM, close, drawn, outcome
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from normsuite import functional, modules
from normsuite.errors import StorageError, UnsupportedError
from normsuite.spec import NORMS
from normsuite.tensors import guards

pytest.importorskip("numba", reason="needs numba")
pytestmark = pytest.mark.usefixtures("kernels_at_every_size")


@pytest.mark.parametrize("name", ["LayerNorm", "BatchNorm2d", "RMSNorm"])
def test_checkpointing_goes_on_where_a_dispatch_mode_ends(name):
    """The operator that a mode sees saves what the kernels save, so that a recomputation without the mode fits."""
    norm = getattr(modules, name)(*((8,) if name == "BatchNorm2d" else (16,)), backend="numba")
    x = drawn(4, 8, 16, 16).requires_grad_()
    with FlopCounterMode(display=False):
        y = checkpoint(lambda t: norm(t.sin()), x, use_reentrant=False)
    y.square().sum().backward()
    (expected,) = torch.autograd.grad(norm(x.sin()).square().sum(), x)
    assert_close(x.grad, expected)


def test_a_bias_may_be_stepped_before_the_backward_pass_under_a_dispatch_mode():
    norm, x = modules.BatchNorm2d(8, backend="numba"), drawn(4, 8, 3, 3, dtype=torch.float32).requires_grad_()
    with FlopCounterMode(display=False):
        y = norm(x)
        with torch.no_grad():
            norm.bias.add_(1)
        y.sum().backward()
    assert norm.bias.grad.eq(36).all()


AFTER_ANOTHER = pytest.mark.parametrize("after", [False, True], ids=["first", "after another"])
"""Steps that were checked in full before, so that guards alone are compared, or were not."""


def step(spec, backend):
    """Run a step whose tensors have the guards of those in these tests."""
    x, weight = drawn(*SHAPE).requires_grad_(), drawn(*affine_of(spec)).requires_grad_()
    torch.autograd.grad(norm_of(spec, x, weight, backend=backend), (x, weight), drawn(*SHAPE))


# ---- between forward and backward ----


@AFTER_ANOTHER
@KERNELS
@EVERY_NORM
@pytest.mark.parametrize("name", ["input", "weight"])
@pytest.mark.parametrize(
    "changed",
    [lambda t: t[:1].clone(), lambda t: t.double(), lambda t: t.bfloat16(), lambda t: t.flatten()[:4].clone(), freed],
    ids=["shorter", "wider", "narrower", "flat", "freed"],
)
def test_data_that_were_replaced_before_the_backward_pass_are_refused(spec, name, changed, backend, after):
    if after:
        same = drawn(*SHAPE, dtype=torch.float32).requires_grad_(), drawn(*affine_of(spec), dtype=torch.float32)
        norm_of(spec, same[0], same[1].requires_grad_(), backend=backend).sum().backward()
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
    """Gradients, and gradients of gradients, are of the weight that was used, as in torch, which repeats it."""
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


@AFTER_ANOTHER
@EVERY_NORM
@pytest.mark.parametrize("further", [False, True], ids=["once", "create_graph"])
def test_an_incoming_gradient_that_is_not_there_is_refused(spec, further, after):
    if after:
        step(spec, "numba")
    x, weight = drawn(*SHAPE).requires_grad_(), drawn(*affine_of(spec), seed=1).requires_grad_()
    for change in (freed, cut_short):
        y = norm_of(spec, x, weight, backend="numba")
        with pytest.raises(StorageError, match=r"dy = .*bytes of its storage"):
            torch.autograd.grad(y, (x, weight), change(drawn(*SHAPE, seed=9)), create_graph=further)


@pytest.mark.parametrize("backend", ["numba"])
@EVERY_NORM
def test_each_kind_of_backward_pass_is_checked_in_full_once(spec, backend, monkeypatch):
    made, of = [], guards.of
    monkeypatch.setattr(guards, "of", lambda *tensors: made.append(len(tensors)) or of(*tensors))
    x, weight = drawn(*SHAPE, 3).requires_grad_(), drawn(*affine_of(spec, (*SHAPE, 3)), seed=1).requires_grad_()
    norm_of(spec, x, weight, backend=backend)  # the forward pass has guards of its own
    kinds = [drawn(*SHAPE, 3), torch.ones((), dtype=torch.float64).expand(*SHAPE, 3), drawn(3, *SHAPE).movedim(0, -1)]
    made.clear()
    for dy in kinds * 3:
        torch.autograd.grad(norm_of(spec, x, weight, backend=backend), (x, weight), dy)
    assert made == [5] * len(kinds)


@AFTER_ANOTHER
@EVERY_WAY
@EVERY_NORM
@pytest.mark.parametrize("kind", ["zeros", "negative view", "misaligned"])
def test_an_incoming_gradient_that_is_no_memory_is_computed_with(spec, kind, backend, after):
    """Torch makes zeros that are stored nowhere for what has no derivative, as the imaginary part of a real number."""
    x, dy = drawn(*SHAPE).requires_grad_(), STRANGE[kind](drawn(*SHAPE, seed=9))
    if after:
        norm_of(spec, x, backend=backend).backward(drawn(*SHAPE))
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
    """The backward pass of torch's BatchNorm asks for no bias, either."""
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
    for mine, theirs in zip(found, wanted, strict=True):  # sums of thousands, which cancel without an activation
        assert_close(mine, theirs, rtol=1e-3, atol=1e-2)


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
