"""A parent process that imports what takes long once, and forks a process for each job.

Importing torch, scipy and numba is most of what a process does before its first sample. The parent does it before any
thread is started. The stack lies elsewhere in each process that it forks, as in fresh ones, and so do a job's tensors
and compiled kernels where it draws their order (`python -m tools.start_cost` compares cost and spread of both).
"""

import contextlib
import gc
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from . import process

_DEEPEST = 16
"""Frames of the interpreter that are laid before a job's own: each moves the stack by some hundred bytes."""


def is_possible() -> bool:
    """Return whether processes can be forked here: Linux alone promises that it goes well beside system libraries."""
    return sys.platform == "linux" and hasattr(os, "fork")


class Parent:
    """A process that has imported modules and forks; it ends with the block.

    Args:
        modules: that it imports, those that are there.
        env: its environment, and that of the processes.
        python: the interpreter.
    """

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], *, python: str = sys.executable):
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [python, "-P", "-m", __name__, *modules],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what fails here fails again in each process, which says it
            env=dict(env),
            start_new_session=True,
        )
        theirs.close()

    def __enter__(self) -> "Parent":
        return self

    def __exit__(self, *_) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    def process(self, module: str) -> process.Process:
        """Return a new process that calls `main` of a module.

        Raises:
            Died: the parent has ended.
        """
        return process.Process(lambda said: _Forked(self._control, module, said))


class _Forked:
    """A forked process, as `process.Process` uses subprocess.Popen."""

    def __init__(self, control: socket.socket, module: str, said):
        (stdin, to), (frm, stdout), (status, told) = os.pipe(), os.pipe(), os.pipe()
        try:
            socket.send_fds(control, [json.dumps(module).encode()], [stdin, stdout, said.fileno(), told])
        except OSError:
            for end in (to, frm, status):
                os.close(end)
            raise process.Died("the process that starts others has ended") from None
        finally:
            for end in (stdin, stdout, told):
                os.close(end)
        self.stdin, self.stdout = os.fdopen(to, "w", encoding="utf-8"), os.fdopen(frm, encoding="utf-8")
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline() or 0)  # also of its session
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._status.readline() or -signal.SIGKILL)
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def _serve() -> None:
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):  # it is not needed, or the job that needs it says so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the collector of a forked process does not copy its pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children's exit codes are not asked for here
    control = socket.socket(fileno=os.dup(0))
    while True:
        message, fds, *_ = socket.recv_fds(control, 4096, 4)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _wait_for(json.loads(message), fds)
        for end in fds:
            os.close(end)


def _wait_for(module: str, fds: Sequence[int]) -> None:
    """Fork the process of a job, and tell how it ended once it has."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = fds
    job = os.fork()
    if job == 0:
        os.setsid()  # it ends with what it started, while the one that waits for it stays to say how
        os.write(told, f"{os.getpid()}\n".encode())
        os.close(told)
        _become(module, streams)
    for end in streams:
        os.close(end)
    os.close(0)
    _, status = os.waitpid(job, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(module: str, streams: Sequence[int]) -> None:
    """Run a job in this forked process, with a new layout of memory, and end it."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, encoding="utf-8", closefd=False) for n in (1, 2))
        random.seed()
        _deeper(importlib.import_module(module).main, random.randrange(_DEEPEST))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # the end of this process: written to its standard error, and told by its exit code
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the parent's own exit is not this one's to do


def _deeper(main, frames: int) -> None:
    """Call `main` below that many C frames, which move its stack."""
    if frames:
        next(map(_deeper, [main], [frames - 1]))
    else:
        main()


if __name__ == "__main__":
    _serve()
