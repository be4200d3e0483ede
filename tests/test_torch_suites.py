"""Our norms under torch's own tests: every sample and every error input of its suites, in every floating-point type."""

import pytest
import torch
import torch_private as theirs
from strategies import ON_CPU
from torch.testing import assert_close

from normsuite import backends, functional, modules
from normsuite.errors import ShapeError
from normsuite.spec import NORMS

# Each of torch's functions as a call of ours: (torch's arguments, backend) -> output.
OPS = {
    "nn.functional.batch_norm": lambda *a, backend, **k: functional.batch_norm(*a, **k, backend=backend),
    "nn.functional.layer_norm": lambda *a, backend, **k: functional.layer_norm(*a, **k, backend=backend),
    "nn.functional.group_norm": lambda *a, backend, **k: functional.group_norm(*a, **k, backend=backend),
    "nn.functional.instance_norm": lambda *a, backend, **k: functional.instance_norm(*a, **k, backend=backend),
    "nn.functional.rms_norm": lambda x, shape, weight=None, eps=None, *, backend: functional.normalize(
        NORMS["RMSNorm"],
        x,
        weight,
        eps=torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps if eps is None else eps,
        normalized_shape=shape,
        backend=backend,
    ),
    "native_layer_norm": lambda x, shape, weight, bias, eps, *, backend: functional.layer_norm(
        x, shape, weight, bias, eps, backend=backend
    ),
    "native_group_norm": lambda x, weight, bias, n, c, s, groups, eps, *, backend: functional.group_norm(
        x, groups, weight, bias, eps, backend=backend
    ),
    "native_batch_norm": lambda x, weight, bias, mean, var, training, momentum, eps, *, backend: functional.batch_norm(
        x, mean, var, weight, bias, training, momentum, eps, backend=backend
    ),
    "_batch_norm_with_update": lambda x, weight, bias, mean, var, momentum, eps, *, backend: functional.batch_norm(
        x, mean, var, weight, bias, True, momentum, eps, backend=backend
    ),
}


def _legit(x, weight, bias, *rest, backend):
    """Torch's overload without running statistics leaves them out of the list."""
    mean, var, training, momentum, eps = rest if len(rest) == 5 else (None, None, *rest)
    return functional.batch_norm(x, mean, var, weight, bias, training, momentum, eps, backend=backend)


OPS["_native_batch_norm_legit"] = _legit

# Samples that torch takes and we refuse, with the reason.
REFUSED = {
    "nn.functional.batch_norm": (
        lambda sample: sample.args[0].dim() == 1,
        "an empty tensor of one dimension has no channels; torch returns it as it is",
    )
}

RANKS = (1, 2, 3)
MODULES = [f"{norm}{rank}d" for norm in ("BatchNorm", "InstanceNorm") for rank in RANKS] + ["LayerNorm", "GroupNorm"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def leaves(sample):
    """The sample with tensors of its own, since running statistics change in place."""

    def own(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.detach().clone().requires_grad_(value.requires_grad)

    return theirs.Sample(tuple(map(own, sample.args)), {k: own(v) for k, v in sample.kwargs.items()})


def tensors(sample):
    return [v for v in (*sample.args, *sample.kwargs.values()) if isinstance(v, torch.Tensor)]


def widened(sample):
    def wide(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.detach().double().requires_grad_(value.requires_grad)

    return theirs.Sample(tuple(map(wide, sample.args)), {k: wide(v) for k, v in sample.kwargs.items()})


def outcome(call, sample):
    """Output, gradients of everything differentiable, and the running statistics left behind."""
    y = call(*sample.args, **sample.kwargs)
    y = y[0] if isinstance(y, tuple) else y
    differentiable = [t for t in tensors(sample) if t.requires_grad]
    dy = torch.linspace(-1, 1, max(1, y.numel()), dtype=torch.float64)[: y.numel()].reshape(y.shape).to(y.dtype)
    gradients = torch.autograd.grad(y, differentiable, dy, allow_unused=True)
    return [y.detach(), *gradients, *(t for t in tensors(sample) if not t.requires_grad)]


def assert_as_good_as(found, expected, true, dtype):
    """Within 1e-12 in float64; in narrower types within twice torch's own error and three units in the last place."""
    for mine, torchs, exact in zip(found, expected, true, strict=True):
        assert (mine is None) == (torchs is None)
        if mine is None:
            continue
        assert mine.shape == torchs.shape and mine.dtype == torchs.dtype
        if dtype == torch.float64:
            assert_close(mine, torchs, rtol=1e-12, atol=1e-12, equal_nan=True)
        elif mine.numel() and exact.isfinite().all():
            scale = max(1.0, exact.abs().max().item())
            allowed = 2 * (torchs.double() - exact).abs().max() + 3 * torch.finfo(dtype).eps * scale
            assert (mine.double() - exact).abs().max() <= allowed


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("op", OPS)
def test_every_sample_of_torch_s_functions(op, backend, dtype):
    count = 0
    refused, _ = REFUSED.get(op, (lambda sample: False, None))
    for sample in theirs.samples(op, dtype):
        if refused(sample):
            with pytest.raises(ShapeError):
                OPS[op](*sample.args, **sample.kwargs, backend=backend)
            continue
        expected = outcome(lambda *a, **k: theirs.call(op, theirs.Sample(a, k)), leaves(sample))
        found = outcome(lambda *a, **k: OPS[op](*a, **k, backend=backend), leaves(sample))
        true = outcome(lambda *a, **k: OPS[op](*a, **k, backend="reference"), widened(sample))
        assert_as_good_as(found, expected, true, dtype)
        count += 1
    assert count >= 6  # a suite that turned out empty proves nothing


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("op", OPS)
def test_every_error_input_of_torch_s_functions(op, backend):
    """The same type of error; what it says is ours, since it names the argument and its value."""
    count = 0
    for refused in theirs.refusals(op):
        with pytest.raises(refused.error):
            OPS[op](*refused.call.args, **refused.call.kwargs, backend=backend)
        count += 1
    assert count >= {"nn.functional.group_norm": 4, "native_layer_norm": 4, "nn.functional.rms_norm": 3}.get(op, 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("name", MODULES)
def test_every_input_of_torch_s_modules(name, backend, training, dtype):
    count = 0
    for sample in theirs.module_samples(name, dtype, training):
        construct = sample.construct
        options = {**construct.kwargs, "dtype": dtype}
        reference = getattr(torch.nn, name)(*construct.args, **options)
        ours = getattr(modules, name)(*construct.args, **options, backend=backend)
        exact = getattr(modules, name)(*construct.args, **{**options, "dtype": torch.float64}, backend="reference")
        results = []
        for module, forward in (
            (ours, leaves(sample.forward)),
            (reference, leaves(sample.forward)),
            (exact, widened(sample.forward)),
        ):
            module.load_state_dict(reference.state_dict(), strict=True)
            module.train(training)
            results.append([*outcome(module, forward), *module.state_dict().values()])
        *found, true = results
        assert_as_good_as(*found, [t if t is None else t.double() for t in true], dtype)
        count += 1
    assert count >= 6


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("name", MODULES)
def test_every_error_input_of_torch_s_modules(name, backend):
    refusals = list(theirs.module_refusals(name))
    assert len(refusals) >= (2 if name.startswith(("BatchNorm", "GroupNorm")) else 0)
    for sample, error, in_constructor in refusals:
        construct = lambda s=sample: getattr(modules, name)(*s.construct.args, **s.construct.kwargs, backend=backend)  # noqa: E731
        if in_constructor:
            with pytest.raises(error):
                construct()
        else:
            module = construct()
            with pytest.raises(error):
                module(*sample.forward.args, **sample.forward.kwargs)


def test_a_planted_error_of_1e_5_is_found(monkeypatch):
    right = backends.get("reference").apply
    monkeypatch.setattr(backends.get("reference"), "apply", lambda call: right(call) * (1 + 1e-5))
    for dtype in (torch.float64, torch.float32):
        for op in ("nn.functional.layer_norm", "nn.functional.batch_norm"):
            with pytest.raises(AssertionError):
                for sample in theirs.samples(op, dtype):
                    true = outcome(lambda *a, **k: OPS[op](*a, **k, backend="torch"), widened(sample))  # noqa: B023
                    expected = outcome(lambda *a, **k: theirs.call(op, theirs.Sample(a, k)), leaves(sample))  # noqa: B023
                    found = outcome(lambda *a, **k: OPS[op](*a, **k, backend="reference"), leaves(sample))  # noqa: B023
                    assert_as_good_as(found, expected, true, dtype)
