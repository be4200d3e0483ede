"""The number of a kernel's programs that a multiprocessor holds at a time, as compiled and as a launch expects it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The resources of one multiprocessor of a compute capability.

    Source: NVIDIA, CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

    Attributes:
        multiprocessors: of the device that is usually meant (A100, H100 SXM, B200).
        warps, programs: that are resident at most.
        shared_bytes: for all programs.
        registers: 32 bits wide each.
        schedulers: each has its share of the registers and of the warps.
        register_unit: registers that a warp gets are a multiple of this.
        reserved_bytes: shared memory of each program that the system takes.
    """

    multiprocessors: int
    warps: int = 64
    programs: int = 32
    shared_bytes: int = 228 * 1024
    registers: int = 65536
    schedulers: int = 4
    register_unit: int = 256
    reserved_bytes: int = 1024


LIMITS = {80: Limits(108, shared_bytes=164 * 1024), 90: Limits(132), 100: Limits(148)}
"""Limits by compute capability, 80 for sm_80."""


def programs(limits: Limits, *, warps: int, registers: int, shared_bytes: int) -> int:
    """Return how many programs fit at a time, 0 where not one does.

    Args:
        warps: of a program.
        registers: of a thread.
        shared_bytes: of a program.
    """
    of_warp = -(-registers * 32 // limits.register_unit) * limits.register_unit
    by_registers = limits.registers // limits.schedulers // of_warp * limits.schedulers
    by_memory = limits.shared_bytes // (shared_bytes + limits.reserved_bytes)
    return min(limits.programs, min(limits.warps, by_registers) // warps, by_memory)


def expected(limits: Limits, *, grid: tuple[int, ...], units: int, warps: int, most_registers: int) -> int:
    """Return how many programs of a launch shall fit at a time.

    A launch whose programs take several units each has as many of them as run at a time; a limit of registers below
    the most that a thread can have lets so many programs fit.

    Args:
        grid: of the launch.
        units: blocks of statistics that its programs take; 0 where each takes one.
        warps: of a program.
        most_registers: of a thread, as the compiler was told.
    """
    by_grid = -(-math.prod(grid) // limits.multiprocessors) if units > grid[0] else 1
    by_registers = limits.registers // (32 * warps * most_registers) if most_registers < 255 else 1
    return max(by_grid, by_registers)
