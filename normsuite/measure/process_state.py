"""Global state that a user's call may change in a process: found and restored."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_STREAMS = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True)
class ProcessState:
    """Settings of a process that hold for all code in it.

    Attributes:
        folder: that it stands in, None where that is gone.
        dtype, device: torch's defaults.
        threads: torch's number of threads.
        gradients: whether torch records them.
    """

    folder: str | None
    dtype: torch.dtype
    device: torch.device
    threads: int
    gradients: bool

    @classmethod
    def now(cls) -> "ProcessState":
        """Return the state of this process."""
        try:
            folder = os.getcwd()
        except OSError:
            folder = None
        threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
        return cls(folder, torch.get_default_dtype(), torch.get_default_device(), threads, gradients)

    def put_back(self) -> list[str]:
        """Restore this state, and return in words what had changed."""
        now, changed = ProcessState.now(), []
        if now.folder != self.folder:
            changed.append("the working directory")
            if self.folder is not None:
                with contextlib.suppress(OSError):  # it is gone
                    os.chdir(self.folder)
        if now.dtype != self.dtype:
            changed.append("torch's default dtype")
            torch.set_default_dtype(self.dtype)
        if now.device != self.device:
            changed.append("torch's default device")
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
        if now.threads != self.threads:
            changed.append("torch's number of threads")
            torch.set_num_threads(self.threads)
        if now.gradients != self.gradients:
            changed.append("whether torch records gradients")
            torch.set_grad_enabled(self.gradients)
        return changed


@contextlib.contextmanager
def unchanged() -> Iterator[list[str]]:
    """Yield a list; after the block, restore the global state that the block changed, and list each change in words.

    It looks at the working directory, torch's default dtype and device, its number of threads, whether it records
    gradients, and whether standard output and standard error are open.
    """
    changed: list[str] = []
    before = ProcessState.now()
    streams = {name: getattr(sys, name) for name in _STREAMS.values()}
    copies = {number: copy for number in _STREAMS if (copy := _copied(number)) is not None}
    try:
        yield changed
    finally:
        changed += before.put_back()
        for number, name in _STREAMS.items():
            stream, copy = streams[name], copies.get(number)
            is_closed = is_lost = getattr(stream, "closed", False)
            if copy is not None and not _is_open(number):
                os.dup2(copy, number)
                is_lost = True
            if is_lost:
                changed.append(f"whether {name} is open")
            setattr(sys, name, _opened(number) if is_closed else stream)
        for copy in copies.values():
            os.close(copy)


def why_not_silent(printed: io.StringIO) -> str | None:
    """Return what a call did to the standard output that it had, in words: timed, it would print at each call."""
    if printed.closed:
        return "closes standard output"
    return f"prints {' '.join(text.split())[:80]!r}" if (text := printed.getvalue()) else None


def _copied(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:
        return None


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _opened(number: int):
    """Return that stream anew, or one that leads nowhere."""
    if _is_open(number):
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    return open(os.devnull, "w", encoding="utf-8")
