"""Gradients by torch's own operations, which can be differentiated again, batched and traced, as kernels cannot."""

from collections.abc import Callable, Sequence

import torch

from ...tensors import addresses
from . import Given


def gradients(
    apply: Callable[[torch.Tensor, Given, Given], torch.Tensor],
    sources: tuple[torch.Tensor, Given, Given],
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

    Raises:
        StorageError: the memory of one of them was given back.
    """
    further = torch.is_grad_enabled()
    if not addresses.observed():  # torch's own operations may read memory that is gone
        input, weight, bias = sources
        addresses.refuse_gone(dy=dy, input=input, weight=weight, bias=bias)
    with torch.enable_grad():

        def alias(t: torch.Tensor, need: bool) -> torch.Tensor:
            return t.view_as(t) if further else t.detach().requires_grad_(need)

        x, *parameters = (None if t is None else alias(t, need) for t, need in zip(sources, needs, strict=True))
        assert x is not None
        y = apply(x, *parameters)
        given = [t for t, need in zip((x, *parameters), needs, strict=True) if t is not None and need]
        found = iter(torch.autograd.grad(y, given, dy, create_graph=further))
    return [next(found) if need else None for need in needs]
