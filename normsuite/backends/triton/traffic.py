"""Bytes that a call's kernels read and write, by the plan, against the least that any kernel has to.

The tensor is what counts: each kernel reads and writes it a known number of times. What is read again is asked of the
cache that it was read into; whether it still lies there only a device shows.
"""

from dataclasses import dataclass

import torch
from triton import JITFunction

from . import merging, resident, spanning

Launched = tuple[JITFunction, tuple[int, ...], dict, dict]
"""Kernel, grid, arguments by name, options, as `ahead.Recorder` keeps them."""


@dataclass(frozen=True)
class Traffic:
    """The bytes that the kernels of one call move.

    Attributes:
        read_bytes, written_bytes: of tensors, as often as they are read or written.
        partial_bytes: of partial results, written and read.
        least_bytes: of tensors, each read or written once.
    """

    read_bytes: int
    written_bytes: int
    partial_bytes: int
    least_bytes: int

    @property
    def ratio(self) -> float:
        """All that is moved over the least."""
        return (self.read_bytes + self.written_bytes + self.partial_bytes) / self.least_bytes


def passes(kernel: JITFunction, given: dict) -> tuple[int, int]:
    """Return how often a kernel reads, and how often it writes, a whole tensor."""
    if kernel is resident.forward_resident:
        return 1, 1
    if kernel is resident.backward_resident:  # a program reads what it does not write, too
        return 2 * (given["TILES"] // given["OWN"]), given["dx"] is not None
    if kernel is spanning.forward:
        return 2 if given["SOURCE"] == "program" else 1, 1
    if kernel is spanning.partial_statistics:
        return 1, 0
    if kernel is spanning.partial_sums:
        return 2, 0
    if kernel is spanning.backward:
        return 4 if given["SOURCE"] == "program" else 2, given["dx"] is not None
    return 0, 0


def of(launches: list[Launched], size: int, least: int) -> Traffic:
    """Return the traffic of launches over tensors of `size` bytes, of which at least so many are read or written."""
    read = written = partial = 0
    for kernel, _, given, _ in launches:
        reads, writes = passes(kernel, given)
        read, written = read + reads * size, written + writes * size
        if kernel not in (merging.finalize, merging.add_up) and isinstance(given.get("partial"), torch.Tensor):
            partial += 2 * given["partial"].nbytes
    return Traffic(read, written, partial, least * size)
