"""Errors of a norm's results on an accelerator, against float64 on that same device.

Tensors of a device's size would take the processor minutes. Here whole groups of numbers that share a mean are taken,
evenly spaced, as many as make about 16 million numbers and one at least: of those every number of y and dx is compared.
"""

import math
from collections.abc import Sequence

import torch

from .operands import Operands
from .task import EPS, Task

MOST_NUMBERS = 2**24
NEAR_ZERO = 0.05
"""More than bfloat16 rounds a number of size 1 by."""


def relative_to(error: float, scale: float) -> float:
    """Return an error over the root mean square of true values, where all of these may be zero."""
    if scale == 0:
        return float("inf") if error else 0.0
    return error / scale


class DeviceTruth:
    """The right results of a task in some of its groups, in float64, computed once for all implementations.

    Args:
        task, given: the task, which computes statistics or has running ones, and its operands.
        most: about how many numbers are compared.
    """

    def __init__(self, task: Task, given: Operands, *, most: int = MOST_NUMBERS):
        self._task = task
        self._view = task.spec.view(task.case.shape, num_groups=task.num_groups, normalized_shape=task.normalized_shape)
        shape = self._view.shape
        if task.normalized_shape:
            self._units = math.prod(shape) // self._view.count
        else:
            self._units = shape[1] if "batch" in task.spec.axes else shape[0] * shape[1]
        number = max(1, min(self._units, most // self._view.count))
        self._chosen = torch.arange(number, device=task.device) * self._units // number
        x, dy = (self._part(t) for t in (given.input, given.dy))
        dims = self._shared(x.dim())
        if task.training:
            mean = x.mean(dims, keepdim=True) if task.spec.centred else torch.zeros_like(x[:1])
            var = (x - mean).square().mean(dims, keepdim=True)
        else:
            mean, var = (self._affine(t, x.dim()) for t in task.running() if t is not None)
        self._rstd = (var + EPS).rsqrt()
        self._x_hat = (x - mean) * self._rstd
        self._weight = self._affine(given.weight, x.dim())
        self._pre = self._x_hat * self._weight
        if given.bias is not None:
            self._pre += self._affine(given.bias, x.dim())
        self._dy, self._dims = dy, dims

    def _part(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the chosen groups, one after the other along the first dimension, in float64."""
        tensor, shape = tensor.detach(), self._view.shape
        if self._task.normalized_shape:
            part = tensor.reshape(self._units, -1)[self._chosen]
        elif "batch" in self._task.spec.axes:
            part = tensor.reshape(shape)[:, self._chosen].movedim(1, 0)
        else:
            part = tensor.reshape(shape)[self._chosen // shape[1], self._chosen % shape[1]]
        return part.double()

    def _shared(self, dimensions: int) -> tuple[int, ...]:
        """Return the dimensions of the chosen groups whose numbers share a mean."""
        if self._task.normalized_shape:
            return tuple(range(1, dimensions))
        axes = self._task.spec.axes
        names = [*(["batch"] if "batch" in axes else []), "group"]
        names += ["spatial"] * (dimensions - 1 - len(names))
        return tuple(place for place, name in enumerate(names, start=1) if name in axes)

    def _affine(self, tensor: torch.Tensor, dimensions: int) -> torch.Tensor:
        """Return a weight, bias or running statistic as the chosen groups have it, to be broadcast over them."""
        tensor = tensor.detach().double()
        if self._task.normalized_shape:
            return tensor.reshape(1, -1)
        groups, channels = self._view.shape[1:3]
        places = self._chosen % groups
        of_groups = tensor.reshape(groups, channels)[places]
        batch = (1,) if "batch" in self._task.spec.axes else ()
        return of_groups.reshape(len(places), *batch, channels, *(1,) * (dimensions - 2 - len(batch)))

    def errors(self, tensors: Sequence[torch.Tensor]) -> tuple[float | None, float | None]:
        """Return the relative errors of y and of dx; None for one that is not given.

        The slope of relu jumps at 0, where a rounded output may lie on either side: the side that y took is taken.
        Where y is not given, dx is not compared in numbers so near to 0.

        Args:
            tensors: y, then dx in a step, as an implementation gave them; dx first in a backward pass.
        """
        y = None if self._task.mode == "backward" else tensors[0]
        dx = tensors[y is not None] if self._task.gradients else None
        activation, pre = self._task.activation, self._pre
        output = found = near = None
        if y is not None:
            found = self._part(y)
            output = _relative(found, pre if activation is None else getattr(torch.nn.functional, activation)(pre))
        if dx is None:
            return output, None
        dy = self._dy
        if activation == "relu":
            dy = dy * ((pre if found is None else found) > 0)
            near = None if y is not None else pre.abs() < NEAR_ZERO
        elif activation is not None:
            at = pre.detach().requires_grad_()
            with torch.enable_grad():
                y_true = getattr(torch.nn.functional, activation)(at)
                (dy,) = torch.autograd.grad(y_true, at, dy)
        scaled = dy * self._weight
        inner = self._x_hat * (scaled * self._x_hat).mean(self._dims, keepdim=True)
        if self._task.spec.centred:
            inner += scaled.mean(self._dims, keepdim=True)
        true, found = self._rstd * (scaled - inner), self._part(dx)
        return output, _relative(found if near is None else torch.where(near, true, found), true)


def _relative(found: torch.Tensor, true: torch.Tensor) -> float:
    """Return what `accuracy.relative_error` does, computed on the device."""
    if not bool(torch.isfinite(found).all()):
        return math.inf
    error, scale = float((found - true).abs().max()), float(true.square().mean().sqrt())
    return relative_to(error, scale)
