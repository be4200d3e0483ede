"""How many digits a norm loses: its output and its gradient against the oracle's in float64."""

import numpy as np
import torch

from .. import oracle
from ..functional import DEFAULT_BACKEND
from ..spec import NormSpec
from .cases import Case, bind, operands

SHAPE = Case("64 × 1024", (64, 32, 32), 4, "64 samples of 1,024 numbers, in 32 channels")
"""What `normsuite numerics` tries."""

MEANS = (0.0, 1e2, 1e4, 1e6)
"""Of an input of deviation 1: the further from zero, the fewer digits of the deviation float32 can hold."""


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """max |found − true| / √(mean of true²); infinite where anything found is not finite."""
    found = np.asarray(found, dtype=np.float64)
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - true).max() / np.sqrt(np.mean(np.square(true))))


def errors(
    spec: NormSpec,
    case: Case,
    *,
    backend: str = DEFAULT_BACKEND,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    mean: float = 0.0,
) -> tuple[float, float]:
    """Relative error of the output and of dx, for inputs of deviation 1 about that mean.

    The oracle gets the very numbers that the backend gets, already rounded to `dtype`, so that what is found is the
    norm's own error. The weight is left at its seeded value near 1; the bias at 0, since an error hidden under a large
    bias is still an error.

    Args:
        spec, case, backend, device: what is tried, where.
        dtype: of the operands.
        mean: of the input.
    """
    given = operands(spec, case, device=device, dtype=dtype, mean=mean)
    if given.bias is not None:
        given.bias.detach().zero_()
    y = bind(spec, case, given, backend)()
    (dx,) = torch.autograd.grad(y, given.input, given.dy)
    x, weight, dy = (t.detach().cpu().double().numpy() for t in (given.input, given.weight, given.dy))
    groups = case.num_groups if spec.groups == "given" else None
    true_y = oracle.normalize(x, spec, num_groups=groups, weight=weight)
    true_dx = oracle.gradient(x, dy, spec, num_groups=groups, weight=weight)
    return (
        relative_error(y.detach().cpu().double().numpy(), true_y),
        relative_error(dx.cpu().double().numpy(), true_dx),
    )
