"""Places of a statistic's numbers: blocks that a cache holds, and the part of them that a task has."""

from ..decorators import inlined
from ..elements import prefetch
from ..sizes import SIZES
from ..streaming import BUFFER, BUFFERS

BLOCK = SIZES.segment_block

MOST = BUFFERS * BUFFER // 2
"""Statistics that a thread takes at a time at most: their means and sums of squares lie in a buffer."""

_AHEAD = SIZES.segment_ahead


@inlined
def ask_for(x, start, stride, length, more):
    """Prefetch the beginning of the next row, if there is one and it is not adjacent.

    The processor prefetches the rest.
    """
    if more and stride != length:
        for i in range(0, min(length, _AHEAD), 16):
            prefetch(x, start + stride + i)


@inlined
def block_shape(a):
    """Return the rows of a block, the numbers of a row in it, the blocks along the rows, and the blocks along a row."""
    pieces = (a.length + BLOCK - 1) // BLOCK
    piece = (a.length + pieces - 1) // pieces
    # Rows that lie apart are read four at a time, rows side by side as one, which is to be no longer than a block.
    # Tasks that share a statistic have a block each, at least.
    least = 1 if a.stride_row_inner == a.length or a.parts > 1 else 4
    rows = min(a.row_inner, max(least, BLOCK // piece))
    return rows, piece, (a.row_inner + rows - 1) // rows, (a.length + piece - 1) // piece


@inlined
def block_at(a, shape, index):
    """Return a block's offset, first channel, number of rows, place in the row, and numbers of a row."""
    rows, piece, along_rows, along_row = shape
    outer, block, place = index, 0, 0
    if along_rows * along_row > 1:
        outer, rest = divmod(index, along_rows * along_row)
        block, place = divmod(rest, along_row)
    first, column = block * rows, place * piece
    return (
        outer * a.stride_row_outer + first * a.stride_row_inner + column,
        outer * a.channel_row_outer + first * a.channel_row_inner,
        min(rows, a.row_inner - first),
        column,
        min(piece, a.length - column),
    )


@inlined
def are_short_rows(a):
    """Return whether each statistic is one row and one block.

    The block is then not looked up: that would take longer than summing few elements.
    """
    return a.row_outer * a.row_inner == 1 and a.length <= BLOCK and a.parts == 1


@inlined
def part_of(a, task):
    """Return the statistic of a task, and which part of it."""
    if a.parts == 1:
        return task, 0
    return divmod(task, a.parts)


@inlined
def blocks_of(a, part, blocks):
    """Return the first block of a part of a statistic, and the one behind its last."""
    if a.parts == 1:  # the divisions would show where statistics are small
        return 0, blocks
    return blocks * part // a.parts, blocks * (part + 1) // a.parts


@inlined
def statistic_at(a, statistic):
    """Return the offset of a statistic's first row, its first channel, and its place among the outer ones."""
    outer, inner = divmod(statistic, a.inner)
    return (
        outer * a.stride_outer + inner * a.stride_inner,
        outer * a.channel_outer + inner * a.channel_inner,
        outer,
    )


@inlined
def blocks_of_all(a, data):
    """Return what all tasks share: a block's shape, how many blocks a statistic has, and whether rows are short."""
    shape = block_shape(a)
    return shape, a.row_outer * shape[2] * shape[3], are_short_rows(a)
