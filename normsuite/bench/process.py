"""A fresh process that measures: started with an allocator that keeps what it got, told its job, listened to line by
line, and ended when nobody listens any more."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import platformdirs

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""glibc otherwise gives memory back and faults it in again, differently for whoever comes first in a round."""

_ROOT = Path(__file__).resolve().parent.parent.parent


class Died(Exception):
    """A process ended before it should have; the last that it said."""


def environment(threads: int) -> dict[str, str]:
    """Of a process that measures; what the user has set himself stays, but for the allocator."""
    cache = Path(platformdirs.user_cache_dir("normsuite"))
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
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # NPROC is the size of XLA's pool of threads.
    return {**defaults, **os.environ, **ALLOCATOR, "NPROC": str(threads), "PYTHONPATH": path}


def messages(
    command: Sequence[str], job: dict, env: Mapping[str, str], *, python: str = sys.executable
) -> Iterator[dict]:
    """What a fresh process says, one JSON object a line.

    Args:
        command: what follows the interpreter, such as ["-m", "normsuite.bench.worker"].
        job: what it is told, as one line of JSON.
        env: its environment.
        python: the interpreter.

    Raises:
        Died: it ended with an error, or said something else than JSON.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [python, "-P", *command],  # the folder one stands in may hold another version of this package
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            env=dict(env),
            start_new_session=True,  # Ctrl-C reaches this process, which ends that one
        )
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)
            if code := process.wait():
                raise Died(_last_words(code, said))
        except (BrokenPipeError, json.JSONDecodeError):
            raise Died(_last_words(process.wait(), said)) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()


def _last_words(code: int, said) -> str:
    said.seek(0)
    lines = [line.strip() for line in said if line.strip()]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"{how}: {lines[-1][:200]}" if lines else how


def speak(work) -> None:
    """The other end: do the job that standard input tells, with a function of the job and of what says a message.

    Standard output is the parent's; what libraries print goes to standard error.
    """
    from ..results import to_json

    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def emit(message: dict) -> None:
        lines.write(to_json(message, indent=None) + "\n")
        lines.flush()

    try:
        work(json.loads(sys.stdin.readline()), emit)
    except BrokenPipeError:  # the parent is gone
        sys.exit(1)
