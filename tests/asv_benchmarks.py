"""asv's benchmarks, which lie beside the package, not in it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import environment, latency, mnist, numerics, parameters  # noqa: E402
from benchmarks import memory as memory_benchmarks  # noqa: E402
from benchmarks.step import ModuleStep, Step  # noqa: E402

__all__ = [
    "ROOT",
    "ModuleStep",
    "Step",
    "environment",
    "latency",
    "memory_benchmarks",
    "mnist",
    "numerics",
    "parameters",
    "samples",
]


def samples(result):
    """Return the samples of a result of one call each."""
    assert result["number"] == 1
    return result["samples"]
