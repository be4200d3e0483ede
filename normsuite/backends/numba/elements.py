"""Elements of a tensor inside a kernel: read into float32 or wider, rounded once where they are written.

Numba knows neither bfloat16 nor float16 in memory. A pointer's type says what lies there: float32 and float64 are
themselves, uint16 stands for bfloat16 and int16 for float16.
"""

import math

import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

STORED = {
    torch.float32: types.float32,
    torch.float64: types.float64,
    torch.bfloat16: types.uint16,
    torch.float16: types.int16,
}
"""What a pointer to elements of each of torch's types points to."""

_BFLOAT16, _FLOAT16 = types.uint16, types.int16


def wide_of(stored: types.Type) -> types.Type:
    """Return the type that such elements are computed in."""
    return types.float64 if stored == types.float64 else types.float32


@intrinsic
def elements(typing, address, like):
    """Return the address as a pointer to elements of the type that `like` points to."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(like))

    return like(types.int64, like), generate


@intrinsic
def wides(typing, address, like):
    """Return the address as a pointer to the type that elements of `like` are computed in."""
    pointer = types.CPointer(wide_of(like.dtype))

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, like), generate


@intrinsic
def doubles(typing, address):
    """Return the address as a pointer to float64."""
    pointer = types.CPointer(types.float64)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64), generate


@intrinsic
def wide(typing, value, like):
    """Return a number as a float of the type of `like`.

    Where `like` is a pointer, it is the type that its elements are computed in.
    """
    target = wide_of(like.dtype) if isinstance(like, types.CPointer) else like

    def generate(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], value, target)

    return target(value, like), generate


# A loop over a tensor reads with `get` and writes with `put` or `add`, which promise the compiler that what is read is
# not what is written: without that promise it checks all addresses in front of every row. (A tensor normalised in place
# keeps it well enough: each number is read before it is written, and not again.) Everything else, `load` and `store`.


_WRITTEN = ("output", "second output", "third output", "fourth output", "sum", "other sum")
"""What a loop may write, each in a place of its own."""


def _promise(builder, instruction, mine: str | None) -> None:
    module = builder.module
    domain = module.add_metadata(["normsuite"])
    scope = {name: module.add_metadata([f"normsuite {name}", domain]) for name in _WRITTEN}
    if mine:
        instruction.set_metadata("alias.scope", module.add_metadata([scope[mine]]))
    instruction.set_metadata("noalias", module.add_metadata([scope[name] for name in _WRITTEN if name != mine]))


def _widened(builder, found, stored):
    if stored == _BFLOAT16:  # the upper half of a float32
        bits = builder.shl(builder.zext(found, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(bits, ir.FloatType())
    if stored == _FLOAT16:
        return builder.fpext(builder.bitcast(found, ir.HalfType()), ir.FloatType())
    return found


def _narrowed(builder, given, stored):
    if stored == _BFLOAT16:
        return _to_bfloat16(builder, given)
    if stored == _FLOAT16:
        return builder.bitcast(builder.fptrunc(given, ir.HalfType()), ir.IntType(16))
    return given


@intrinsic
def load(typing, pointer, index):
    """Return one element, widened."""

    def generate(context, builder, signature, arguments):
        return _widened(builder, builder.load(builder.gep(arguments[0], [arguments[1]])), pointer.dtype)

    return wide_of(pointer.dtype)(pointer, types.int64), generate


@intrinsic
def get(typing, pointer, index):
    """Return one element of an input, widened."""

    def generate(context, builder, signature, arguments):
        found = builder.load(builder.gep(arguments[0], [arguments[1]]))
        _promise(builder, found, None)
        return _widened(builder, found, pointer.dtype)

    return wide_of(pointer.dtype)(pointer, types.int64), generate


@intrinsic
def store(typing, pointer, index, value):
    """Write one element, rounded to nearest, ties to even."""

    def generate(context, builder, signature, arguments):
        base, at, given = arguments
        builder.store(_narrowed(builder, given, pointer.dtype), builder.gep(base, [at]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, wide_of(pointer.dtype)), generate


def _putter(mine: str):
    def put(typing, pointer, index, value):
        def generate(context, builder, signature, arguments):
            base, at, given = arguments
            written = builder.store(_narrowed(builder, given, pointer.dtype), builder.gep(base, [at]))
            _promise(builder, written, mine)
            return context.get_dummy_value()

        return types.void(pointer, types.int64, wide_of(pointer.dtype)), generate

    return intrinsic(put)


put = _putter("output")
"""Write one element of an output, rounded to nearest, ties to even: (pointer, index, value)."""

put_second, put_third, put_fourth = (_putter(f"{place} output") for place in ("second", "third", "fourth"))
"""The same for other outputs in the same loop."""


@intrinsic
def behind(typing, pointer, index):
    """Return the pointer to that element."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), generate


@intrinsic
def prefetch(typing, pointer, index):
    """Prefetch the cache line of an element."""

    def generate(context, builder, signature, arguments):
        i32 = ir.IntType(32)
        place = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.PointerType(ir.IntType(8)))
        kind = ir.FunctionType(ir.VoidType(), [place.type, i32, i32, i32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [place, *(ir.Constant(i32, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), generate


def _adder(mine: str):
    def add(typing, pointer, index, value, begun):
        def generate(context, builder, signature, arguments):
            base, at, given, begun = arguments
            place = builder.gep(base, [at])
            old = builder.load(place)
            written = builder.store(builder.select(begun, builder.fadd(old, given), given), place)
            for instruction in (old, written):
                _promise(builder, instruction, mine)
            return context.get_dummy_value()

        return types.void(pointer, types.int64, pointer.dtype, types.boolean), generate

    return intrinsic(add)


add = _adder("sum")
"""Add to one of many running sums: (pointer, index, value, begun), or write it there where the sum has not begun."""

add_other = _adder("other sum")
"""The same for other sums in the same loop."""


def _to_bfloat16(builder, value):
    """Return the upper half of the float32, after adding just below half of what is cut off; a NaN stays one."""
    i32, i16 = ir.IntType(32), ir.IntType(16)
    bits = builder.bitcast(value, i32)
    upper = builder.lshr(bits, ir.Constant(i32, 16))
    rounding = builder.add(builder.and_(upper, ir.Constant(i32, 1)), ir.Constant(i32, 0x7FFF))
    rounded = builder.trunc(builder.lshr(builder.add(bits, rounding), ir.Constant(i32, 16)), i16)
    return builder.select(builder.fcmp_unordered("uno", value, value), ir.Constant(i16, 0x7FC0), rounded)


@intrinsic
def _bits(typing, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _from_bits(typing, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def exponential(x):
    """Return eˣ, infinite in float32 from its largest number on, e⁸⁸ between 88 and there; a NaN stays one."""
    raise NotImplementedError


_F = types.float32
_LARGEST = 88.72283935546875  # above it eˣ is no float32
_SHIFT = 12582912.0  # 1.5 · 2²³: adding it leaves the nearest integer in a float32's low bits


@overload(exponential)
def _exponential(x):
    if x == types.float64:
        return lambda x: math.exp(x)
    return _exponential_32


@njit
def _exponential_32_body(x):
    """Return eˣ = 2ᵏ · eʳ with x = k·ln 2 + r, within 2 units in the last place.

    The polynomial for eʳ is that of Cephes (Moshier 1992). No library is called, so that a loop over it is vectorised.
    """
    # Infinite, not only large: a quotient of two infinities is no number, and SiLU of -inf has to be none.
    beyond = x > _F(_LARGEST)
    x = _F(88.0) if x > _F(88.0) else x
    x = _F(-87.0) if x < _F(-87.0) else x
    shifted = x * _F(1.44269504088896341) + _F(_SHIFT)
    k = shifted - _F(_SHIFT)
    r = (x - k * _F(0.693359375)) - k * _F(-2.12194440e-4)
    p = _F(1.9875691500e-4)
    p = p * r + _F(1.3981999507e-3)
    p = p * r + _F(8.3334519073e-3)
    p = p * r + _F(4.1665795894e-2)
    p = p * r + _F(1.6666665459e-1)
    p = p * r + _F(5.0000001201e-1)
    y = p * (r * r) + r + _F(1.0)
    y = y * _from_bits(types.int32((_bits(shifted) - _bits(_F(_SHIFT)) + types.int32(127)) << types.int32(23)))
    return _F(math.inf) if beyond else y


def _exponential_32(x):
    return _exponential_32_body(x)
