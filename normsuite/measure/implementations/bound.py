"""A norm's passes over a tensor without the norm: torch's own sums, then torch's own products.

A norm that reads its input for the statistics and again for the result, and in the backward pass its input and the
gradient twice, cannot be much faster than these on a tensor that a first-level cache does not hold. An implementation
near this bound can only gain by leaving out the second reading. Steps include the time of torch's autograd. An
activation in the same passes reads and writes nothing more, and is left out.
"""

from functools import partial

import torch

from ..labels import BOUND
from . import Implementation


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
        if task.gradients:
            return partial(_step, given.input, given.dy)
        x = given.input.detach()
        y = torch.empty_like(x) if self.preallocated else None

        def passes():
            x.sum()
            return torch.mul(x, 0.5, out=y)

        return passes


class _Passes(torch.autograd.Function):
    """y = x / 2, and something of the same traffic as a norm's backward pass for a gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        x.sum()
        return x * 0.5

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        x.sum()
        dy.sum()
        return torch.add(dy, x, alpha=0.5)


def _step(x: torch.Tensor, dy: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = _Passes.apply(x)
    return (y, *torch.autograd.grad(y, x, dy))


IMPLEMENTATIONS = (TwoPasses(BOUND), TwoPasses(BOUND, preallocated=True))
