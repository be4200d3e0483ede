"""`activation=` and `out=`, for every norm and backend."""

import copy
import io
import pickle
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from strategies import ON_CPU, num_groups
from torch import nn
from torch.testing import assert_close

import normsuite
from normsuite import backends, conversion, functional, modules
from normsuite.errors import ArgumentError, ShapeError, UnknownNameError
from normsuite.spec import NORMS

EVERY = pytest.mark.parametrize(
    ("spec", "backend"),
    [(spec, backend) for spec in NORMS.values() for backend in ON_CPU],
    ids=lambda value: getattr(value, "name", value),
)
BACKENDS = pytest.mark.parametrize("backend", ON_CPU)
ACTIVATIONS = pytest.mark.parametrize("activation", backends.ACTIVATIONS)
SHAPE = (3, 4, 5, 6)
FORMATS = (torch.contiguous_format, torch.channels_last)


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def operands(spec, dtype=torch.float64, memory_format=torch.contiguous_format):
    affine = SHAPE[1:] if spec.affine == "element" else SHAPE[1:2]
    x = drawn(*SHAPE, dtype=dtype).contiguous(memory_format=memory_format)
    given = [x, drawn(*affine, seed=1, dtype=dtype) + 1, drawn(*affine, seed=2, dtype=dtype)]
    return [t.requires_grad_() for t in given[: 3 if spec.centred else 2]]


def normalize(spec, *given, **options):
    return functional.normalize(spec, *given, **{"num_groups": num_groups(spec), "eps": 1e-3} | options)


# ---- activation= ----


def test_the_activations_are_torch_s():
    assert backends.ACTIVATIONS == ("relu", "silu")


@ACTIVATIONS
@EVERY
def test_forward_and_backward_are_torch_s_behind_the_norm(spec, backend, activation):
    for memory_format in FORMATS:
        given, dy = operands(spec, memory_format=memory_format), drawn(*SHAPE, seed=5)
        y = normalize(spec, *given, activation=activation, backend=backend)
        expected = getattr(F, activation)(normalize(spec, *given, backend="reference"))
        assert_close(y, expected, rtol=1e-11, atol=1e-11)
        for found, wanted in zip(
            torch.autograd.grad(y, given, dy), torch.autograd.grad(expected, given, dy), strict=True
        ):
            assert_close(found, wanted, rtol=1e-11, atol=1e-11)


@ACTIVATIONS
@EVERY
def test_behind_a_norm_without_an_affine_map(spec, backend, activation):
    x = operands(spec)[0]
    y = normalize(spec, x, activation=activation, backend=backend)
    expected = getattr(F, activation)(normalize(spec, x, backend="reference"))
    assert_close(y, expected, rtol=1e-11, atol=1e-11)
    dy = drawn(*SHAPE, seed=5)
    assert_close(torch.autograd.grad(y, x, dy), torch.autograd.grad(expected, x, dy), rtol=1e-11, atol=1e-11)


@ACTIVATIONS
@BACKENDS
@pytest.mark.parametrize("name", [name for name, spec in NORMS.items() if spec.running != "never"])
def test_behind_running_statistics(name, backend, activation):
    given, dy = operands(NORMS[name]), drawn(*SHAPE, seed=5)
    options = {"running_mean": drawn(4, seed=3), "running_var": drawn(4, seed=4) ** 2, "use_input_stats": False}
    y = normalize(NORMS[name], *given, activation=activation, backend=backend, **options)
    expected = getattr(F, activation)(normalize(NORMS[name], *given, backend="reference", **options))
    assert_close(y, expected, rtol=1e-11, atol=1e-11)
    for found, wanted in zip(torch.autograd.grad(y, given, dy), torch.autograd.grad(expected, given, dy), strict=True):
        assert_close(found, wanted, rtol=1e-11, atol=1e-11)


@ACTIVATIONS
@EVERY
def test_gradcheck(spec, backend, activation):
    x = drawn(2, 4, 2, 2, seed=7).requires_grad_()
    # Nowhere so near to ReLU's corner that a difference of outputs would step over it.
    assert normalize(spec, x, backend="reference").abs().min() > 1e-4
    assert torch.autograd.gradcheck(lambda x: normalize(spec, x, activation=activation, backend=backend), (x,))


@EVERY
def test_relu_at_zero_has_no_gradient(spec, backend):
    """The gradient at 0 is 0, for the input and for the parameters, as torch's."""
    for memory_format in FORMATS:
        x, *parameters = (t.detach() for t in operands(spec, memory_format=memory_format))
        parameters = [torch.zeros_like(t).requires_grad_() for t in parameters]
        y = normalize(spec, x, *parameters, activation="relu", backend=backend)
        assert y.abs().max() == 0
        for gradient in torch.autograd.grad(y, parameters, torch.ones_like(y)):
            assert gradient.abs().max() == 0
        x = torch.zeros(SHAPE, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
        y = normalize(spec, x, activation="relu", backend=backend)
        assert torch.autograd.grad(y, x, drawn(*SHAPE))[0].abs().max() == 0


@ACTIVATIONS
@EVERY
def test_a_nan_stays_one(spec, backend, activation):
    for memory_format in FORMATS:
        x = drawn(*SHAPE).contiguous(memory_format=memory_format)
        x[1, 2, 3, 4] = torch.nan
        plain = normalize(spec, x, backend=backend)
        y = normalize(spec, x, activation=activation, backend=backend)
        assert y[1, 2, 3, 4].isnan() and torch.equal(y.isnan(), plain.isnan()) and not y.isnan().all()


@BACKENDS
def test_silu_of_numbers_far_from_zero(backend):
    """Neither an overflow nor a NaN where e⁻ᶻ leaves the range of the type."""
    x = torch.tensor([-3e38, -1e4, -89.0, -88.0, -60.0, -0.0, 0.0, 60.0, 88.0, 89.0, 1e4, 3e38], dtype=torch.float64)
    x = x.reshape(-1, 1).requires_grad_()
    y = functional.batch_norm(
        x,
        torch.zeros(1, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
        eps=0.0,
        activation="silu",
        backend=backend,
    )
    assert_close(y, F.silu(x), rtol=1e-12, atol=1e-30)
    found, expected = (torch.autograd.grad(z, x, torch.ones_like(x))[0] for z in (y, F.silu(x)))
    assert_close(found, expected, rtol=1e-11, atol=1e-30)


@ACTIVATIONS
@pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
def test_kernels_round_once_in_float32(activation, memory_format):
    """Output and gradient of the kernels in float32, of far numbers too, against float64."""
    pytest.importorskip("numba", reason="needs numba")
    x = (torch.linspace(-200, 200, 16 * 8 * 64, dtype=torch.float64).reshape(16, 8, 8, 8)).float()
    x, dy = x.contiguous(memory_format=memory_format), drawn(16, 8, 8, 8, dtype=torch.float32)

    def outcome(x, dy, backend):
        x = x.detach().requires_grad_()
        running = torch.zeros(8, dtype=x.dtype), torch.ones(8, dtype=x.dtype)
        y = functional.batch_norm(x, *running, eps=0.0, activation=activation, backend=backend)
        return y.detach().double(), torch.autograd.grad(y, x, dy)[0].double()

    for found, true in zip(outcome(x, dy, "numba"), outcome(x.double(), dy.double(), "reference"), strict=True):
        assert_close(found, true, rtol=2e-6, atol=1e-30 if activation == "relu" else 1e-6)


@pytest.mark.parametrize("activation", ["tanh", "ReLU", ""])
@EVERY
def test_an_unknown_activation_is_named(spec, backend, activation):
    """The tensor has any size: a small one takes a way of its own under some backends."""
    for x in (drawn(*SHAPE), drawn(8, 4, 64, 64)):
        with pytest.raises(UnknownNameError, match=f"activation = '{activation}': unknown; .*known are relu, silu"):
            normalize(spec, x, activation=activation, backend=backend)


def test_every_named_function_takes_it():
    x, weight, bias = (t.detach() for t in operands(NORMS["BatchNorm"]))
    running = drawn(4, seed=3), drawn(4, seed=4) ** 2
    for call in (
        lambda **own: functional.batch_norm(x, None, None, weight, bias, True, **own),
        lambda **own: functional.batch_norm(x, *running, weight, bias, **own),
        lambda **own: functional.instance_norm(x, None, None, weight, bias, **own),
        lambda **own: functional.group_norm(x, 2, weight, bias, **own),
        lambda **own: functional.layer_norm(x, (6,), **own),
        lambda **own: functional.rms_norm(x, (5, 6), **own),
    ):
        for backend in ON_CPU:
            plain, out = call(backend=backend), torch.empty_like(x)
            assert (plain < 0).any()
            for activation in backends.ACTIVATIONS:
                y = call(backend=backend, activation=activation)
                assert_close(y, getattr(F, activation)(plain), rtol=1e-11, atol=1e-11)
                assert call(backend=backend, activation=activation, out=out) is out
                assert_close(out, y, rtol=1e-12, atol=1e-12)


# ---- in modules ----


@ACTIVATIONS
@EVERY
def test_modules_take_it_show_it_and_keep_it(spec, backend, activation):
    made = modules.make(spec, 4, SHAPE[2:], num_groups=2, activation=activation, backend=backend)
    plain = modules.make(spec, 4, SHAPE[2:], num_groups=2, backend=backend)
    assert made.activation == activation and f"activation={activation}" in repr(made)
    assert plain.activation is None and "activation" not in repr(plain)
    assert list(made.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(drawn(*parameter.shape, seed=1).float())
    plain.load_state_dict(made.state_dict(), strict=True)
    x = drawn(*SHAPE, dtype=torch.float32)
    y, expected = made(x), getattr(F, activation)(plain(x))
    assert_close(y, expected)
    assert_close(made.eval()(x), getattr(F, activation)(plain.eval()(x)))

    buffer = io.BytesIO()
    torch.save(made, buffer)
    buffer.seek(0)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), torch.load(buffer, weights_only=False)):
        assert again.activation == activation and again.backend == backend and repr(again) == repr(made)
        assert torch.equal(again(x), made(x))
    made.activation = None
    assert_close(made(x), plain(x))


@pytest.mark.parametrize("theirs", conversion._OURS, ids=lambda theirs: theirs.__name__)
def test_convert_and_revert(theirs):
    arguments = {nn.LayerNorm: ((4, 5),), nn.RMSNorm: ((4, 5),), nn.GroupNorm: (2, 4)}.get(theirs, (4,))
    module = theirs(*arguments)
    before = repr(module)
    normsuite.convert(module, backend="reference")
    assert module.activation is None and "activation" not in repr(module)
    module.activation = "relu"
    assert repr(module).endswith("activation=relu, backend=reference)")
    normsuite.convert(module, backend="torch")  # again: what follows the norm stays
    assert module.activation == "relu" and module.backend == "torch"
    assert normsuite.revert(module).left == {"": theirs.__name__}, "torch's class has no activation"
    assert module.activation == "relu"
    module.activation = None
    normsuite.revert(module)
    assert type(module) is theirs and repr(module) == before
    assert not {"_activation", "_backend", "activation", "backend"} & set(vars(module))
    normsuite.convert(module)
    assert module.activation is None


def test_modules_refuse_an_unknown_one():
    with pytest.raises(UnknownNameError, match=r"activation = 'gelu': unknown; .*known are relu, silu"):
        modules.BatchNorm2d(4, activation="gelu")
    module = modules.GroupNorm(2, 4, activation="silu")
    with pytest.raises(UnknownNameError, match="activation = 'gelu'"):
        module.activation = "gelu"
    assert module.activation == "silu"


# ---- out= ----


@pytest.mark.parametrize("activation", [None, "relu"], ids=str)
@EVERY
def test_out_is_where_the_result_lies(spec, backend, activation):
    for memory_format in FORMATS:
        given = [t.detach() for t in operands(spec, memory_format=memory_format)]
        expected = normalize(spec, *given, activation=activation, backend=backend)
        out = torch.full_like(given[0], torch.nan)
        place = out.data_ptr()
        y = normalize(spec, *given, activation=activation, backend=backend, out=out)
        assert y is out or y.data_ptr() == place
        assert_close(out, expected, rtol=1e-12, atol=1e-12)
        assert out.stride() == given[0].stride()
        assert out.is_contiguous(memory_format=memory_format)


@EVERY
def test_the_input_can_be_overwritten(spec, backend):
    for memory_format in FORMATS:
        given = [t.detach() for t in operands(spec, memory_format=memory_format)]
        expected = normalize(spec, *given, activation="relu", backend=backend)
        normalize(spec, *given, activation="relu", backend=backend, out=given[0])
        assert_close(given[0], expected, rtol=1e-12, atol=1e-12)


@EVERY
def test_out_with_gaps_keeps_what_lies_between(spec, backend):
    """A view of every second number: the gaps stay as they were."""
    room = torch.full((*SHAPE[:-1], 2 * SHAPE[-1]), torch.nan, dtype=torch.float64)
    x = drawn(*room.shape)[..., ::2]
    out = room[..., ::2]
    assert out.stride() == x.stride()
    expected = normalize(spec, x, backend=backend)
    normalize(spec, x, backend=backend, out=out)
    assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert room[..., 1::2].isnan().all()


@EVERY
def test_out_of_turned_dimensions(spec, backend):
    x, out = (drawn(5, 4, 3, 6, seed=seed).transpose(0, 2) for seed in (0, 1))
    expected = normalize(spec, x, backend=backend)
    normalize(spec, x, backend=backend, out=out)
    assert_close(out, expected, rtol=1e-12, atol=1e-12)


@EVERY
def test_out_over_some_trailing_dimensions(spec, backend):
    if spec.affine != "element":
        pytest.skip("has no trailing dimensions")
    for memory_format in FORMATS:
        x = drawn(*SHAPE).contiguous(memory_format=memory_format)
        weight, bias = drawn(5, 6, seed=1), drawn(5, 6, seed=2) if spec.centred else None
        options = {"normalized_shape": (5, 6), "backend": backend, "activation": "relu"}
        expected = normalize(spec, x, weight, bias, **options)
        out = torch.full_like(x, torch.nan)
        normalize(spec, x, weight, bias, out=out, **options)
        assert_close(out, expected, rtol=1e-12, atol=1e-12)


@BACKENDS
def test_out_of_a_weight_for_each_number_and_means_over_some(backend):
    """A norm that torch has not, whose affine map some backends apply in steps of their own."""
    spec = replace(NORMS["LayerNorm"], name="Rows", axes=frozenset({"spatial"}), torch_call=None)
    if backend == "torch":
        pytest.skip("torch has no such norm")
    x, weight, bias = drawn(*SHAPE), drawn(*SHAPE[1:], seed=1), drawn(*SHAPE[1:], seed=2)
    expected = normalize(spec, x, weight, bias, backend="reference")
    out = torch.full_like(x, torch.nan)
    y = normalize(spec, x, weight, bias, backend=backend, out=out)
    assert y.data_ptr() == out.data_ptr()
    assert_close(out, expected, rtol=1e-11, atol=1e-11)


@BACKENDS
def test_out_in_evaluation_and_while_running_statistics_move(backend):
    x = drawn(*SHAPE)
    for training in (True, False):
        found = []
        for out in (None, torch.empty_like(x)):
            running = drawn(4, seed=3), drawn(4, seed=4) ** 2
            y = functional.batch_norm(x, *running, training=training, backend=backend, out=out)
            found.append((y, *running))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@BACKENDS
@pytest.mark.parametrize(
    ("out", "needs", "error", "says"),
    [
        (torch.empty(3, 4, 5, 5, dtype=torch.float64), False, ShapeError, "out = '(3, 4, 5, 5), torch.float64, cpu'"),
        (torch.empty(SHAPE, dtype=torch.float32), False, ShapeError, "must be like the input"),
        (torch.empty(SHAPE, dtype=torch.float64, device="meta"), False, ShapeError, "must be like the input"),
        (
            torch.empty(SHAPE, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
            False,
            ShapeError,
            "out.stride() = ",
        ),
        (torch.empty(SHAPE, dtype=torch.float64), True, ArgumentError, "cannot be given where a gradient is asked for"),
    ],
    ids=["shape", "dtype", "device", "layout", "gradient"],
)
def test_an_out_that_does_not_fit_is_refused(out, needs, error, says, backend):
    x, parameter = drawn(*SHAPE), drawn(4, seed=1)
    calls = [lambda: functional.instance_norm(x.requires_grad_(needs), out=out, backend=backend)]
    if needs:  # a parameter that needs one is enough
        calls.append(lambda: functional.group_norm(x.detach(), 2, parameter.requires_grad_(), out=out, backend=backend))
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert says in str(caught.value) and "\n" not in str(caught.value)
    with torch.no_grad():
        if needs:
            assert functional.instance_norm(x, out=out, backend=backend) is out


@BACKENDS
def test_an_out_that_needs_a_gradient_or_is_no_tensor_is_refused(backend):
    with pytest.raises(ArgumentError, match="out"):
        functional.instance_norm(drawn(*SHAPE), out=torch.empty(SHAPE, dtype=torch.float64).tolist(), backend=backend)
    with pytest.raises(ArgumentError, match="out"):
        out = torch.empty(SHAPE, dtype=torch.float64, requires_grad=True)
        functional.instance_norm(drawn(*SHAPE), out=out, backend=backend)
