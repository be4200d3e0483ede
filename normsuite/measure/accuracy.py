"""How many digits a norm loses: its output and its gradient against the oracle's in float64."""

from collections.abc import Sequence

import numpy as np
import torch

from .. import oracle
from ..functional import DEFAULT_BACKEND
from ..spec import NormSpec
from .cases import Case, Operands, bind, operands
from .task import EPS, Task

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


class Truth:
    """What a task should give, in float64, computed once for all who do it.

    The oracle gets the task's own numbers, the bias too. The gradient of relu jumps at 0, where a rounded output may
    lie on either side: the oracle takes the side that the output took, which is judged by itself.

    Args:
        task, given: the task and its operands.
    """

    def __init__(self, task: Task, given: Operands):
        self._task = task
        # A norm over the trailing sizes sees rows of them, whatever stands before.
        rows = (-1, *task.normalized_shape) if task.normalized_shape else task.case.shape
        self._x, self._dy = (_array(t).reshape(rows) for t in (given.input, given.dy))
        self._weight, self._bias = (None if t is None else _array(t) for t in (given.weight, given.bias))
        self._y = self._normalized()
        self._dx: tuple[np.ndarray | float, np.ndarray] | None = None

    def _normalized(self) -> np.ndarray:
        task = self._task
        if task.training:
            return oracle.normalize(
                self._x, task.spec, num_groups=task.num_groups, weight=self._weight, bias=self._bias, eps=EPS
            )
        places = (-1,) + (1,) * (self._x.ndim - 2)
        mean, var, weight, bias = (v.reshape(places) for v in (*map(_array, task.running()), self._weight, self._bias))
        return (self._x - mean) / np.sqrt(var + EPS) * weight + bias

    def errors(self, tensors: Sequence[torch.Tensor]) -> tuple[float, float | None]:
        """Relative error of y, and of dx where there is one.

        Args:
            tensors: y, then dx, as a contestant gave them.
        """
        task, y = self._task, _array(tensors[0]).reshape(self._y.shape)
        output = relative_error(y, _ACTIVATIONS[task.activation](self._y))
        if not task.gradients:
            return output, None
        return output, relative_error(_array(tensors[1]).reshape(y.shape), self._gradient(y))

    def _gradient(self, found: np.ndarray) -> np.ndarray:
        """dx for that output; computed again only where its signs are others than the last one's."""
        slope = _SLOPES[self._task.activation](self._y, found)
        if self._dx is None or not np.array_equal(slope, self._dx[0]):
            task = self._task
            dx = oracle.gradient(
                self._x, self._dy * slope, task.spec, num_groups=task.num_groups, weight=self._weight, eps=EPS
            )
            self._dx = slope, dx
        return self._dx[1]


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _sigmoid(y: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-y))


_ACTIVATIONS = {None: lambda y: y, "relu": lambda y: np.maximum(y, 0), "silu": lambda y: y * _sigmoid(y)}

# Of the true output before the activation and of what was found after it.
_SLOPES = {
    None: lambda y, found: 1.0,
    "relu": lambda y, found: found > 0,
    "silu": lambda y, found: _sigmoid(y) * (1 + y * (1 - _sigmoid(y))),
}
