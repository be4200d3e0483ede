"""Derivatives of derivatives where tensors depend on each other, have hooks, or were computed under a dispatch mode."""

from contextlib import nullcontext

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import normsuite
from normsuite import functional
from normsuite.errors import StorageError

BACKENDS = ("numba", "reference", "torch")


def leaf(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def normalized(x, backend, weight=None):
    return functional.layer_norm(x, x.shape[-1:], weight, backend=backend)


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")
@pytest.mark.parametrize("backend", BACKENDS)
def test_hooks_are_called_once(backend):
    found = []
    for further in (False, True):
        start = leaf(4, 16)
        x = start * 2
        x.retain_grad()
        x.register_hook(lambda gradient: 3 * gradient)
        normalized(x, backend).pow(3).sum().backward(create_graph=further)
        found.append((start.grad.detach(), x.grad.detach()))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_that_is_used_twice_or_computed_from_the_input_counts_once(backend):
    def of_tied(further):
        norm = normsuite.LayerNorm(16, dtype=torch.float64, backend=backend)
        y = norm(norm(leaf(4, 16)).sin())
        return torch.autograd.grad(y.pow(3).sum(), norm.weight, create_graph=further)[0]

    def of_input(further):
        x = leaf(4, 16)
        y = normalized(x, backend, weight=x.square().mean(0))
        return torch.autograd.grad(y.pow(3).sum(), x, create_graph=further)[0]

    for gradient in (of_tied, of_input):
        torch.testing.assert_close(gradient(True).detach(), gradient(False))


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_of_what_depends_on_each_other(backend):
    def call(x):
        return normalized(normalized(x, backend).sin(), backend, weight=x.square().mean(0))

    assert torch.autograd.gradcheck(call, leaf(3, 5)) and torch.autograd.gradgradcheck(call, leaf(3, 5))


CALLS = {
    "layer": lambda x, w, b, backend: functional.layer_norm(x, x.shape[1:], w, b, activation="silu", backend=backend),
    "rms": lambda x, w, b, backend: functional.rms_norm(x, x.shape[1:], w, backend=backend),
    "group": lambda x, w, b, backend: functional.group_norm(x, 2, w, b, backend=backend),
    "instance": lambda x, w, b, backend: functional.instance_norm(x, None, None, w, b, backend=backend),
    "batch": lambda x, w, b, backend: functional.batch_norm(x, None, None, w, b, training=True, backend=backend),
    "frozen": lambda x, w, b, backend: functional.batch_norm(
        x, torch.full((4,), 0.1).double(), torch.full((4,), 2.0).double(), w, b, backend=backend
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_norm_under_a_dispatch_mode_has_second_derivatives(name):
    found = []
    for backend in ("numba", "reference"):
        x = leaf(3, 4, 5, seed=1)
        w, b = (leaf(*(x.shape[1:] if name in ("layer", "rms") else (4,)), seed=seed) for seed in (2, 3))
        with FlopCounterMode(display=False):
            y = CALLS[name](x, w, b, backend)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        tensors = (x, w) if name == "rms" else (x, w, b)
        found.append((first, *torch.autograd.grad(first.pow(2).sum(), tensors)))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["input", "bias"])
@pytest.mark.parametrize("is_watched", [True, False])
def test_freed_storage_is_refused_where_a_derivative_of_the_derivative_is_asked_for(name, is_watched):
    x, bias = leaf(4, 16), leaf(16, seed=1)
    with FlopCounterMode(display=False) if is_watched else nullcontext():
        y = functional.layer_norm(x, (16,), None, bias, backend="numba")
    {"input": x, "bias": bias}[name].untyped_storage().resize_(0)
    with pytest.raises(StorageError, match=name):
        torch.autograd.grad(y.sum(), x, create_graph=True)
