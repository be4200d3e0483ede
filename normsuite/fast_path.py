"""Calls that were checked and computed before, so that the next one like them is checked by a few comparisons.

Checking a call and choosing its backend takes several times as long as a small norm, and a model makes the same calls
in every step. A call is like another one where

    its settings are equal: the norm, the backend, eps and so on;
    its tensors have equal guards: class, dispatch keys, type, device, shape, strides, whether a gradient is asked for.

The guards are those of torch.compile: one call compares all tensors in C++. Dispatch keys say on which device a tensor
lies, in which layout, and whether its bits stand for a negative or a conjugate; they also differ under autocast, in
inference mode, under torch.func, in torch.jit.trace and in dispatch modes. Everything else that an answer depends on,
such as storage that was given back, is for `Again.fits` of a backend to look at.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._dynamo.guards import TensorGuards

from . import addresses, backends

_MOST_SIZES = 4096
_MOST_OF_A_SIZE = 32
"""Calls of one key: with and without gradients, in several layouts. Each is a comparison more for those behind it."""


class _Absent(Tensor):
    """A stand-in for a tensor that is not given, since guards compare nothing but tensors."""


NO_WEIGHT, NO_BIAS = (torch.empty(0, device="cpu").as_subclass(_Absent) for _ in range(2))


class CheckedCall(NamedTuple):
    """A call that was checked, and how it is computed.

    Attributes:
        settings: all arguments that are no tensors and can be compared by ==.
        guards: returns whether the tensors given to it are like the call's in all but their values.
        normalized_shape: of the call, or None.
        compute, fits: as in `backends.Again`.
    """

    settings: tuple
    guards: Callable[..., bool]
    normalized_shape: tuple[int, ...] | None
    compute: Callable[..., Tensor]
    fits: Callable[..., bool] | None


checked_calls: dict[int, tuple[CheckedCall, ...]] = {}
"""By the number of elements of the input, the latest first."""


def are_sizes(given: Any, wanted: tuple[int, ...] | None) -> bool:
    """Return whether these are those sizes, as integers."""
    return type(given) in (tuple, list) and all(type(size) is int for size in given) and tuple(given) == wanted


def add(settings: tuple, tensors: Sequence[Tensor], call: backends.Call, backend: backends.Backend) -> None:
    """Add a call that was checked in full, so that the backend computes later calls like it without another check.

    Nothing is added where the backend has no shorter way for them.
    """
    if not all(type(t) in addresses.EXACT or type(t) is _Absent for t in tensors) or addresses.observed():
        return
    again = backend.again(call)
    if again is None:
        return
    if len(checked_calls) >= _MOST_SIZES:
        checked_calls.clear()
    guards = TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None)
    checked = CheckedCall(settings, guards.check, call.normalized_shape, again.compute, again.fits)
    size = call.input.numel()
    others = [known for known in checked_calls.get(size, ()) if not _is_like(known, settings, tensors, call)]
    checked_calls[size] = (checked, *others[: _MOST_OF_A_SIZE - 1])


def _is_like(known: CheckedCall, settings: tuple, tensors: Sequence[Tensor], call: backends.Call) -> bool:
    return known.settings == settings and known.guards(*tensors) and known.normalized_shape == call.normalized_shape
