"""Tables of sizes of the tests' own for the backend that chooses, and the calls that it sees."""

import pytest
import torch
from strategies import num_groups

from normsuite import backends, fast_path, functional
from normsuite.backends import auto
from normsuite.spec import NORMS
from normsuite.tune import crossover as crossing

EVERY_NORM = pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)


def from_on(**least):
    """An entry of the table: for each mode the kernels from so many elements on."""
    return {"lengths": [1], **{mode: [numbers] for mode, numbers in least.items()}}


LEAST = from_on(forward=1000, step=2000, forward_activated=1000, step_activated=1500)
LEAST_LAST = from_on(forward=3000, step=4000, forward_activated=1000, step_activated=1000)


def of_layouts(spec, contiguous, channels_last):
    """A norm's part of the table."""
    return {name: channels_last if name.startswith("channels") else contiguous for name in crossing.layouts(spec)}


def forget(monkeypatch):
    """Forget what has been computed."""
    monkeypatch.setattr(functional, "checked_calls", {})
    monkeypatch.setattr(fast_path, "checked_calls", functional.checked_calls)


@pytest.fixture
def measured(monkeypatch):
    """A table of our own, whatever was measured: for every norm but RMSNorm."""
    names = [name for name in NORMS if name != "RMSNorm"]
    table = {name: of_layouts(NORMS[name], LEAST, LEAST_LAST) for name in names}
    monkeypatch.setattr(auto, "table", lambda: table)
    forget(monkeypatch)
    return table


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def call(spec, x, **given):
    """The checked call that a backend sees."""
    shape = tuple(x.shape[1:]) if spec.affine == "element" else None
    groups = num_groups(spec)
    view = spec.view(x.shape, num_groups=groups, normalized_shape=shape)
    return backends.Call(spec, view, x, num_groups=groups, normalized_shape=shape, **given)
