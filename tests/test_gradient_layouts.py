"""Gradients for every layout of input, weight and incoming gradient, sizes of 1 and batches of one, against float64."""

import copy
import itertools

import pytest
import torch
from outcomes import EVERY_NORM, drawn
from strategies import num_groups
from torch import nn
from torch.testing import assert_close

import normsuite
from normsuite import functional
from tools.drawing import LAYOUTS

SHAPES = [
    (1, 2, 1, 7),
    (1, 8, 7, 1),
    (1, 2, 4, 4),
    (1, 4, 2, 3, 2),
    (2, 8, 1, 7),
    (2, 1, 4, 4),
    (3, 6, 3, 1),
    (1, 8, 7),
    (5, 6),
    (3, 4, 5, 6),
]
FEW = ("contiguous", "channels_last", "samples inside", "odd strides", "odd strides, channels_last")


def gradients(spec, x, weight, bias, dy, running, backend):
    given = [t.detach().requires_grad_() for t in (x, weight, bias) if t is not None]
    options = {}
    if running:
        c = x.shape[1]
        options = {
            "running_mean": drawn(c, seed=3),
            "running_var": drawn(c, seed=4).abs() + 0.5,
            "use_input_stats": False,
        }
    y = functional.normalize(spec, *given, num_groups=num_groups(spec), backend=backend, **options)
    return [y.detach(), *torch.autograd.grad(y, given, dy)]


@pytest.mark.parametrize("backend", ["torch", "auto", "numba", "reference"])
@pytest.mark.parametrize("running", [False, True], ids=["training", "evaluation"])
@EVERY_NORM
def test_gradients_are_right_for_every_layout(spec, running, backend):
    if running and spec.running == "never":
        pytest.skip("has no running statistics")
    tried = 0
    for shape in SHAPES:
        if len(shape) == 2 and spec.name == "InstanceNorm":
            continue
        if spec.groups == "given" and shape[1] % num_groups(spec):
            continue
        x, dy = drawn(*shape), drawn(*shape, seed=5)
        affine = shape[1:] if spec.affine == "element" else shape[1:2]
        weight, bias = drawn(*affine, seed=1) + 2, drawn(*affine, seed=2) if spec.centred else None
        wanted = gradients(spec, x, weight, bias, dy, running, "reference")
        gapped = torch.stack([weight, weight], -1)[..., 0]
        for of_x, of_dy, w in itertools.product(FEW, FEW, (weight, gapped)):
            found = gradients(spec, LAYOUTS[of_x](x), w, bias, LAYOUTS[of_dy](dy), running, backend)
            assert_close(found, wanted, rtol=1e-8, atol=1e-8, msg=f"{shape}, {of_x}, {of_dy}")
            tried += 1
    assert tried >= 300


NETWORKS = {
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(2, affine=True),
    "BatchNorm2d": lambda: nn.BatchNorm2d(2),
    "GroupNorm": lambda: nn.GroupNorm(1, 2),
    "InstanceNorm2d, tracked": lambda: nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
}


@pytest.mark.parametrize("relu", [True, False], ids=["ReLU", "no ReLU"])
@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 2, 1, 8), (2, 2, 4, 4)])
@pytest.mark.parametrize("backend", ["torch", "auto", "numba", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_channels_last_network_with_a_batch_of_one(name, backend, shape, relu):
    torch.manual_seed(0)
    parts = [NETWORKS[name](), *([nn.ReLU()] if relu else []), nn.Conv2d(2, 4, 3, padding=1)]
    net = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    x, r = drawn(*shape, dtype=torch.float32), drawn(shape[0], 4, *shape[2:], seed=1, dtype=torch.float32)

    def found(net, x, r):
        x = x.detach().requires_grad_()
        return torch.autograd.grad((net(x) * r).sum(), (x, *net[0].parameters()))

    exact = copy.deepcopy(net).double().to(memory_format=torch.contiguous_format)
    wanted = found(exact, x.double(), r.double())
    normsuite.convert(net, backend=backend)
    for mine, true in zip(found(net, x.to(memory_format=torch.channels_last), r), wanted, strict=True):
        assert_close(mine.double(), true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("backend", ["torch", "auto", "numba", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_of_one_sample_behind_a_norm(name, backend, layout):
    """Their gradient has the stride of a place for the batch, as in vision transformers with a convolutional stem.

    torch.nn's own BatchNorm2d and InstanceNorm2d are wrong there.
    """
    norm = NETWORKS[name]().double()
    exact = copy.deepcopy(norm)
    normsuite.convert(norm, backend=backend)
    normsuite.convert(exact, backend="reference")
    x, r = drawn(1, 2, 4, 4), drawn(1, 16, 2, seed=1)

    def found(norm, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad((norm(x).flatten(2).transpose(1, 2) * r).sum(), (x, *norm.parameters()))

    assert_close(found(norm, x.to(memory_format=layout)), found(exact, x))
