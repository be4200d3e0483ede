"""Checks whether a kernel may read or write a tensor by its address.

A kernel sees an address and sizes. Whatever else a tensor can be (a subclass with an address of its own making or none,
a view under a transform, a layout without strides, bits that stand for their negative, storage that was given back or
cut short, zeros that are stored nowhere, an address between two numbers) is refused here, in one place, for every
backend that reads addresses.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from ..errors import StorageError

EXACT = frozenset({Tensor, Parameter})
"""Classes whose tensors are what they seem. A subclass may compute something else, or have no memory of its own."""

_CPU = torch.device("cpu")
_strided = torch.strided
_has_storage = torch._C._has_storage  # not of many tensors in one, as batched gradients are
_interpreter = torch._C._functorch.peek_interpreter_stack
_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state


def watched() -> bool:
    """Return whether a dispatch mode wants to see each operation, such as one that counts or fakes them."""
    return _modes() > 0


def transformed() -> bool:
    """Return whether tensors stand for others: under torch.func, in forward mode, or while torch.jit records."""
    return by_functorch() or _tracing() is not None


def by_functorch() -> bool:
    """Return whether tensors stand for others under torch.func or in forward mode; torch.compile follows this, too."""
    return _interpreter() is not None or forward_ad._current_level >= 0


def has_tangents() -> bool:
    """Return whether tensors may carry tangents, in forward mode."""
    return forward_ad._current_level >= 0


def observed() -> bool:
    """Return whether operations are looked at instead of only run."""
    return _modes() > 0 or _interpreter() is not None or forward_ad._current_level >= 0 or _tracing() is not None


def is_memory_of(t: Tensor, device: torch.device) -> bool:
    """Return whether all elements of the tensor lie in that device's memory, as real numbers of its type.

    Of a tensor with gaps or steps this says that torch may copy it; a kernel reads only what is dense.
    """
    if type(t) not in EXACT or not _has_storage(t) or t.layout is not _strided or t.device != device:
        return False
    if t.is_neg() or t.is_nested:
        return False
    return is_stored(t)


def demand_on(device: torch.device, **tensors: Tensor | None) -> None:
    """Raise StorageError for the first of those tensors that is no memory of that device."""
    for name, t in tensors.items():
        if t is not None and not is_memory_of(t, device):
            raise StorageError(name, _described(t), why_no_memory(t, device) or f"is no memory of {device}")


def is_stored(t: Tensor) -> bool:
    """Return whether the storage of a strided tensor, known to have one, holds all of its elements, at whole addresses.

    It is the part of `is_memory_of` that may change while class, dispatch keys, type, device, shape and strides do not.
    """
    return are_stored_like(t)(t)


def are_stored_like(*known: Tensor | None) -> Callable[..., bool]:
    """Return a function that returns whether tensors are stored (`is_stored`) that have the guards of these.

    It takes as many; where None is here, it looks at nothing. How many bytes are needed is computed once, here.
    """
    wanted = [(place, _extent(t), t.element_size()) for place, t in enumerate(known) if t is not None and t.numel()]

    def are_stored(*tensors: Tensor | None) -> bool:
        for place, needed, size in wanted:
            t: Any = tensors[place]
            address = t.data_ptr()
            if not address or address % size:
                return False
            if t.storage_offset() * size + needed > t.untyped_storage().nbytes():
                return False
        return True

    return are_stored


def _extent(t: Tensor) -> int:
    """Return the bytes from the first to the last element of a strided tensor that has any."""
    if t.is_contiguous():
        return t.nbytes
    return (sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True)) + 1) * t.element_size()


def why_no_memory(t: Tensor, device: torch.device = _CPU) -> str | None:
    """Return the reason why a kernel on that device may not read the tensor by its address, or None if it may."""
    if type(t) not in EXACT:
        return f"is a {type(t).__qualname__}, whose numbers may lie elsewhere"
    if not _has_storage(t):
        return "has no memory of its own"
    if t.layout is not _strided or t.is_nested:
        return f"has the layout {t.layout}{', nested' if t.is_nested else ''}"
    if t.device != device:
        return f"lies on {t.device}"
    if t.is_neg() or t.is_conj():
        return "stands for the negative or conjugate of its memory"
    if missing := why_gone(t):
        return missing
    if not t.data_ptr() and t.numel():
        return "stands for zeros that are stored nowhere" if t._is_zerotensor() else "has no memory of its own"
    if t.data_ptr() % t.element_size():
        return "begins between two numbers of its type"
    return None


def why_gone(t: Tensor) -> str | None:
    """Return the reason why a strided tensor has less memory than its elements take, or None."""
    needed = t.storage_offset() * t.element_size() + _extent(t) if t.numel() else 0
    found = t.untyped_storage().nbytes()
    return f"needs {needed} bytes of its storage, which has {found}" if found < needed else None


def refuse_gone(**tensors: Tensor | None) -> None:
    """Raise StorageError for the first of those tensors whose storage was freed or cut short."""
    for name, t in tensors.items():
        if t is None or type(t) not in EXACT or t.layout is not _strided or t.is_nested or not _has_storage(t):
            continue
        if t.device.type != "meta" and (reason := why_gone(t)):
            raise StorageError(name, _described(t), reason)


def refuse_changed(name: str, t: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise StorageError for a tensor that is of another shape or type than in the forward pass."""
    if t.shape != shape or t.dtype is not dtype:
        raise StorageError(name, _described(t), f"was {tuple(shape)}, {dtype} in the forward pass")


def _described(t: Tensor) -> str:
    return f"{tuple(t.shape)}, {t.dtype}"


def overlaps(written: Tensor, others: Iterable[Tensor | None]) -> bool:
    """Return whether the memory between a tensor's first and last element overlaps that of one of the others."""
    begin = written.data_ptr()
    end = begin + _extent(written)
    for other in others:
        if other is not None:
            first = other.data_ptr()
            if first < end and begin < first + _extent(other):
                return True
    return False


def is_same_memory(a: Tensor, b: Tensor) -> bool:
    """Return whether each element of one tensor lies at the same address as that of the other."""
    return a.data_ptr() == b.data_ptr() and a.dtype is b.dtype and a.shape == b.shape and a.stride() == b.stride()


def written(*tensors: Tensor) -> None:
    """Increment the version counters of tensors that a kernel wrote to.

    Autograd then notices the change, as for torch's operations.
    """
    for t in tensors:
        if not t.is_inference():
            torch.autograd.graph.increment_version(t)
