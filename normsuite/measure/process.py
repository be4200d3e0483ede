"""Start a fresh process that measures, with pinned settings of the allocator; send it a job and read its results.

Results are read line by line. A process whose reader is gone ends at its next message.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

from ..files import caches
from ..machine import allocator, threads

_PACKAGE = Path(__file__).resolve().parent.parent
_ROOT = _PACKAGE.parent


class Died(Exception):
    """A process could not be started, or ended too early; the message says why, or what it said last.

    Attributes:
        hung_s: the limit that it was silent for; None where it ended by itself.
    """

    hung_s: float | None = None

    def how(self, ends: str) -> str:
        """Return that it hangs, or `ends` with its last words."""
        return f"{ends} ({self})" if self.hung_s is None else str(self)


def variables(threads: int, *, python: str = sys.executable) -> dict[str, str]:
    """Return the environment variables of a process that measures.

    The user's own settings stay, but for the allocator's, the number of threads and folders to import from.

    Args:
        threads: of the process.
        python: its interpreter; another one than this program's imports no further package from beside this one.
    """
    cache = caches.folder_or_temporary()
    defaults = {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no compiling processes beside the one that measures
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # For interpreters that this package is not installed for.
    root = _ROOT if python == sys.executable else alone(_PACKAGE)
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    # NPROC is the size of XLA's pool of threads.
    return {**defaults, **os.environ, **allocator.PINNED, "NPROC": str(threads), "PYTHONPATH": path}


def alone(package: Path) -> Path:
    """Return a folder to import a package from that holds no package of another interpreter.

    Where it is installed, others lie beside it, such as torch, and the folder is one of the cache with a link to it.
    """
    root = package.parent
    if root.name not in ("site-packages", "dist-packages"):
        return root
    folder = caches.folder_or_temporary() / "import" / hashlib.sha256(str(root).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / package.name).symlink_to(package, target_is_directory=True)
    return folder


class Running(Protocol):
    """A process that runs: what is used of subprocess.Popen.

    Attributes:
        pid: of the process and of its session.
    """

    pid: int

    @property
    def stdin(self) -> IO[str]:
        """Return the pipe to its standard input."""

    @property
    def stdout(self) -> IO[str]:
        """Return the pipe from its standard output."""

    def wait(self) -> int:
        """Return how it ended, once it has: its exit code, or a signal's number below 0."""

    def kill(self) -> None:
        """End it, if it runs."""


class Process:
    """A child process that exchanges lines of JSON with this one; it is ended with the block.

    Args:
        start: starts it, given the file that its standard error goes to.
    """

    def __init__(self, start: Callable[[IO[str]], Running]):
        self._has_ended = False
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed on exit
        try:
            self._process = start(self._said)
        except BaseException:  # Ctrl-C too; raised again
            self._said.close()
            raise

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_) -> None:
        if not self._has_ended:
            self.end()
        self._process.kill()
        self._wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._said.close()

    def end(self) -> None:
        """Kill the process and those that it started."""
        if not hasattr(os, "killpg"):  # on Windows: there are no groups of processes
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def tell(self, line: dict) -> None:
        """Send it a line; raises `Died` if it has ended."""
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def messages(self) -> Iterator[dict]:
        """Yield its messages, until it ends; one may stop listening and go on later.

        Raises:
            Died: it ended with an error, or said something else than JSON and was ended.
        """
        while line := self._process.stdout.readline():
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                message = None
            if not isinstance(message, dict):
                self.end()  # it may go on for ever
                how = "" if line.endswith("\n") else f"{self._died()}, "  # perhaps it was killed while it wrote
                raise Died(f"{how}said {line.strip()[:200]!r}, which is no message")
            yield message
        if self._wait():
            raise self._died()

    def _died(self) -> Died:
        self._said.seek(0)
        return Died(last_words(self._wait(), self._said.read()))

    def _wait(self) -> int:
        code = self._process.wait()
        self._has_ended = True  # from now on its number may be another process's
        return code


def fresh(command: Sequence[str], env: Mapping[str, str], *, python: str = sys.executable) -> Process:
    """Return a process of a new interpreter.

    Args:
        command: what follows the interpreter, such as ["-m", "normsuite.bench.worker"].
        env: its environment.
        python: the interpreter.

    Raises:
        Died: the system cannot run the interpreter.
    """

    def start(said: IO[str]) -> Running:
        started = popen(
            [python, "-P", *command],  # the folder one stands in may hold another version of this package
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(env),
            start_new_session=True,  # Ctrl-C reaches this process, which ends that one
            kind=_Fresh,
        )
        return cast(Running, started)  # whose pipes are there

    return Process(start)


class _Fresh(subprocess.Popen):
    """A process that leads a group of its own; what it started and left behind ends with it."""

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and timeout is None and hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):  # another thread was told first
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # until it is reaped, its number is its own
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
        return super().wait(timeout)


def popen(
    command: Sequence[str], *, kind: type[subprocess.Popen] = subprocess.Popen, **options: Any
) -> subprocess.Popen:
    """Start a process as subprocess.Popen does; raises `Died` where the system cannot run its program."""
    try:
        return kind(command, **options)
    except OSError as error:
        raise Died(f"cannot be started: {error.strerror}: {command[0]}") from None


class Watch:
    """A timer that ends a process which sends no message for too long.

    Args:
        process: the process.
        seconds: how long it may be silent at first.

    Attributes:
        has_ended_it: whether the process was silent for too long and has been ended.
        seconds: the current limit of silence.
    """

    def __init__(self, process: Process, seconds: float):
        self._process = process
        self.has_ended_it = False
        self._start(seconds)

    def _start(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.has_ended_it = True
        self._process.end()

    def again(self, seconds: float) -> None:
        """Restart the limit, after a message."""
        self._timer.cancel()
        self._start(seconds)

    def stop(self) -> None:
        """Stop the watch."""
        self._timer.cancel()


def last_words(code: int, said: str) -> str:
    """Return how a process ended, with the last line that it wrote to its standard error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    how = f"exit code {code}"
    if code < 0:
        names = {each.value: each.name for each in signal.Signals}
        how = names.get(-code, f"signal {-code}")  # real-time signals have no names
    return f"{how}: {lines[-1][:200]}" if lines else how


def speak(work) -> None:
    """Run the job on standard input by `work(job, emit)`, where `emit` sends a message: the other end of `Process`.

    Standard output is the parent's; what libraries print goes to standard error.
    """
    from ..files.writing import to_json

    # Names of files may have surrogates, which are no UTF-8; their escapes are JSON.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def emit(message: dict) -> None:
        lines.write(to_json(message, indent=None) + "\n")
        lines.flush()

    try:
        work(json.loads(sys.stdin.readline()), emit)
    except BrokenPipeError:  # the parent is gone
        sys.exit(1)
    lines.close()
    threads.leave(0)
