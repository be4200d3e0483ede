"""Kernels compiled to C functions when they are first needed, and kept on disk.

The cache lies in a folder of its own for each text of the sources and each name of the package: Numba looks only at the
file of a cached function, not at what it calls, and a cache that was written under one module's name fails in a process
that loads the same file under another.
"""

import ctypes
import hashlib
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numba
import torch
from numba import cfunc, types

from ...errors import ArgumentError
from ...files import caches
from .. import ACTIVATIONS
from . import (
    activations,
    arguments,
    columns,
    decorators,
    elements,
    finalizing,
    running,
    segments,
    sizes,
    streaming,
    tasks,
    transposing,
)
from .elements import STORED
from .kernel_cache import cached_in

_SOURCES = (
    activations, arguments, decorators, elements, columns, segments, finalizing, running, sizes, streaming,
    tasks, transposing,
)  # fmt: skip
"""The modules that a kernel is made of: what else lies in the folder runs it."""

_OF_A_CACHE = (
    OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, ImportError,
    pickle.PickleError,
)  # fmt: skip
"""What Numba raises where its cache is damaged, or cannot be written, as on a full disk."""

_FILES = {"segments": segments, "columns": columns, "running": running, "transposing": transposing}
"""Modules that have kernels, by the first part of a kernel's name."""


@dataclass(frozen=True)
class Kernel:
    """A C function of one pointer: its address, the same to be called from here, and what keeps it in memory."""

    address: int
    call: Callable[[object], None]
    owner: object


compile_times_s: dict[tuple[str, torch.dtype, int, bool], float] = {}
"""Seconds that each kernel used in this process took to be there, compiled or read from disk."""


def sources() -> list[Path]:
    """Return the files that a kernel is made of."""
    files = [Path(module.__file__) for module in _SOURCES]
    return [one for file in files for one in (sorted(file.parent.glob("*.py")) if file.stem == "__init__" else [file])]


@cache
def _cache_folder() -> str | None:
    """Return the folder of the cached kernels, or None where nothing can be written."""
    digest = hashlib.sha256(f"{__package__} {numba.__version__} {ACTIVATIONS}".encode())
    for file in sources():
        digest.update(file.read_bytes())
    folder = caches.folder("kernels", digest.hexdigest()[:16])
    if folder is None:
        return None
    caches.mark_as_used(folder)
    caches.forget(folder.parent)  # those of sources that nobody has used for long
    return str(folder)


def get(name: str, dtype: torch.dtype, code: int = 0, streamed: bool = False) -> Kernel:
    """Return that kernel for that type of elements.

    Args:
        name: "segments.forward" and so on: the file and the function.
        code: of the activation, for kernels that have one.
        streamed: writes its result by non-temporal stores.

    Raises:
        ArgumentError: there is no such type or activation.
    """
    key = name, dtype, code, streamed
    found = _kernels.get(key)
    if found is None:
        # In a thread of its own, to which no signal comes: what a handler raises ends the call, but neither the
        # compilation nor an import in it, which Numba could not begin again.
        compiler = ThreadPoolExecutor(1, "normsuite-compiler")
        try:
            compilation = compiler.submit(_compiled_once, key)
        except RuntimeError:  # no thread can be started, as once the main one has ended
            return _compiled_once(key)
        compiler.shutdown(wait=False)
        found = compilation.result()
    return found


def _compiled_once(key: tuple[str, torch.dtype, int, bool]) -> Kernel:
    with _compiling:  # one at a time: where Numba keeps what it compiles is a setting of the process
        found = _kernels.get(key) or _compiled(*key)
        _kernels[key] = found
        return found


_kernels: dict[tuple[str, torch.dtype, int, bool], Kernel] = {}
_compiling = threading.Lock()


class _Forking(threading.local):
    """Whether this thread has taken the lock for a fork: an interruption while it waits leaves it without."""

    has_lock = False


_forking = _Forking()


def _before_fork() -> None:
    _forking.has_lock = _compiling.acquire()


def _after_in_parent() -> None:
    if _forking.has_lock:
        _forking.has_lock = False
        _compiling.release()


def _after_in_child() -> None:
    global _compiling
    _forking.has_lock = False
    _compiling = threading.Lock()


if hasattr(os, "register_at_fork"):  # a child has no thread that would finish a compilation
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _compiled(name: str, dtype: torch.dtype, code: int, streamed: bool) -> Kernel:
    if code not in activations.CODES.values():  # which a kernel would take for none
        raise ArgumentError("activation", code, f"has no code in a kernel; codes are {activations.CODES}")
    if dtype not in STORED:
        raise ArgumentError("dtype", dtype, f"has no kernel; there are those of {', '.join(map(str, STORED))}")
    begun = time.perf_counter()
    file, _, function = name.partition(".")
    python = getattr(_FILES[file], function)(code, streamed)
    # Numba keeps an index for each name. If two processes write one at once, it may lead one's key to the other's code.
    python.__qualname__ = (
        f"{function}_{str(dtype).removeprefix('torch.')}_{code}_{'streamed' if streamed else 'cached'}"
    )
    compiles = partial(cfunc, types.void(types.CPointer(STORED[dtype])), error_model="numpy")
    folder = _cache_folder()
    with cached_in(folder):
        # Without a folder nothing is kept: Numba would write beside the sources, under this module's name.
        compiled = compiles(cache=False)(python) if folder is None else _kept(compiles, python, folder)
    compile_times_s[name, dtype, code, streamed] = time.perf_counter() - begun
    return Kernel(compiled.address, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address), compiled)


def _kept(compiles: Callable, python: Callable, folder: str):
    """Return a function that Numba compiles and keeps, or does not keep where the cache cannot be used.

    What is kept of it is removed then: it may be damaged, and the next process writes it anew.
    """
    try:
        return compiles(cache=True)(python)
    except _OF_A_CACHE:
        for path in Path(folder).rglob(f"*.{python.__qualname__}-*"):
            with suppress(OSError):
                path.unlink()
    return compiles(cache=False)(python)
