"""No kernel touches anything but its tensors: each of them lies beside a page without access rights."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="maps pages as Linux does")

TESTS = Path(__file__).parent
KERNELS = (
    "columns.backward", "columns.forward", "segments.backward", "segments.backward_elements", "segments.forward",
    "segments.forward_elements",
)  # fmt: skip


def run(*arguments):
    """The process that computes beside guard pages: it may end by a signal."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(TESTS / "guard_pages.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, env={**os.environ, "PYTHONPATH": path})


def made(*arguments):
    """Return how many calls and tensors the process made, and the kernels that it used."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    calls, tensors = map(int, re.match(r"(\d+) calls, (\d+) tensors", done.stdout).groups())
    return calls, tensors, set(done.stdout.partition("; ")[2].strip().split(", "))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("place", ["end", "start"])
def test_every_kernel_stays_within_its_tensors(place, dtype):
    calls, tensors, used = made(place, dtype)
    assert calls > 300 and tensors > 10 * calls
    assert used == {"running.statistics", "transposing.transpose", *KERNELS, *(f"{name} streamed" for name in KERNELS)}


@pytest.mark.parametrize("place", ["end", "start"])
def test_kernels_stay_within_tensors_of_few_shapes(place):
    calls, tensors, used = made(place, "float32", "few")
    assert calls > 40 and tensors > 10 * calls
    assert used == {"running.statistics", "transposing.transpose", *KERNELS}


def test_one_number_too_many_ends_the_process():
    assert run("beyond").returncode == -signal.SIGSEGV
