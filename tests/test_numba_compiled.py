"""How kernels are compiled: a promise about aliases changes no bit, and what has no kernel is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from normsuite.backends.numba import kernels
from normsuite.errors import ArgumentError

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_a_promise_about_aliases_changes_no_bit(tmp_path):
    found = {}
    for build in ("promised", "plain"):
        path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        # The sources are the same, and what other tests compile is promised.
        cache = {"XDG_CACHE_HOME": str(tmp_path)} if build == "plain" else {}
        found[build] = subprocess.run(
            [sys.executable, str(TESTS / "kernel_bits.py"), build],
            capture_output=True, text=True, check=True, timeout=1200, env={**os.environ, "PYTHONPATH": path, **cache},
        ).stdout.splitlines()  # fmt: skip
    assert len(found["plain"]) > 100 and found["promised"] == found["plain"]


def test_an_activation_or_a_type_without_a_kernel_is_an_error_when_it_is_compiled():
    with pytest.raises(ArgumentError, match="activation = 3: has no code in a kernel"):
        kernels.get("segments.forward", torch.float32, 3)
    with pytest.raises(ArgumentError, match=r"dtype = torch\.int32: has no kernel"):
        kernels.get("segments.forward", torch.int32)
