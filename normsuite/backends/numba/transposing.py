"""A kernel that transposes a weight for each number to the order of a channels_last tensor, and a gradient back.

Its own order is channel by channel, that of the tensor place by place.
"""

from numba import carray

from .arguments import arguments
from .decorators import inlined
from .elements import get, put, wides
from .sizes import SIZES
from .tasks import loop, nothing

TILE = SIZES.tile


@inlined
def _transpose_columns(source, target, rows, columns, left, right):
    for top in range(0, rows, TILE):
        for column in range(left, right):
            for row in range(top, min(top + TILE, rows)):
                put(target, column * rows + row, get(source, row * columns + column))


@inlined
def _do(a, data, here, task, last, code, streamed):
    rows, columns = a.row_inner, a.length
    left, right = task * TILE, min((task + 1) * TILE, columns)
    _transpose_columns(wides(a.weight, data), wides(a.dweight, data), rows, columns, left, right)
    if a.bias:
        _transpose_columns(wides(a.bias, data), wides(a.dbias, data), rows, columns, left, right)


@inlined
def _end(a, data, last):
    pass


_tasks = loop(nothing, _do, _end, grained=False)


def transpose(code, streamed):
    """Return the kernel that transposes `weight` and, if there is one, `bias` to `dweight` and `dbias`.

    They are matrices of `row_inner` × `length` numbers. Each task has `TILE` columns.
    """

    def transposing_transpose(data):
        _tasks(carray(arguments(data), 1)[0], data, code, streamed)

    return transposing_transpose
