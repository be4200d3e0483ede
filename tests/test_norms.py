"""Norm × backend × type: against torch.nn, against the oracle, and the properties that define a normalization."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import CASES, GROUPS, ON_CPU, num_groups, operands, tensors
from torch.testing import assert_close

from normsuite import functional, oracle
from normsuite.backends import reference
from normsuite.measure import accuracy
from normsuite.measure.workload import named
from normsuite.spec import NORMS

EXACT = {"rtol": 1e-12, "atol": 1e-12}
IDS = [f"{spec.name}-{len(shape)}d" for spec, shape in CASES]


def torch_norm(spec, x, weight, bias=None, running=(None, None), training=True):
    """Return what torch.nn.functional computes, called by hand."""
    return {
        "BatchNorm": lambda: F.batch_norm(x, *running, weight, bias, training, 0.3, 1e-3),
        "LayerNorm": lambda: F.layer_norm(x, x.shape[1:], weight, bias, 1e-3),
        "GroupNorm": lambda: F.group_norm(x, GROUPS, weight, bias, 1e-3),
        "InstanceNorm": lambda: F.instance_norm(x, *running, weight, bias, training, 0.3, 1e-3),
        "RMSNorm": lambda: F.rms_norm(x, x.shape[1:], weight, 1e-3),
    }[spec.name]()


def ours(spec, x, weight, bias=None, running=(None, None), training=True, *, backend):
    """The same through our functions with torch's signatures, positionally."""
    return {
        "BatchNorm": lambda: functional.batch_norm(x, *running, weight, bias, training, 0.3, 1e-3, backend=backend),
        "LayerNorm": lambda: functional.layer_norm(x, x.shape[1:], weight, bias, 1e-3, backend=backend),
        "GroupNorm": lambda: functional.group_norm(x, GROUPS, weight, bias, 1e-3, backend=backend),
        "InstanceNorm": lambda: functional.instance_norm(
            x, *running, weight, bias, training, 0.3, 1e-3, backend=backend
        ),
        "RMSNorm": lambda: functional.normalize(spec, x, weight, eps=1e-3, backend=backend),
    }[spec.name]()


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize(("spec", "shape"), CASES, ids=IDS)
def test_forward_and_backward_equal_torch_in_float64(spec, shape, backend):
    mine, theirs = operands(spec, shape), operands(spec, shape)
    y, expected = ours(spec, *mine.inputs, backend=backend), torch_norm(spec, *theirs.inputs)
    assert_close(y, expected, **EXACT)
    for found, wanted in zip(
        torch.autograd.grad(y, mine.inputs, mine.dy),
        torch.autograd.grad(expected, theirs.inputs, theirs.dy),
        strict=True,
    ):
        assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize(
    ("spec", "shape"), [c for c in CASES if c[0].running != "never"], ids=[i for i in IDS if i[0] in "BI"]
)
def test_running_statistics_and_evaluation_equal_torch(spec, shape, backend):
    given = operands(spec, shape)

    def fresh():
        return torch.linspace(-1, 1, 4, dtype=torch.float64), torch.linspace(0.5, 2, 4, dtype=torch.float64)

    mine, theirs = fresh(), fresh()
    for _ in range(2):
        ours(spec, *given.inputs, running=mine, backend=backend)
        torch_norm(spec, *given.inputs, running=theirs)
    assert_close(mine, theirs, **EXACT)
    assert not torch.equal(mine[0], fresh()[0])
    y = ours(spec, *given.inputs, running=mine, training=False, backend=backend)
    expected = torch_norm(spec, *given.inputs, running=theirs, training=False)
    assert_close(y, expected, **EXACT)
    for found, wanted in zip(
        torch.autograd.grad(y, given.inputs, given.dy),
        torch.autograd.grad(expected, given.inputs, given.dy),
        strict=True,
    ):
        assert_close(found, wanted, **EXACT)
    assert_close(mine, theirs, **EXACT)  # evaluation leaves them alone


def check_against_oracle(compute, cases=CASES) -> None:
    """`compute(spec, given)` equals the oracle, forward and backward, for every norm and rank.

    The injected faults below must trip this assertion.
    """
    for spec, shape in cases:
        given = operands(spec, shape, mean=2.0)
        y = compute(spec, given)
        (dx,) = torch.autograd.grad(y, given.x, given.dy)
        x, weight, dy = (t.detach().numpy() for t in (given.x, given.weight, given.dy))
        bias = None if given.bias is None else given.bias.detach().numpy()
        settings = {"num_groups": num_groups(spec), "weight": weight, "eps": 1e-2}
        assert_close(y.detach(), torch.from_numpy(oracle.normalize(x, spec, bias=bias, **settings)), **EXACT)
        assert_close(dx, torch.from_numpy(oracle.gradient(x, dy, spec, **settings)), **EXACT)


def normalize(spec, given, eps=1e-2, backend="reference", **changed):
    return functional.normalize(
        spec, *given.inputs, eps=eps, backend=backend, **{"num_groups": num_groups(spec), **changed}
    )


@pytest.mark.parametrize("backend", ON_CPU)
def test_oracle(backend):
    check_against_oracle(lambda spec, given: normalize(spec, given, backend=backend))


def test_a_dropped_eps_is_found():
    with pytest.raises(AssertionError):
        check_against_oracle(lambda spec, given: normalize(spec, given, eps=1e-300))


def test_an_unbiased_variance_is_found(monkeypatch):
    right = reference._statistics

    def unbiased(x, call):
        centred, mean, var, n = right(x, call)
        return centred, mean, var * n / (n - 1), n

    monkeypatch.setattr(reference, "_statistics", unbiased)
    with pytest.raises(AssertionError):
        check_against_oracle(normalize)


@pytest.mark.parametrize(
    ("left", "right"),
    [(a, b) for a, b in itertools.combinations(NORMS.values(), 2) if a.axes != b.axes],
    ids=lambda spec: spec.name,
)
def test_swapped_axes_are_found(left, right):
    swapped = {left.name: replace(left, axes=right.axes), right.name: replace(right, axes=left.axes)}
    with pytest.raises(AssertionError):  # by its numbers: one value a group, which is refused, takes no part
        check_against_oracle(
            lambda spec, given: normalize(swapped.get(spec.name, spec), given),
            [case for case in CASES if len(case[1]) > 2],
        )


def test_swapped_groups_are_found():
    """LayerNorm and GroupNorm average over the same axes and differ in their groups."""
    one = replace(NORMS["GroupNorm"], groups="one")
    with pytest.raises(AssertionError):
        check_against_oracle(lambda spec, given: normalize(one if spec.name == one.name else spec, given))


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("spec", "shape"), CASES, ids=IDS)
def test_narrow_types_round_the_true_output_once_or_twice(spec, shape, dtype, backend):
    """Within two units in the last place of the largest output: one for the result, one for what is rounded before."""
    given = operands(spec, shape, dtype)
    y = normalize(spec, given, backend=backend)
    assert y.dtype == dtype
    x, weight = given.x.detach().double().numpy(), given.weight.detach().double().numpy()
    bias = None if given.bias is None else given.bias.detach().double().numpy()
    true = oracle.normalize(x, spec, num_groups=num_groups(spec), weight=weight, bias=bias, eps=1e-2)
    unit = torch.finfo(dtype).eps * max(1.0, abs(true).max())
    assert abs(y.detach().double().numpy() - true).max() <= 2 * unit


@pytest.mark.parametrize("mean", accuracy.MEANS)
@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
def test_our_backends_keep_their_digits_at_large_means(spec, mean):
    """64 × 1024 numbers of deviation 1 in float32: torch is off by 1e-3 at a mean of 1e4 and by 0.1 at 1e6."""
    for backend in set(ON_CPU) - {"torch", "auto"}:  # auto may choose torch
        output, gradient = accuracy.errors(named(spec.name, backend, accuracy.SHAPE), mean=mean)
        assert output <= 2e-6 and gradient <= 1e-5


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
def test_reference_has_second_derivatives(spec):
    given = operands(spec, (3, 4, 2))
    call = lambda *inputs: functional.normalize(  # noqa: E731
        spec, *inputs, num_groups=num_groups(spec), backend="reference"
    )
    assert torch.autograd.gradcheck(call, given.inputs)
    assert torch.autograd.gradgradcheck(call, given.inputs)


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@given(data=st.data(), a=st.floats(0.01, 100), b=st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_scale_and_shift_do_not_matter(spec, data, a, b):
    """norm(a·x + b; a²·eps) = norm(x; eps)."""
    x, b = data.draw(tensors(spec)), b if spec.centred else 0.0
    groups = num_groups(spec)
    y = functional.normalize(spec, x, eps=1e-3, num_groups=groups, backend="reference")
    moved = functional.normalize(spec, a * x + b, eps=a * a * 1e-3, num_groups=groups, backend="reference")
    assert_close(moved, y, rtol=1e-8, atol=1e-8 * max(1.0, abs(b) / a))


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_permuting_the_batch_permutes_the_output(spec, data):
    x = data.draw(tensors(spec))
    order = torch.tensor(data.draw(st.permutations(range(len(x)))))
    groups = num_groups(spec)
    y = functional.normalize(spec, x, num_groups=groups, backend="reference")
    assert_close(functional.normalize(spec, x[order], num_groups=groups, backend="reference"), y[order], **EXACT)


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_averaged_together_does_not_meet(spec, value):
    """A NaN or an infinity in one group stays in that group, forward and backward."""
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(oracle.group_labels(spec, x.shape, num_groups(spec)))
    x[1, 2, 3] = value
    x.requires_grad_()
    y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="reference")
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y).cumsum(-1))
    others = labels != labels[1, 2, 3]
    assert y[others].isfinite().all() and dx[others].isfinite().all()
    assert y[1, 2, 3].isnan() and dx[1, 2, 3].isnan()


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@given(data=st.data(), eps=st.floats(1e-6, 10))
@settings(max_examples=25, deadline=None)
def test_output_variance_is_var_over_var_plus_eps(spec, data, eps):
    x, groups = data.draw(tensors(spec)), num_groups(spec)
    y = functional.normalize(spec, x, eps=eps, num_groups=groups, backend="reference")
    labels = oracle.group_labels(spec, x.shape, groups)
    mean, var = oracle.statistics(x.numpy(), labels)
    y_mean, y_var = oracle.statistics(y.numpy(), labels)
    if not spec.centred:  # the mean square takes the variance's place
        var, y_var = var + mean**2, y_var + y_mean**2
    else:
        assert abs(y_mean).max() <= 1e-12
    assert_close(torch.from_numpy(y_var), torch.from_numpy(var / (var + eps)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_changing_one_sample_leaves_the_others_alone_but_in_training_batch_norm(spec, data):
    x, groups = data.draw(tensors(spec)), num_groups(spec)
    x = torch.cat([x, x.flip(0) + 1])
    changed = x.clone()
    changed[0] = changed[0] * 3 + torch.arange(x[0].numel()).reshape(x[0].shape)
    y, moved = (functional.normalize(spec, t, num_groups=groups, backend="reference") for t in (x, changed))
    assert torch.equal(y[1:], moved[1:]) == ("batch" not in spec.axes)
    if "batch" in spec.axes:
        running = torch.zeros(x.shape[1], dtype=x.dtype), torch.ones(x.shape[1], dtype=x.dtype)
        y, moved = (functional.batch_norm(t, *running, backend="reference") for t in (x, changed))  # evaluation
        assert torch.equal(y[1:], moved[1:])


def test_norms_that_coincide():
    """BatchNorm of one sample is InstanceNorm; GroupNorm is LayerNorm with one group and InstanceNorm with C."""
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch, layer, group, instance = (NORMS[n] for n in ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm"))
    call = functional.normalize
    assert_close(call(batch, x, backend="reference"), call(instance, x, backend="reference"), **EXACT)
    x = x.expand(3, -1, -1, -1) + torch.arange(3).reshape(3, 1, 1, 1) ** 2
    assert_close(call(group, x, num_groups=1), call(layer, x), **EXACT)
    assert_close(call(group, x, num_groups=4), call(instance, x), **EXACT)


def test_layer_norm_over_trailing_dimensions():
    x = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight, bias = torch.linspace(1, 2, 8, dtype=torch.float64), torch.linspace(-1, 1, 8, dtype=torch.float64)
    for backend in ON_CPU:
        y = functional.layer_norm(x, (8,), weight, bias, backend=backend)
        assert_close(y, F.layer_norm(x, (8,), weight, bias), **EXACT)
