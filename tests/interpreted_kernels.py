"""A kernel around functions of the Triton kernels, for processes that `interpreted.begin` has set up."""

import triton
import triton.language as tl

from normsuite.backends.triton.tiling import along, elements_of, statistic_of


@triton.jit
def far_out(found, block, rows, SIZE: tl.constexpr):
    """Store the indices of a block, how many elements its tile has, and the places of statistics as far out."""
    i = tl.arange(0, SIZE)
    tl.store(found + i, along(block, SIZE, True))
    tl.store(found + SIZE, elements_of(0, block, 1, rows, True, 1, SIZE))
    tl.store(found + SIZE + 1 + i, statistic_of(block, 0, SIZE, SIZE, i, 1, True))
