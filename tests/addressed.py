"""Tensors whose storage is not what it seems, and norms of them."""

import warnings

import pytest
import torch
from strategies import num_groups

from normsuite import fast_path, functional
from normsuite.backends import auto
from tools.drawing import Halved


@pytest.fixture
def kernels_at_every_size(monkeypatch):
    """A table without entries, so that `auto` takes the kernels whatever was measured on this processor."""
    monkeypatch.setattr(auto, "table", dict)
    fast_path.checked_calls.clear()


KERNELS = pytest.mark.parametrize("backend", ["numba", "auto"])
EVERY_WAY = pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])
SHAPE = (64, 8, 16, 16)
"""Large enough for kernels to share the work out."""
SMALL = (2, 4, 3, 5)


def affine_of(spec, shape=SHAPE):
    return shape[1:] if spec.affine == "element" else shape[1:2]


def norm_of(spec, x, *affine, **options):
    return functional.normalize(spec, x, *affine, num_groups=num_groups(spec), **options)


def cut_short(x):
    x = x.clone()
    x.untyped_storage().resize_(x.nbytes // 2)
    return x


def freed(x):
    x = x.clone()
    x.untyped_storage().resize_(0)
    return x


def misaligned(x):
    """The same numbers, beginning one byte behind a multiple of their size."""
    room = bytearray(x.numel() * x.element_size() + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.frombuffer(room, dtype=x.dtype, offset=1, count=x.numel()).view(x.shape).copy_(x)


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
