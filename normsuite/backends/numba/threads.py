"""Run a kernel on torch's own threads: the OpenMP runtime that torch has loaded, asked directly.

A second pool would compete with torch's for the cores. A kernel is a C function of one pointer; every thread calls it,
and takes work by atomic counters behind that pointer until none is left.
"""

import ctypes
import os

import torch

from .arguments import COUNTERS, Arguments
from .kernels import Kernel

_parallel = None
_number = 0
_forked = False
_why_serial: str | None = None

try:
    # The handle of torch's library finds the symbols of everything that torch links, wherever it lies.
    _runtime = ctypes.CDLL(torch._C.__file__)
    _number = ctypes.cast(_runtime.omp_get_thread_num, ctypes.c_void_p).value
    _parallel = _runtime.GOMP_parallel
    _parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    _parallel.restype = None
except (AttributeError, OSError):
    _why_serial = "torch's OpenMP runtime has no GOMP_parallel or no omp_get_thread_num here"


def _after_fork() -> None:
    # The pool's threads stayed in the parent, and an OpenMP runtime that was used before would wait for them for ever.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def count() -> int:
    """Return how many threads a kernel runs on: torch's number, or one where there is no pool to run on."""
    return 1 if _forked or _parallel is None else torch.get_num_threads()


def why_serial() -> str | None:
    """Return the reason why kernels run on one thread whatever torch's number, or None."""
    return "a forked child has no threads of its own" if _forked else _why_serial


def run(kernel: Kernel, arguments: Arguments, phase: int, threads: int) -> None:
    """Call the kernel on that many threads at once and wait for all of them; one of them is this one."""
    if arguments.phase:  # of the step before
        ctypes.memset(ctypes.byref(arguments), 0, COUNTERS)
    arguments.phase, arguments.workers = phase, threads
    if threads > 1:
        arguments.number = _number
        _parallel(kernel.address, ctypes.byref(arguments), threads, 0)
    else:
        kernel.call(ctypes.byref(arguments))
