"""The CPU kernels: every norm that a spec can describe, every path through them, and what they are given."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from outcomes import EVERY_NORM, LAYOUTS, agree, channels_last, close, drawn, made_up, outcome
from strategies import num_groups
from torch.testing import assert_close

from normsuite import functional, modules, oracle
from normsuite.spec import NORMS

pytest.importorskip("numba", reason="needs numba")

AXES = [frozenset(axes) for n in (1, 2, 3) for axes in itertools.combinations(("batch", "group", "spatial"), n)]


# ---- every norm that a spec can describe ----


@pytest.mark.parametrize("centred", [True, False], ids=["centred", "uncentred"])
@pytest.mark.parametrize("axes", AXES, ids=lambda axes: "-".join(sorted(axes)))
@pytest.mark.parametrize("groups", ["one", "channels", "given"])
def test_every_set_of_axes_and_groups(groups, axes, centred):
    spec = made_up(groups, axes, centred=centred)
    wanted = 3 if groups == "given" else None
    for shape, layouts in (
        ((4, 6), ["contiguous", "turned"]),
        ((3, 6, 7), LAYOUTS),
        ((3, 6, 5, 4), LAYOUTS),
        ((2, 6, 3, 2, 5), ["contiguous", "channels_last"]),
    ):
        view = spec.view(shape, num_groups=wanted)
        if view.count == 1:
            continue
        weight, bias = drawn(6, seed=1) + 2, drawn(6, seed=2)
        for layout, affine in itertools.product(layouts, [(weight, bias), (weight, None), (None, bias), (None, None)]):
            agree(spec, LAYOUTS[layout](drawn(*shape, mean=0.5)), *affine, num_groups=wanted, eps=1e-3)


@pytest.mark.parametrize("centred", [True, False], ids=["centred", "uncentred"])
@pytest.mark.parametrize("axes", AXES, ids=lambda axes: "-".join(sorted(axes)))
def test_a_weight_for_each_element_of_trailing_dimensions(axes, centred):
    spec = made_up("one", axes, affine="element", centred=centred)
    x = drawn(3, 6, 5, 4, mean=0.5)
    for trailing, layout in itertools.product([(4,), (5, 4), (6, 5, 4), (3, 6, 5, 4)], LAYOUTS):
        if not spec.view(x.shape, normalized_shape=trailing).count > 1:
            continue
        weight, bias = drawn(*trailing, seed=1) + 2, drawn(*trailing, seed=2)
        for affine in ((weight, bias), (weight, None), (None, bias), (None, None)):
            agree(spec, LAYOUTS[layout](x), *affine, normalized_shape=trailing, eps=1e-3)


@EVERY_NORM
def test_parameters_that_do_not_lie_side_by_side(spec):
    x = drawn(3, 6, 5, 4)
    shape = x.shape[1:] if spec.affine == "element" else (6,)
    weight, bias = (drawn(*shape, 2, seed=seed)[..., 0] for seed in (1, 2))
    expanded = drawn(*shape[:-1], 1, seed=3).expand(shape)
    for affine in ((weight, bias if spec.centred else None), (expanded, expanded if spec.centred else None)):
        for layout in (LAYOUTS["contiguous"], channels_last):
            agree(spec, layout(x), *affine, num_groups=3 if spec.groups == "given" else None)


# ---- sizes that reach every path ----

SIZES = {
    "short rows": (5, 6, 7, 11),
    "many short rows": (70, 6, 97),
    "more rows than a thread takes at a time": (400, 6, 2, 2),
    "rows longer than a block": (3, 2, 5003),
    "a row of a block": (2, 4, 64, 64),
    "few statistics, in parts": (4, 2, 170, 71),
    "long rows with a weight for each number": (2, 6, 3001),
    "long rows in parts": (1, 2, 251, 199),
    "rows read by fours": (11, 4, 29, 31),
    "rows longer than a block read by fours": (6, 2, 4100),
    "long rows written by fours": (19, 2, 1301),
    "2 channels": (3, 2, 13, 17),
    "8 channels": (5, 8, 29, 23),
    "16 channels": (4, 16, 31, 37),
    "100 channels": (3, 100, 13, 19),
    "no place but one": (300, 130),
    "one sample": (1, 8, 61, 83),
}


@EVERY_NORM
@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
def test_every_path(shape, spec):
    if len(shape) == 2 and spec.name == "InstanceNorm":
        pytest.skip("one value for each statistic")
    x = drawn(*shape, mean=0.5)
    affine = shape[1:] if spec.affine == "element" else shape[1:2]
    weight, bias = drawn(*affine, seed=1) + 2, drawn(*affine, seed=2)
    for layout in (LAYOUTS["contiguous"], channels_last):
        agree(spec, layout(x), weight, bias if spec.centred else None, num_groups=num_groups(spec))
        agree(spec, layout(x), None, None, num_groups=num_groups(spec))


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm", "InstanceNorm"])
def test_three_channels(name):
    """A number of columns that fills no vector register, in a tensor worked on in parts and in one that is not."""
    for shape in ((2, 3, 13, 17), (2, 3, 211, 223)):
        spec = NORMS[name]
        affine = shape[1:] if spec.affine == "element" else shape[1:2]
        agree(spec, channels_last(drawn(*shape)), drawn(*affine, seed=1), drawn(*affine, seed=2))


# ---- evaluation and running statistics ----


@pytest.mark.parametrize("kept_in", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["BatchNorm", "InstanceNorm", "GroupNorm"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_evaluation(name, kept_in, layout):
    x = LAYOUTS[layout](drawn(3, 6, 5, 4))
    running = {"running_mean": drawn(6, seed=3).to(kept_in), "running_var": (drawn(6, seed=4) ** 2).to(kept_in)}
    before = copy.deepcopy(running)
    options = {**running, "use_input_stats": False, "num_groups": 3 if name == "GroupNorm" else None}
    weight, bias = drawn(6, seed=1), drawn(6, seed=2)
    for affine in ((weight, bias), (weight, None), (None, bias), (None, None)):
        agree(NORMS[name], x, *affine, **options)
    assert_close(running, before, rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["BatchNorm", "InstanceNorm"])
def test_evaluation_of_a_large_tensor(name, layout):
    x = LAYOUTS[layout](drawn(8, 6, 61, 59))
    options = {"running_mean": drawn(6, seed=3), "running_var": drawn(6, seed=4) ** 2, "use_input_stats": False}
    agree(NORMS[name], x, drawn(6, seed=1), drawn(6, seed=2), **options)


@pytest.mark.parametrize("momentum", [0.3, 0.0, 1.0, torch.tensor(0.3)], ids=str)
@pytest.mark.parametrize("kept_in", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_running_statistics_move(name, kept_in, momentum, layout):
    found = []
    for backend in ("reference", "numba"):
        running = drawn(6, seed=3).to(kept_in), (drawn(6, seed=4) ** 2).to(kept_in)
        for seed in range(2):
            x = LAYOUTS[layout](drawn(3, 6, 5, 4, seed=seed, mean=3))
            options = {"running_mean": running[0], "running_var": running[1], "momentum": momentum}
            functional.normalize(NORMS[name], x, backend=backend, **options)
        found.append([t.double() for t in running])
    bound = max(1e-12, 2 * torch.finfo(kept_in).eps)  # both round: before the average or behind it
    close(found[1], found[0], bound)
    assert (momentum == 0) == torch.equal(found[1][0], drawn(6, seed=3).to(kept_in).double())


def test_running_statistics_that_lie_in_a_larger_tensor():
    found = []
    for backend in ("reference", "numba"):
        room = torch.ones(6, 2, dtype=torch.float64)
        options = {"running_mean": room[:, 0], "running_var": room[:, 1]}
        functional.normalize(NORMS["BatchNorm"], drawn(3, 6, 5, 4), backend=backend, **options)
        found.append(room)
    close(found[1:], found[:1])


def test_a_cumulative_average():
    mine, theirs = (
        modules.BatchNorm2d(6, momentum=None, dtype=torch.float64, backend=backend)
        for backend in ("numba", "reference")
    )
    for seed in range(3):
        x = drawn(3, 6, 5, 4, seed=seed, mean=seed)
        close([mine(x).detach()], [theirs(x).detach()])
    assert mine.num_batches_tracked == 3
    close([mine.running_mean, mine.running_var], [theirs.running_mean, theirs.running_var])


# ---- guesses that are far off, numbers that are none ----


def hard(kind, shape):
    """Numbers whose first ones, or those at places from which a mean may be guessed, say little of the rest."""
    x = drawn(*shape)
    if kind == "constant first rows":
        x[:, :, : shape[2] // 4] = 1000.0
        x[:, :, shape[2] // 4 :] += 3.0
    elif kind == "outliers all over":
        x.view(-1)[:: max(1, x.numel() // 64)] = 1e4
    elif kind == "an outlier first":
        x[..., 0, 0] = 1e5
    elif kind == "a far mean":
        x += 1e6
    elif kind == "a mean that moves":
        x += torch.linspace(-1e4, 1e4, shape[-1], dtype=x.dtype)
    return x.float()


@EVERY_NORM
@pytest.mark.parametrize(
    "kind", ["constant first rows", "outliers all over", "an outlier first", "a far mean", "a mean that moves"]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_guesses_that_are_far_off(spec, kind, layout):
    for shape in ((4, 6, 40, 31), (2, 2, 170, 71), (9, 6, 40, 31)):
        x = hard(kind, shape)
        y = functional.normalize(spec, LAYOUTS[layout](x), num_groups=num_groups(spec), backend="numba")
        true = oracle.normalize(x.double().numpy(), spec, num_groups=num_groups(spec))
        error = np.abs(y.double().numpy() - true).max() / np.sqrt((true**2).mean())
        largest = np.abs(true).max() / np.sqrt((true**2).mean())
        # An output of many deviations cannot be nearer than its own rounding.
        # Sums of a block run in 32 columns of up to 128 numbers, each rounded to float32.
        assert error <= 5e-6 * max(1.0, largest)


@EVERY_NORM
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_averaged_together_does_not_meet(spec, value, dtype):
    for layout in (LAYOUTS["contiguous"], channels_last):
        x = drawn(3, 4, 5, dtype=dtype)
        labels = torch.from_numpy(oracle.group_labels(spec, x.shape, num_groups(spec)))
        x[1, 2, 3] = value
        dy = torch.ones(x.shape).cumsum(-1).to(dtype)
        y, dx = outcome(spec, layout(x), dy=dy, num_groups=num_groups(spec), backend="numba")
        others = labels != labels[1, 2, 3]
        assert y[others].isfinite().all() and dx[others].isfinite().all()
        assert y[1, 2, 3].isnan() and dx[1, 2, 3].isnan()


@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("layout", [LAYOUTS["contiguous"], channels_last], ids=["contiguous", "channels_last"])
def test_a_gradient_by_frozen_statistics_does_not_meet_the_input(layout, value, activation):
    """It does not depend on what the statistics are of, but through the activation's slope."""
    x = drawn(3, 4, 5, 6, dtype=torch.float32)
    x[1, 2, 3, 4] = value
    for running_mean in (torch.zeros(4), torch.tensor([0.0, value, 1.0, 2.0])):
        found, true = (
            outcome(
                NORMS["BatchNorm"],
                layout(x),
                dy=torch.ones(x.shape),
                use_input_stats=False,
                running_mean=running_mean.clone(),
                running_var=torch.ones(4),
                activation=activation,
                backend=backend,
            )
            for backend in ("numba", "reference")
        )
        assert true[1].isfinite().sum() > 0
        torch.testing.assert_close(found[1], true[1], equal_nan=True)


PATTERNS = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)


def scaled(x, weight, channels, layout, like):
    """x · weight by way of an evaluation, whose statistics change nothing: output, and dx where x is dy."""
    x = layout(x.reshape(16, channels, -1, 16))
    options = {"running_mean": torch.zeros(channels), "running_var": torch.ones(channels)}
    y, dx, _ = outcome(
        NORMS["BatchNorm"],
        layout(torch.zeros_like(x)) if like == "dx" else x,
        torch.full((channels,), weight),
        dy=x,
        use_input_stats=False,
        eps=0.0,
        backend="numba",
        **options,
    )
    return (dx if like == "dx" else y).reshape(-1)


@pytest.mark.parametrize("like", ["y", "dx"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_stored_value_is_read_and_rounded_as_torch_does(dtype, layout, like):
    """All 65536 patterns: as they are, and times a number just above 1 that puts many half way between two values."""
    x = PATTERNS.view(dtype)
    for weight in (1.0, 1.0 + torch.finfo(dtype).eps / 2, 1.0 - torch.finfo(dtype).eps / 4, 0.5):
        found = scaled(x, weight, 16, LAYOUTS[layout], like)
        expected = (x.float() * weight).to(dtype)
        assert torch.equal(found.isnan(), expected.isnan())
        number = ~expected.isnan()
        assert torch.equal(found[number], expected[number])
        solid = number & (expected != 0)  # the sign of a zero goes where a bias of 0 is added
        assert torch.equal(found[solid].view(torch.int16), expected[solid].view(torch.int16))
        assert solid.sum() > 60000


# ---- gradients as autograd hands them over ----


@EVERY_NORM
def test_output_gradients_of_any_layout(spec):
    x = drawn(3, 4, 5, 6)
    affine = x.shape[1:] if spec.affine == "element" else (4,)
    weight, bias = drawn(*affine, seed=1), drawn(*affine, seed=2) if spec.centred else None
    options = {"num_groups": num_groups(spec)}
    dense = drawn(*x.shape, seed=5)
    for of_x, of_dy in itertools.product(LAYOUTS.values(), repeat=2):
        dy = of_dy(dense)
        expected = outcome(spec, x, weight, bias, dy=dense, backend="reference", **options)
        close(outcome(spec, of_x(x), weight, bias, dy=dy, backend="numba", **options), expected)
    for dy in (torch.ones((), dtype=x.dtype).expand(x.shape), drawn(4, 1, 6, seed=5).expand(x.shape)):
        for of_x in LAYOUTS.values():
            expected = outcome(spec, x, weight, bias, dy=dy.contiguous(), backend="reference", **options)
            close(outcome(spec, of_x(x), weight, bias, dy=dy, backend="numba", **options), expected)


@EVERY_NORM
@pytest.mark.parametrize("evaluation", [False, True], ids=["training", "evaluation"])
def test_only_what_needs_a_gradient_gets_one(spec, evaluation):
    if evaluation and spec.running == "never":
        pytest.skip("has no running statistics")
    options = {"num_groups": num_groups(spec), "backend": "numba", "activation": "relu"}
    if evaluation:
        running = {"running_mean": drawn(4, seed=3), "running_var": drawn(4, seed=4) ** 2}
        options |= {**running, "use_input_stats": False}
    for layout in (LAYOUTS["contiguous"], channels_last):
        x = layout(drawn(3, 4, 5, 6))
        affine = x.shape[1:] if spec.affine == "element" else (4,)
        given = [x, drawn(*affine, seed=1), *([drawn(*affine, seed=2)] if spec.centred else [])]
        _, *every = outcome(spec, *given, **options)
        for needs in itertools.product([True, False], repeat=len(given)):
            tensors = [t.detach().clone().requires_grad_(need) for t, need in zip(given, needs, strict=True)]
            y = functional.normalize(spec, *tensors, **options)
            assert y.requires_grad == any(needs)
            if any(needs):
                y.backward(drawn(*x.shape, seed=9))
            for tensor, need, expected in zip(tensors, needs, every, strict=True):
                assert (tensor.grad is not None) == need
                assert not need or torch.equal(tensor.grad, expected)


def test_a_weight_without_a_bias_and_a_bias_without_a_weight_get_their_gradients():
    for spec, layout in itertools.product((NORMS["BatchNorm"], NORMS["LayerNorm"]), (lambda x: x, channels_last)):
        x = layout(drawn(3, 4, 5, 6))
        affine = x.shape[1:] if spec.affine == "element" else (4,)
        for weight, bias in ((drawn(*affine, seed=1), None), (None, drawn(*affine, seed=2))):
            agree(spec, x, weight, bias, activation="silu")


def test_channels_last_of_every_rank_stays_so():
    for shape in ((3, 6, 7), (3, 6, 5, 4), (2, 6, 3, 2, 5)):
        for spec in NORMS.values():
            x = channels_last(drawn(*shape)).requires_grad_()
            y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="numba")
            assert y.stride() == x.stride()
            (dx,) = torch.autograd.grad(y, x, drawn(*shape))
            assert dx.stride() == x.stride()


def test_channels_last_stays_so_over_trailing_dimensions():
    x = drawn(2, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    for trailing in ((4,), (5, 4), (6, 5, 4)):
        y = functional.layer_norm(x, trailing, backend="numba")
        assert y.is_contiguous(memory_format=torch.channels_last)
