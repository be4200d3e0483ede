"""Sizes that the kernels were tuned with, in one place.

They were tuned by hand on an AMD EPYC (family 25, model 17, two threads, float32), and are not measured by `tune`. On
an Intel Xeon (family 6, model 207) three times `batch`, a quarter of it, and a quarter of `cached_batch` take 0.98 to
1.04 of the time of GroupNorm and InstanceNorm, means over four sizes. Only the order in which sums are taken depends on
them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes in elements where nothing else is said.

    Attributes:
        segment_block: of a block of rows along memory, which a first-level cache holds while it is read twice; of a
            piece of a row where four rows that lie apart are read at once.
        column_block: of a block of rows across memory, likewise.
        block_rows: rows in that block at least; what is done once for each block and column takes as long as a few
            rows.
        samples: numbers along memory, or rows across it, that a mean is guessed from.
        sampled: numbers along memory that these are spread over, in tensors of more than `spread` bytes. Spread over a
            longer row they are read ahead of it in an order that misleads the processor's own reading ahead: forward
            passes took up to 1.2 times as long.
        spread: bytes of a tensor up to which the guess is from all over a block. It is near more often, and costs
            nothing where second-level caches hold the tensor.
        fours: numbers of a row from which on the backward pass reads four rows of a statistic at once; shorter rows of
            large tensors took up to 1.1 times as long. (The forward pass, which reads one tensor, does so always.)
        segment_ahead: how many of the next row are asked for early, the processor guesses the rest.
        column_ahead: how far ahead of the sums is asked for where rows are read by fours.
        narrow: columns of a row up to which several rows are read at a time; longer rows are read faster one behind the
            other (from 128 channels on in 0.55 to 0.75 of the time).
        width: columns of a row where so many fit; they fill some vector registers.
        square: most columns of a row over the square root of a statistic's numbers; of fewer numbers, what is done once
            for each column takes longer than what is done for each row.
        buffer, buffers: numbers of a row in the buffer of non-temporal stores, and rows in it.
        tile: rows and columns of a matrix that are transposed at a time; a line that is read stays in the cache until
            all of it was used.
        part: numbers that a task has, about, where tasks share a statistic or a sum.
        most_parts: tasks that share a statistic at most.
        part_rows: rows across memory that a task has at least where tasks share a statistic; what it does once takes
            as long as a few rows.
        few_statistics: fewer than these are shared by several tasks, which reads the tensor once more.
        long_row: numbers of a row with a weight for each from which on four rows are written at once, forward: the
            weights are read once for all four, in 0.7 to 0.9 of the time; not with non-temporal stores (1.05 to 1.1).
        row_in_cache: numbers of a row that stay in a last-level cache between the sums and the writing.
        rows_in_cache: the same in the backward pass, in a second-level cache, where gradients and sums stay too.
        columns: columns in a task at most; their weights and the sums of their gradients stay in a second-level cache,
            and what is read of a row is long enough for the processor to read ahead.
        rows_together: numbers of short rows, read twice by the backward pass, that a second-level cache holds with
            their gradients.
        together: the same of long rows, for a last-level cache.
        alone: numbers that one thread finishes before a second one could start.
        batch: bytes of results whose statistics are computed before they are written. A processor holds back about as
            many and writes them while it reads the next; more would wait for memory: with 64 KiB, backward passes, and
            forward passes of large tensors, took up to 1.6 times as long.
        cached_batch: the same in forward passes whose results stay in a last-level cache; the roots and
            divisions of more statistics overlap (three of 784 numbers in float32).
        cached: bytes up to which a result stays in a last-level cache.
        shortest_run: bytes side by side from which on non-temporal stores are worth it; at both ends are lines that
            it cannot be done for.
        huge: bytes from which on a result asks for large pages, as NumPy's do.
    """

    segment_block: int = 4096
    column_block: int = 8192
    block_rows: int = 32
    samples: int = 8
    sampled: int = 256
    spread: int = 2**21
    fours: int = 512
    segment_ahead: int = 256
    column_ahead: int = 2048
    narrow: int = 64
    width: int = 64
    square: float = 0.75
    buffer: int = 1024
    buffers: int = 4
    tile: int = 32
    part: int = 32768
    most_parts: int = 64
    part_rows: int = 64
    few_statistics: int = 8
    long_row: int = 2400
    row_in_cache: int = 2**20
    rows_in_cache: int = 8192
    columns: int = 8192
    rows_together: int = 32768
    together: int = 2**20
    alone: int = 16384
    batch: int = 4096
    cached_batch: int = 9600
    cached: int = 2**23
    shortest_run: int = 2048
    huge: int = 4 * 2**20


SIZES = Sizes()
