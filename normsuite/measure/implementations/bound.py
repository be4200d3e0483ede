"""A norm's passes over a tensor without the norm: torch's own sums, then torch's own products.

A norm that reads its input for the statistics and again for the result, and in the backward pass its input and the
gradient twice, cannot be much faster than these on a tensor that a first-level cache does not hold. An implementation
near this bound can only gain by leaving out the second reading. Steps include the time of torch's autograd.

Weight and bias are read in each pass, and their gradients written, where a first-level cache does not hold them: those
of each element are as long as a sample. An activation in the same passes reads at most the bias once more, which is
left out.
"""

from functools import partial

import torch

from ..labels import BOUND
from ..operands import Operands
from . import Implementation

_FIRST_LEVEL = 2**15
"""Bytes that the first-level cache of any processor holds."""


class TwoPasses(Implementation):
    """A sum over the tensor and a product with it, instead of a norm."""

    is_norm = False

    def why_not(self, task):
        """Return the reason why a task has no such passes to compare with, or None."""
        if task.mode == "evaluation":
            return "stands beside a norm that computes statistics"
        if task.mode == "backward":
            return "stands beside a forward pass and a step"
        return "a step makes new tensors" if self.preallocated and task.gradients else None

    def prepare(self, task, given):
        """Return a call that reads the input twice and writes the output once; in a step, a backward pass too."""
        parameters = _parameters(given)
        if task.gradients:
            return partial(_step, given.input, given.dy, parameters)
        x = given.input.detach()
        y = torch.empty_like(x) if self.preallocated else None

        def passes():
            return _forward(x, parameters, y)

        return passes


def _parameters(given: Operands) -> torch.Tensor | None:
    """Return weight and bias as one tensor, or None where a first-level cache holds them."""
    parameters = torch.stack([t.detach() for t in (given.weight, given.bias) if t is not None])
    return parameters if parameters.nbytes > _FIRST_LEVEL else None


def _forward(x, parameters, out=None):
    """Return x / 2, after sums over what a norm reads beside it."""
    x.sum()
    if parameters is not None:
        parameters.sum()
    return torch.mul(x, 0.5, out=out)


class _Passes(torch.autograd.Function):
    """y = x / 2, and something of the same traffic as a norm's backward pass for a gradient."""

    @staticmethod
    def forward(ctx, x, parameters):
        ctx.save_for_backward(x, parameters)
        return _forward(x, parameters)

    @staticmethod
    def backward(ctx, dy):
        x, parameters = ctx.saved_tensors
        x.sum()
        dy.sum()
        if parameters is not None:
            parameters * 0.5  # read, and as many gradients written
        return torch.add(dy, x, alpha=0.5), None


def _step(x: torch.Tensor, dy: torch.Tensor, parameters: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    y = _Passes.apply(x, parameters)
    return (y, *torch.autograd.grad(y, x, dy))


IMPLEMENTATIONS = (TwoPasses(BOUND), TwoPasses(BOUND, preallocated=True))
