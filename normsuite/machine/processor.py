"""The processor that this process runs on, told apart as far as times of kernels depend on it, and its cores.

Imports no torch before it is asked.
"""

import os
import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple

_CPUINFO = Path("/proc/cpuinfo")


class Processor(NamedTuple):
    """A processor's model.

    Attributes:
        name: for people, such as "AMD EPYC (family 25, model 17), AVX512".
        key: for comparison, such as "AuthenticAMD 25-17 AVX512". A virtual machine often gives many models one name;
            vendor, family and model tell them apart. The vector instructions are those that torch takes
            (`ATEN_CPU_CAPABILITY` lowers them).
    """

    name: str
    key: str


@cache
def this() -> Processor:
    """Return the processor of this machine."""
    import torch

    return describe(_first_block(), torch.backends.cpu.get_cpu_capability())


def describe(facts: dict[str, str], instructions: str) -> Processor:
    """Return the processor that a block of /proc/cpuinfo describes.

    Args:
        facts: the block's names and values; empty where the system has no such file.
        instructions: the vector instructions that torch takes.
    """
    if "cpu family" in facts:  # x86
        family, model = facts["cpu family"], facts.get("model", "?")
        name = f"{facts.get('model name', 'x86')} (family {family}, model {model})"
        key = f"{facts.get('vendor_id', '?')} {family}-{model}"
    elif "CPU part" in facts:  # ARM
        key = f"ARM {facts.get('CPU implementer', '?')}-{facts['CPU part']}"
        name = key
    else:
        name = key = platform.processor() or platform.machine()
    return Processor(f"{name}, {instructions}", f"{key} {instructions}")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_block() -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first core."""
    facts: dict[str, str] = {}
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                facts[name.strip()] = value.strip()
    except OSError:
        return {}
    return facts
