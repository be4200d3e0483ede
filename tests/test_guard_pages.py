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
    "lanes.backward", "lanes.forward", "segments.backward", "segments.backward_elements", "segments.forward",
    "segments.forward_elements",
)  # fmt: skip
NARROW_AND_WIDE = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("bfloat16", "float16", "float64")]


def run(*arguments):
    """The process that computes beside guard pages: it may end by a signal."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(TESTS / "guard_pages.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize("dtype", ["float32", *NARROW_AND_WIDE])
@pytest.mark.parametrize("place", ["end", "start"])
def test_every_kernel_stays_within_its_tensors(place, dtype):
    done = run(place, dtype)
    assert done.returncode == 0, done.stderr[-2000:]
    calls, tensors = map(int, re.match(r"(\d+) calls, (\d+) tensors", done.stdout).groups())
    assert calls > 300 and tensors > 10 * calls
    used = done.stdout.partition("; ")[2].strip().split(", ")
    assert set(used) == {"turning.turn", *KERNELS, *(f"{name} streamed" for name in KERNELS)}


def test_one_number_too_many_ends_the_process():
    assert run("beyond").returncode == -signal.SIGSEGV
