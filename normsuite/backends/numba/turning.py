"""A kernel that turns a weight for each number from its own order, channel by channel, into that of a channels_last
tensor, place by place, and a gradient back."""

from numba import carray, njit

from .arguments import NEXT, arguments, take
from .elements import get, put, wides

TILE = 32
"""Rows and columns that are turned at a time: a line of what is read stays in the cache until all of it was used."""

_plain = njit(error_model="numpy", forceinline=True)


@_plain
def _turn_columns(source, target, rows, columns, left, right):
    for top in range(0, rows, TILE):
        for column in range(left, right):
            for row in range(top, min(top + TILE, rows)):
                put(target, column * rows + row, get(source, row * columns + column))


def turn(code, streamed):
    """`weight` and, if there is one, `bias`: matrices of `row_inner` × `length` numbers, written to `dweight` and
    `dbias` with rows and columns exchanged. Each task has `TILE` columns."""

    def turning_turn(data):
        a = carray(arguments(data), 1)[0]
        rows, columns = a.row_inner, a.length
        while True:
            task = take(data, NEXT, 1)
            if task >= a.tasks:
                break
            left, right = task * TILE, min((task + 1) * TILE, columns)
            _turn_columns(wides(a.weight, data), wides(a.dweight, data), rows, columns, left, right)
            if a.bias:
                _turn_columns(wides(a.bias, data), wides(a.dbias, data), rows, columns, left, right)

    return turning_turn
