"""Calls that were checked and computed before, so that the next one like them is checked by a few comparisons.

Checking a call and choosing its backend takes several times as long as a small norm, and a model makes the same calls
in every step. A call is like another one where

    its settings are equal: the norm, the backend, eps and so on, and whether gradients are enabled;
    its tensors have equal guards (`guards`).

`Again.fits` of a backend checks the rest, such as storage that was freed.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Size, Tensor

from . import backends
from .tensors import addresses, guards

_MOST_SIZES = 4096
_MOST_OF_A_SIZE = 32
"""Most calls of one number of elements (with and without gradients, in several layouts); they are compared in turn."""


class CheckedCall(NamedTuple):
    """A call that was checked, and how it is computed.

    Attributes:
        settings: all arguments that are no tensors and can be compared by ==.
        guards: of the call's tensors, with stand-ins for weight and bias.
        normalized_shape: of the call, or None.
        compute, fits: as in `backends.Again`.
    """

    settings: tuple
    guards: guards.Guards
    normalized_shape: tuple[int, ...] | None
    compute: Callable[..., Tensor]
    fits: Callable[..., bool] | None


checked_calls: dict[int, tuple[CheckedCall, ...]] = {}
"""Checked calls by the number of elements of the input, the latest first."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=checked_calls.clear)  # kernels have one thread there, and `auto` chooses anew


def are_sizes(given: Any, wanted: tuple[int, ...] | None) -> bool:
    """Return whether these are those sizes, as integers."""
    return type(given) in (tuple, list, Size) and all(type(size) is int for size in given) and tuple(given) == wanted


def add(settings: tuple, tensors: Sequence[Tensor], call: backends.Call, backend: backends.Backend) -> None:
    """Add a call that was checked in full, so that the backend computes later calls like it without another check.

    Nothing is added where the backend has no shorter way for them.
    """
    if not all(type(t) in addresses.EXACT or type(t) is guards.StandIn for t in tensors) or addresses.observed():
        return
    again = backend.again(call)
    if again is None:
        return
    if len(checked_calls) >= _MOST_SIZES:
        checked_calls.clear()
    checked = CheckedCall(settings, guards.of(*tensors), call.normalized_shape, again.compute, again.fits)
    if not checked.guards(*tensors):  # one tensor is given twice, which they refuse
        return
    size = call.input.numel()
    others = [known for known in checked_calls.get(size, ()) if not _is_like(known, settings, tensors, call)]
    checked_calls[size] = (checked, *others[: _MOST_OF_A_SIZE - 1])


def _is_like(known: CheckedCall, settings: tuple, tensors: Sequence[Tensor], call: backends.Call) -> bool:
    return known.settings == settings and known.guards(*tensors) and known.normalized_shape == call.normalized_shape
