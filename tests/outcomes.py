"""What a norm gives for made-up tensors in every layout, and how two such outcomes are compared."""

import math
from dataclasses import replace

import pytest
import torch

from normsuite import functional
from normsuite.spec import NORMS

EVERY_NORM = pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)


def made_up(groups, axes, **changed):
    """A norm that averages over those axes of those groups."""
    fields = {"groups": groups, "axes": axes, "affine": "channel", "running": "never", "torch_call": None, **changed}
    return replace(NORMS["BatchNorm"], name=f"{groups}-{'-'.join(sorted(axes))}", **fields)


def drawn(*shape, dtype=torch.float64, seed=0, mean=0.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean).to(dtype)


def channels_last(x):
    """The same numbers with the channels of one place side by side, for any rank."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def strided(x):
    """The same numbers with a gap behind each of them and behind each row."""
    room = x.new_full((*x.shape[:-2], x.shape[-2] + 1, 2 * x.shape[-1]), math.nan)
    view = room[..., :-1, ::2]
    return view.copy_(x)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": channels_last,
    "strided": strided,
    "turned": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
}


def outcome(spec, x, weight=None, bias=None, *, dy=None, seed=9, **options):
    """Output and the gradients of all that is there. Inputs keep their strides."""
    given = [None if t is None else t.detach().requires_grad_() for t in (x, weight, bias)]
    y = functional.normalize(spec, *given, **options)
    dy = drawn(*x.shape, dtype=x.dtype, seed=seed) if dy is None else dy
    return [y.detach(), *torch.autograd.grad(y, [t for t in given if t is not None], dy)]


def close(found, expected, bound=1e-11):
    """Equal up to that part of the largest value, tensor for tensor."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        scale = max(1e-3, theirs.abs().max().item())
        assert (mine - theirs).abs().max().item() <= bound * scale


def agree(spec, x, weight, bias, **options):
    """The kernels give what the formula gives, forward and backward."""
    expected = outcome(spec, x, weight, bias, backend="reference", **options)
    found = outcome(spec, x, weight, bias, backend="numba", **options)
    close(found, expected)
    return found


def same_bits(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
