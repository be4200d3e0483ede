"""Non-temporal stores: a large result is neither fetched before it is overwritten, nor evicts what will be read again.

Numbers are computed into a buffer that stays in the first-level cache, and copied from there a line at a time.
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .sizes import SIZES

LINE = 64
"""Bytes in a line of the cache."""

BUFFER = SIZES.buffer
"""Numbers of a row in a buffer."""

BUFFERS = SIZES.buffers
"""Rows that a buffer has room for, one after the other."""


@intrinsic
def buffer(typing, like):
    """Return room on the stack for `BUFFERS · BUFFER` elements of the type that the pointer points to."""

    def generate(context, builder, signature, arguments):
        with builder.goto_entry_block():  # Numba's own helper would fill it with zeros in every call
            place = builder.alloca(ir.ArrayType(context.get_value_type(like.dtype), BUFFERS * BUFFER))
        place.align = LINE
        return builder.bitcast(place, context.get_value_type(like))

    return like(like), generate


@intrinsic
def _copy(typing, target, source, count):
    """Copy elements, the target's whole cache lines by non-temporal stores.

    Those before its first line and after its last whole one are stored one by one.
    """
    size = target.dtype.bitwidth // 8

    def generate(context, builder, signature, arguments):
        target, source, count = arguments
        i32, i64 = ir.IntType(32), ir.IntType(64)
        lines = ir.PointerType(ir.VectorType(ir.IntType(8), LINE))

        def number(value):
            return ir.Constant(i64, value)

        def one_by_one(begin, end):
            with cgutils.for_range_slice(builder, begin, end, number(1)) as (i, _):
                builder.store(builder.load(builder.gep(source, [i])), builder.gep(target, [i]))

        ahead = builder.and_(builder.neg(builder.ptrtoint(target, i64)), number(LINE - 1))
        ahead = builder.udiv(ahead, number(size))
        ahead = builder.select(builder.icmp_signed("<", ahead, count), ahead, count)
        whole = builder.udiv(builder.mul(builder.sub(count, ahead), number(size)), number(LINE))
        one_by_one(number(0), ahead)
        to, found = (builder.bitcast(builder.gep(pointer, [ahead]), lines) for pointer in (target, source))
        past = builder.module.add_metadata([ir.Constant(i32, 1)])
        with cgutils.for_range(builder, whole) as loop:
            line = builder.load(builder.gep(found, [loop.index]))
            line.align = size
            written = builder.store(line, builder.gep(to, [loop.index]))
            written.align = LINE
            written.set_metadata("nontemporal", past)
        one_by_one(builder.add(ahead, builder.mul(whole, number(LINE // size))), count)
        return context.get_dummy_value()

    return types.void(target, source, types.int64), generate


@njit(error_model="numpy")
def stream(target, source, count):
    """Copy elements by non-temporal stores, but for those that share a cache line with others."""
    _copy(target, source, count)


@intrinsic
def arrived(typing, like):
    """Wait until other threads can read what was written by non-temporal stores.

    They are not ordered as other stores are.
    """

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(like), generate
