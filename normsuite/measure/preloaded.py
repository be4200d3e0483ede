"""A parent process that imports what takes long once, and forks a process for each job.

Importing torch, scipy and numba is most of what a process does before its first sample. The parent does it before any
thread is started. The stack lies elsewhere in each process that it forks, as in fresh ones, and so do a job's tensors
and compiled kernels where it draws their order (`python -m tools.start_cost` compares cost and spread of both).
"""

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import IO, NamedTuple

from . import process

START_S = 600.0
"""Seconds that the parent may take for its imports."""

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

    Raises:
        Died: the system cannot run the interpreter.
    """

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], *, python: str = sys.executable):
        with ExitStack() as stack:
            self._said = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            self._control, theirs = map(stack.enter_context, socket.socketpair())
            self._process = process.popen(
                [python, "-P", "-m", __name__, *modules],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=dict(env),
                start_new_session=True,
            )
            theirs.close()
            self._files = stack.pop_all()

    def __enter__(self) -> "Parent":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._files.close()

    def process(self, module: str) -> process.Process:
        """Return a new process that calls `main` of a module.

        Raises:
            Died: the parent has ended, or has been ended because it did not fork within `START_S`.
        """
        return process.Process(lambda said: _Forked(self._forked(module, said)))

    def _forked(self, module: str, said: IO[str]) -> "_Pipes":
        """Return the pipes of a process that the parent forks."""
        (stdin, to), (frm, stdout), (status, told) = os.pipe(), os.pipe(), os.pipe()
        with ExitStack() as stack:
            pipes = _Pipes(
                stack.enter_context(os.fdopen(to, "w", encoding="utf-8")),
                stack.enter_context(os.fdopen(frm, encoding="utf-8", errors="replace")),
                stack.enter_context(os.fdopen(status)),
            )
            try:
                # Where the parent has ended, nobody is going to write to the pipe of the status.
                with suppress(OSError):
                    socket.send_fds(self._control, [json.dumps(module).encode()], [stdin, stdout, said.fileno(), told])
            finally:
                for end in (stdin, stdout, told):
                    os.close(end)
            if not select.select([pipes.status], [], [], START_S)[0]:
                self._process.kill()
                raise process.Died(f"the process that forks others hangs: ended after {START_S:g} s")
            if not (pid := pipes.status.readline()):
                self._process.kill()  # if it runs, and only the process between has ended
                self._said.seek(0)
                raise process.Died(process.last_words(self._process.wait(), self._said.read()))
            stack.pop_all()
        return pipes._replace(pid=int(pid))


class _Pipes(NamedTuple):
    """Pipes to a forked process, by the ends that its starter holds.

    Attributes:
        stdin, stdout: to its standard input and from its standard output.
        status: says how it ended.
        pid: of the process and of its session.
    """

    stdin: IO[str]
    stdout: IO[str]
    status: IO[str]
    pid: int = 0


class _Forked:
    """A forked process, as `process.Process` uses subprocess.Popen."""

    def __init__(self, pipes: _Pipes):
        self.stdin, self.stdout, self._status, self.pid = pipes
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._status.readline() or -signal.SIGKILL)
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def _serve() -> None:
    for name in sys.argv[1:]:
        with suppress(ImportError):  # it is not needed, or the job that needs it says so
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
    os.waitid(os.P_PID, job, os.WEXITED | os.WNOWAIT)
    with suppress(ProcessLookupError):  # what it left running, such as a pool, would hold its pipes open
        os.killpg(job, signal.SIGKILL)
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
        for output in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # the job closed it, or set it to None
                output.flush()
        os._exit(code)  # the parent's own exit is not this one's to do


def _deeper(main, frames: int) -> None:
    """Call `main` below that many C frames, which move its stack."""
    if frames:
        next(map(_deeper, [main], [frames - 1]))
    else:
        main()


if __name__ == "__main__":
    _serve()
