"""Names under which records and tables show the implementations that others are compared with. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path

BASELINE = "torch.nn"
AGAIN = "torch.nn again"
COPY = "copy"
AUTO = "auto"
ACCELERATED = "triton"
"""The kernels for accelerators, which stand for ours where `auto` took no part."""
BOUND = "sum and product"
PREALLOCATED = ", preallocated"

_FIRST = ("torch.compile", "torch.compile of torch.nn", "flax", "onnxruntime", "liger", "quack", "apex")
"""Rivals in the order of tables; others follow."""

ASV_LATENCY = {"forward": "latency.Latency.track_forward", "step": "latency.Latency.track_training_step"}
"""asv's benchmarks of a call's seconds, by mode."""

_BACKENDS = Path(__file__).resolve().parent.parent / "backends"


def is_ours(label: str) -> bool:
    """Return whether a label is a backend's function or module; backends are found by their files."""
    backend = label.removesuffix(PREALLOCATED).split()[0]
    return backend == AUTO or (_BACKENDS / f"{backend}.py").is_file() or (_BACKENDS / backend).is_dir()


def rivals(labels: Iterable[str]) -> list[str]:
    """Return those labels that are neither ours nor torch.nn nor a copy, in the order of tables."""
    known = {BASELINE, AGAIN, COPY, BOUND}
    found = [label for label in labels if label.removesuffix(PREALLOCATED) not in known and not is_ours(label)]
    return sorted(found, key=lambda label: _FIRST.index(label) if label in _FIRST else len(_FIRST))
