"""Kernels for a norm whose means run along memory: (N, C, *S) as it lies, and trailing dimensions.

The rows of a statistic are cut into blocks that a first-level cache holds, or a second-level one where four rows that
lie apart are read at once. In each block the deviations from a guess of the mean are summed, and their squares, and
corrected by how far the guess was off; a guess that was far off is replaced and the cached block read again. So memory
is read once for the statistics, and they are as exact as in two passes.
"""

from .backward import backward
from .blocks import MOST
from .forward import forward, forward_elements
from .per_element import backward_elements

__all__ = ["MOST", "backward", "backward_elements", "forward", "forward_elements"]
