"""The rows of a task, and the working memory of a thread."""

from ..decorators import inlined
from ..elements import store, wide
from ..sizes import SIZES
from ..tasks import number

BLOCK = SIZES.column_block
NARROW = SIZES.narrow
LEAST_ROWS = SIZES.block_rows

AREAS = 10
"""Arrays as wide as the columns that a thread works with, of float64 or narrower."""


@inlined
def clear_sums(sums, start, count):
    """Set `count` sums to zero, from element `start` on."""
    for i in range(count):
        store(sums, start + i, wide(0, sums))


@inlined
def rows_of(a, task):
    """Return a task's range of outer indices and its range of rows: all rows of some, or a part of the rows of one."""
    if a.parts > 1:
        outer, part = divmod(task, a.parts)
        return outer, outer + 1, a.row_inner * part // a.parts, a.row_inner * (part + 1) // a.parts
    return a.outer * task // a.tasks, a.outer * (task + 1) // a.tasks, 0, a.row_inner


@inlined
def area_of_thread(a, data):
    """Return the address of this thread's working memory."""
    return a.areas + number(a) * AREAS * 8 * a.length
