"""Calls of one kind with gradients enabled and not, and under modes that guards do not see: no way is shared."""

import functools

import pytest
import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

import normsuite
from normsuite import functional
from normsuite.errors import ArgumentError, UnsupportedError

BACKENDS = ("numba", "reference", "torch")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_without_gradients_leaves_no_shorter_way_for_one_with_them(backend):
    def gradient(before):
        x = torch.randn(1, 8, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        if before:
            with torch.no_grad():
                functional.batch_norm(x, None, None, training=True, eps=1.1e-5, backend=backend)
        y = functional.batch_norm(x, None, None, training=True, eps=1.1e-5, backend=backend)
        dy = torch.randn(1, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        return torch.autograd.grad(y.flatten(2).transpose(1, 2), x, dy)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_is_refused_for_a_gradient_after_a_call_without(backend):
    x, out = torch.randn(4, 64), torch.zeros(4, 64)
    weight = torch.ones(64, requires_grad=True)
    with torch.no_grad():
        functional.layer_norm(x, (64,), weight, out=out, backend=backend)
    with pytest.raises(ArgumentError, match="where a gradient is asked for"):
        functional.layer_norm(x, (64,), weight, out=out, backend=backend)


def test_running_statistics_that_ask_for_a_gradient_are_refused_after_a_call_without():
    x, mean, var = torch.randn(4, 8, 3), torch.zeros(8, requires_grad=True), torch.ones(8, requires_grad=True)
    with torch.no_grad():
        functional.batch_norm(x, mean, var, training=True)
    with pytest.raises(UnsupportedError, match=r"running_mean\.requires_grad"):
        functional.batch_norm(x, mean, var, training=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_selective_checkpointing_of_a_norm_beside_a_plain_one(backend):
    def gradient(context_fn):
        first, second = (normsuite.LayerNorm(64, backend=backend) for _ in range(2))
        x = torch.randn(32, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        h = x
        for _ in range(2):  # the second time the plain norm's call is known
            further = {} if context_fn is None else {"context_fn": context_fn}
            h = checkpoint(lambda t: first(t.sin()), h, use_reentrant=False, **further)
            h = second(h)
        h.pow(3).sum().backward()
        return x.grad

    selective = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    torch.testing.assert_close(gradient(selective), gradient(None))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cumulative_average_under_checkpointing_is_torch_s(backend):
    def moved(make):
        norm = make(4, momentum=None)
        for seed in (0, 1):
            x = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_()
            checkpoint(lambda t: norm(t.sin()), x, use_reentrant=False).square().sum().backward()
        return norm.running_mean, norm.running_var, norm.num_batches_tracked

    torch.testing.assert_close(
        moved(functools.partial(normsuite.BatchNorm2d, backend=backend)), moved(torch.nn.BatchNorm2d)
    )


def test_a_momentum_of_another_kind_is_refused_after_a_call_with_a_number():
    x = torch.randn(4, 8, 3)
    functional.batch_norm(x, None, None, training=True, momentum=0.1)
    with pytest.raises(ArgumentError, match=r"momentum = '0\.1'"):
        functional.batch_norm(x, None, None, training=True, momentum="0.1")
