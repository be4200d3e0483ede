"""The route of a call to a backend of kernels: to the kernels, to an operator of ours, or to torch's operations."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ...tensors import addresses
from ...tensors.layouts import in_channels_last, is_channels_last
from .. import Call, reference, repeats_weight, why_not_saved
from .. import torch as theirs
from . import is_per_element

PARAMETERS = ("weight", "bias", "running_mean", "running_var")

_FAKE = addresses.EXACT | {FakeTensor}
"""Tensor classes that the registered operators take: plain tensors and fake ones."""


@dataclass(frozen=True)
class Routes:
    """The routes to one backend's kernels.

    Attributes:
        activations: those that the kernels compute; another is torch's, after the norm.
        computed: returns the output of a call whose tensors are memory, the input dense or channels_last.
        traced: returns the output by an operator of ours.
    """

    activations: Collection[str | None]
    computed: Callable[[Call], Tensor]
    traced: Callable[[Call], Tensor]

    def apply(self, call: Call) -> Tensor:
        """Return the norm by the formula of `reference`, computed by kernels.

        Where torch looks at operations instead of running them, or differentiates in other ways than backward, what it
        sees is an operator of ours (torch.compile, dispatch modes) or torch's own operations (torch.export and
        torch.jit.trace, whose results are to run where this package is not; vmap, forward mode). Tensors that are no
        memory of the device give way to these too.
        """
        if call.activation not in self.activations:
            return call.deliver(call.activate(self.apply(replace(call, activation=None, out=None))))
        if torch.compiler.is_compiling() and not call.input.is_nested:
            # Of an operator torch differentiates nothing by another way than backward: a tangent would be zero.
            by_formula = torch.compiler.is_exporting() or addresses.by_functorch()
            return reference.apply(call) if by_formula else self.traced(call)
        if call.input.is_nested or addresses.transformed() or not call.input.numel():
            return theirs.in_operations(call)
        if not _has_kernel(call):
            return reference.apply(call)
        if addresses.watched() or any(t.is_meta for t in _given(call)):
            if any(type(t) not in _FAKE for t in _given(call)):
                return reference.apply(call)
            return self.traced(call) if self._can_be_traced(call) else theirs.in_operations(call)
        if not self._are_memory(call):
            return theirs.in_operations(call)
        if call.strided and not is_channels_last(call.input):
            transposed = replace(call, input=in_channels_last(call.input), out=None)
            return call.deliver(self.computed(transposed).contiguous())
        return self.computed(call)

    def is_direct(self, call: Call) -> bool:
        """Return whether calls whose tensors have the same guards go to the kernels, as long as these are stored."""
        if not call.input.numel() or call.strided or call.input.is_meta or not self._are_memory(call):
            return False
        return call.activation in self.activations and _has_kernel(call)

    def _can_be_traced(self, call: Call) -> bool:
        """Return whether each tensor has no numbers, or a kernel may read them."""
        given, device = _given(call), call.input.device
        return all(type(t) is FakeTensor or t.is_meta or addresses.is_memory_of(t, device) for t in given)

    def _are_memory(self, call: Call) -> bool:
        return all(addresses.is_memory_of(t, call.input.device) for t in _given(call))


def fits(call: Call) -> Callable[..., bool]:
    """Return `Again.fits` of a call that goes to the kernels: whether these may read the tensors of one like it."""
    given = (getattr(call, name) for name in PARAMETERS)
    has_tangents, watched = addresses.has_tangents, addresses.watched
    are_stored = addresses.are_stored_like(call.input, *given, call.out)

    def all_fit(*tensors: Tensor | None) -> bool:
        return not has_tangents() and not watched() and are_stored(*tensors)

    return all_fit


def _given(call: Call) -> list[Tensor]:
    """Return the tensors of a call."""
    return [t for t in (call.input, *(getattr(call, name) for name in PARAMETERS), call.out) if t is not None]


def why_not(call: Call) -> str | None:
    """Return the reason why no backend of kernels computes a call, or None."""
    for name in PARAMETERS:
        if (given := getattr(call, name)) is not None and given.device != call.input.device:
            return f"reads the memory behind {name}, which lies on {given.device} and the input on {call.input.device}"
    if call.process_group is not None:
        return "knows one process; the reference backend joins them"
    saved = [] if torch.compiler.is_compiling() else _saved(call)
    if (reason := why_not_saved(call, *saved)) is not None:
        return reason
    return theirs.why_not(call) if call.input.is_nested else None


def _saved(call: Call) -> list[str]:
    """Return the names of the tensors that are saved as they are, and not copied first."""
    x = call.input
    if addresses.watched() or x.is_meta:  # by an operator of ours, which copies within
        return ["input", "weight", *(["bias"] if call.activation is not None else [])]
    as_it_lies = x.dim() > 2 and call.trailing in (0, x.dim() - 1) and is_channels_last(x)
    is_read = as_it_lies if call.strided else x.is_contiguous() or as_it_lies
    return [*(["input"] if is_read else []), *([] if repeats_weight(call.spec) else ["weight"])]


def _has_kernel(call: Call) -> bool:
    """Return whether a weight for each element comes with means over all of those, as in every norm that there is."""
    trailing = call.trailing
    return not trailing or is_per_element(call.spec, trailing)
