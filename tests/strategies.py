"""Inputs for property tests, and every norm with torch's own function for it."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from hypothesis import strategies as st

from normsuite import backends
from normsuite.spec import NORMS, NormSpec

ON_ACCELERATORS = ("triton",)
"""The backends that refuse tensors of the CPU."""

ON_CPU = tuple(name for name in backends.NAMES if name not in ON_ACCELERATORS)
"""The backends that compute on the CPU."""

SHAPES = [(6, 4), (3, 4, 5), (2, 4, 3, 5), (2, 4, 3, 2, 3)]
"""Shapes from (N, C) to (N, C, D, H, W)."""

GROUPS = 2

SAMPLES = st.lists(st.floats(-100, 100), min_size=3, max_size=12).filter(lambda x: np.std(x) > 1e-3)
"""Numbers that are not all alike."""

SMALL_SIZES = st.tuples(*(st.integers(1, most) for most in (4, 4, 5, 6)))
"""(N, G, C/G, S) of few elements."""

EVERY_AXES = st.sampled_from([axes for n in (1, 2, 3) for axes in combinations(("batch", "group", "spatial"), n)])
NORMS_AXES = st.sampled_from([("group", "spatial"), ("spatial",), ("batch", "spatial"), ("batch", "group", "spatial")])
"""Axes that a norm of any kind averages over, and those of the norms that there are."""


def spatial_shapes(spec: NormSpec) -> list[tuple[int, ...]]:
    """The shapes that the norm takes: one value a channel and sample is none that InstanceNorm can use."""
    return [s for s in SHAPES if len(s) > 2 or spec.name != "InstanceNorm"]


CASES = [(spec, shape) for spec in NORMS.values() for shape in spatial_shapes(spec)]


@dataclass(frozen=True)
class Operands:
    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    dy: torch.Tensor

    @property
    def inputs(self):
        return tuple(t for t in (self.x, self.weight, self.bias) if t is not None)


def operands(spec: NormSpec, shape, dtype=torch.float64, mean: float = 0.0, seed: int = 0) -> Operands:
    draw = torch.Generator().manual_seed(seed)
    affine = shape[1:] if spec.affine == "element" else shape[1:2]
    x, weight, bias, dy = (torch.randn(s, generator=draw, dtype=torch.float64) for s in (shape, affine, affine, shape))
    x, weight, bias = (t.to(dtype).requires_grad_() for t in (3 * x + mean, weight + 2, bias))
    return Operands(x, weight, bias if spec.centred else None, dy.to(dtype))


def num_groups(spec: NormSpec) -> int | None:
    return GROUPS if spec.groups == "given" else None


@st.composite
def tensors(draw, spec: NormSpec):
    """A float64 tensor that the norm takes, with sizes from 1."""
    sizes = st.integers(1, 4)
    n, c, h, w = draw(sizes), 2 * draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(sizes)
    seed = draw(st.integers(0, 2**31))
    return torch.randn(n, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
