"""What decides what a bench measures, and how: records of other timing code do not stand in one table."""

from functools import cache
from pathlib import Path

from ..records import source_code

_METHOD = (
    "../machine/allocator.py",
    "../measure/clock.py",
    "../measure/implementations",
    "../measure/operands.py",
    "../measure/process.py",
    "../measure/task.py",
    "../measure/workload.py",
)
_ON_CPU = (
    "worker.py",
    "../measure/accuracy.py",
    "../measure/exact.py",
    "../measure/memory.py",
    "../measure/schedule.py",
    "../oracle.py",
)
_ON_ACCELERATOR = (
    "device_worker.py",
    "../measure/device_accuracy.py",
    "../measure/device_clock.py",
    "../measure/device_schedule.py",
)
"""Files that decide what is timed, and how."""


@cache
def method(device: str) -> str:
    """Return the digest of what decides what a bench measures on a device, and how."""
    names = (*_METHOD, *(_ON_CPU if device == "cpu" else _ON_ACCELERATOR))
    paths = [Path(__file__).parent / name for name in names]
    return source_code.digest(
        file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])
    )
