"""Memory for results: pages of 2 MiB, where Linux gives them on request, and non-temporal stores where those pay.

Memory that the system has just given is there only when it is touched, page by page: in pages of 4 KiB that takes
longer than a norm. NumPy asks in the same way; torch only where THP_MEM_ALLOC_ENABLE is set.
"""

import ctypes
import mmap
from functools import cache

import torch

from ... import tunings
from .sizes import SIZES

STREAMED = dict(tunings.current().streaming)
"""Bytes from which on a result is written by non-temporal stores, forward and backward: from there on a norm, what
makes its input and what reads its output are faster together."""

_PAGE = mmap.PAGESIZE
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)

try:
    _advise = ctypes.CDLL(None).madvise
    _advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
except (AttributeError, OSError, TypeError):
    _ADVICE = None


@cache  # made when a kernel runs first: this file may be imported under a mode that fakes tensors
def _nothing(dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(0, dtype=dtype, device="cpu")


def empty(shape: int | tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return an empty tensor on the CPU, whatever torch's default device is.

    It takes 0.7 of the time of `torch.empty` with a type and a device.
    """
    return _nothing(dtype).new_empty(shape)


def like(x: torch.Tensor) -> torch.Tensor:
    """Return an empty tensor of the same shape, type and layout."""
    y = torch.empty_like(x)
    if _ADVICE is not None and y.nbytes >= SIZES.huge:
        begin = -(-y.data_ptr() // _PAGE) * _PAGE
        end = (y.data_ptr() + y.nbytes) // _PAGE * _PAGE
        _advise(begin, end - begin, _ADVICE)  # a system without such pages refuses, and nothing is lost
    return y
