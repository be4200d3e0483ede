"""Errors of a norm: its output and its gradient against the oracle's in float64."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from .cases import Case
from .device_accuracy import DeviceTruth, relative_to
from .exact import RightResults
from .implementations import Implementation
from .operands import Operands, operands
from .task import DTYPES, EPS, Task
from .workload import Workload

Errors = Callable[[Implementation, object], tuple[float | None, float | None]]
"""Returns the errors of y and of dx, None for one that a call does not return."""

SHAPE = Case("64 × 1024", (64, 32, 32), 4, "64 samples of 1,024 numbers, in 32 channels")
"""The case of `normsuite numerics`."""

MEANS = (0.0, 1e2, 1e4, 1e6)
"""Means of an input of deviation 1: the further from zero, the fewer digits of the deviation float32 can hold."""


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """Return max |found − true| / √(mean of true²).

    Infinite where anything found is not finite, or differs from true values that are all zero.
    """
    found = np.asarray(found, dtype=np.float64)
    if not np.isfinite(found).all():
        return float("inf")
    return relative_to(float(np.abs(found - true).max()), float(np.sqrt(np.mean(np.square(true)))))


def errors(workload: Workload, *, mean: float = 0.0) -> tuple[float, float]:
    """Return the relative error of the output and of dx, for inputs of deviation 1 about that mean.

    The oracle gets the very numbers that the implementation gets, already rounded to the task's type, so that what is
    found is the norm's own error. The weight is left at its seeded value near 1; the bias is 0, since an error hidden
    under a large bias is still an error.

    Args:
        workload: what computes, and what it computes; its mode is taken as a step.
        mean: of the input.

    Raises:
        UnsupportedError: the implementation cannot do it.
    """
    task = replace(workload.task, mode="step")
    given = operands(task.spec, task.case, device=task.device, dtype=DTYPES[task.dtype], mean=mean)
    if given.bias is not None:
        given.bias.detach().zero_()
    value = Workload(workload.implementation, task).prepare(given)()
    output, gradient = errors_of(task, given)(workload.implementation, value)
    assert output is not None and gradient is not None, "a step has both"
    return output, gradient


def errors_of(task: Task, given: Operands) -> Errors:
    """Return a function of an implementation and what its call returned, which returns the errors of y and of dx.

    The right results are computed once for all implementations with the same parameters, on the task's device.

    Args:
        task, given: the task and its operands.
    """
    truth_of: type[Truth | DeviceTruth] = DeviceTruth if task.on_accelerator else Truth
    truth = cache(lambda lacking: truth_of(task, without(given, lacking)))
    return lambda implementation, value: truth(implementation.lacks(task)).errors(implementation.tensors(value))


def without(given: Operands, roles: Collection[str]) -> Operands:
    """Return operands of the same result for a norm that lacks those roles: a weight of 1 and a bias of 0.

    Args:
        given: the operands.
        roles: of "weight" and "bias".
    """
    fills = {"weight": torch.ones_like, "bias": torch.zeros_like}
    there = [role for role in roles if getattr(given, role) is not None]
    return replace(given, **{role: fills[role](getattr(given, role)) for role in there})


class Truth:
    """The right results of a task in float64, computed once for all implementations.

    The oracle gets the task's own numbers, the bias too.

    Args:
        task, given: the task and its operands.
    """

    def __init__(self, task: Task, given: Operands):
        self._gradients = task.gradients
        # A norm over the trailing sizes sees rows of them, whatever stands before.
        rows = (-1, *task.normalized_shape) if task.normalized_shape else task.case.shape
        x, self._dy = (_array(t).reshape(rows) for t in (given.input, given.dy))
        weight, bias = (None if t is None else _array(t) for t in (given.weight, given.bias))
        running = None
        if not task.training:  # a norm that is evaluated has running statistics
            mean, var = (_array(t) for t in task.running() if t is not None)
            running = mean, var
        self._right = RightResults(
            task.spec, x, weight=weight, bias=bias, eps=EPS, num_groups=task.num_groups,
            running=running, activation=task.activation,
        )  # fmt: skip
        self._dx: tuple[np.ndarray | float, np.ndarray] | None = None

    def errors(self, tensors: Sequence[torch.Tensor]) -> tuple[float, float | None]:
        """Return the relative error of y, and of dx where there is one.

        Args:
            tensors: y, then dx, as an implementation gave them.
        """
        y = _array(tensors[0]).reshape(self._right.output.shape)
        output = relative_error(y, self._right.output)
        if not self._gradients:
            return output, None
        return output, relative_error(_array(tensors[1]).reshape(y.shape), self._gradient(y))

    def _gradient(self, found: np.ndarray) -> np.ndarray:
        """Return dx for that output; computed again only where its signs are others than the last one's."""
        slope = self._right.slope(found)
        if self._dx is None or not np.array_equal(slope, self._dx[0]):
            self._dx = slope, self._right.of_input(self._dy * slope)
        return self._dx[1]


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
