"""Gradients by torch's own operations, where kernels cannot give them: they can be differentiated, batched and traced."""

from collections.abc import Callable, Sequence

import torch

from . import Given


def gradients(
    apply: Callable[[torch.Tensor, Given, Given], torch.Tensor],
    sources: Sequence[Given],
    needs: Sequence[bool],
    dy: torch.Tensor,
) -> list[Given]:
    """Return the gradients of input, weight and bias, those that are needed; with a graph where grad mode is on.

    They are taken with respect to aliases of the sources. These have no hooks, which torch calls itself on what is
    returned here, and none is computed from another: torch adds such a path by itself, too.

    Args:
        apply: computes y from the three by torch's operations.
        sources: input, weight and bias.
        needs: which of them need a gradient.
        dy: the gradient of y.
    """
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        pairs = list(zip(sources, needs, strict=True))
        if further:
            own = [None if t is None else t.view_as(t) for t, _ in pairs]
        else:
            own = [None if t is None else t.detach().requires_grad_(need) for t, need in pairs]
        y = apply(*own)
        given = [t for t, need in zip(own, needs, strict=True) if need]
        found = iter(torch.autograd.grad(y, given, dy, create_graph=further))
    return [next(found) if need else None for need in needs]
