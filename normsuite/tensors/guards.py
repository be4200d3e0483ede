"""Guards of tensors: whether others are like them in all but their values, compared by the check of torch.compile.

Equal guards are an equal class, dispatch keys, type, device, shape and strides, and `requires_grad`. Dispatch keys say
on which device a tensor lies, in which layout, and whether its bits stand for a negative or a conjugate; they also
differ under autocast, in inference mode, under torch.func and in torch.jit.trace. Guards say nothing of whether
gradients are enabled, of dispatch modes (`addresses.watched`), some of which they see and others not, of forward mode
(`addresses.has_tangents`), nor of storage, which may have been given back since (`addresses.are_stored_like`).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch._C._dynamo.guards import TensorGuards

Guards = Callable[..., bool]


class StandIn(Tensor):
    """A stand-in for a tensor that is not given, since guards compare nothing but tensors."""


NO_WEIGHT, NO_BIAS = (torch.empty(0, device="cpu").as_subclass(StandIn) for _ in range(2))


def of(*tensors: Tensor) -> Guards:
    """Return a function that returns whether as many other tensors have the guards of these, which it does not keep."""
    check: Guards = TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
    return check
