"""Bytes that a call's kernels read and write, by the plan, against the least that any kernel has to.

Tensors count, and partial results: each kernel reads and writes them a known number of times. A test counts the loads
and stores of the kernels under Triton's interpreter: they are the same to the byte. What is read again is asked of the
cache that it was read into; whether it still lies there only a device shows.
"""

from dataclasses import dataclass

import torch
from triton import JITFunction, cdiv

from normsuite.backends.triton import merging, resident, spanning

Launched = tuple[JITFunction, tuple[int, ...], dict, dict]
"""Kernel, grid, arguments by name, options, as `kernel_compiler.Recorder` keeps them."""


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


def pivot_elements(kernel: JITFunction, grid: tuple[int, ...], given: dict) -> int:
    """Return how many elements a kernel reads twice: the first tile of every part, for a pivot."""
    is_asked = kernel is spanning.partial_statistics or (kernel is spanning.forward and given["SOURCE"] == "program")
    if not is_asked or not given["CENTRED"]:
        return 0
    rows, cols, height, width = (given[name] for name in ("rows", "cols", "R", "L"))
    col_tiles = cdiv(cols, width)
    of_statistic = 0
    for tile in range(0, grid[1] * given["tiles_per_part"], given["tiles_per_part"]):
        of_statistic += min(height, rows - tile // col_tiles * height) * min(width, cols - tile % col_tiles * width)
    return given["number"] * given["PIECES"] * of_statistic


def of(launches: list[Launched], size: int, least: int) -> Traffic:
    """Return the traffic of launches over tensors of `size` bytes, of which at least so many are read or written."""
    read = written = partial = 0
    for kernel, grid, given, _ in launches:
        reads, writes = passes(kernel, given)
        read, written = read + reads * size, written + writes * size
        if pivots := pivot_elements(kernel, grid, given):
            read += pivots * given["x"].element_size()
        if isinstance(given.get("partial"), torch.Tensor):  # written by one kernel, read by the next
            partial += given["partial"].nbytes
        if kernel is merging.finalize:  # a mean of each statistic is its pivot
            partial += given["number"] * given["partial"].element_size()
    return Traffic(read, written, partial, least * size)
