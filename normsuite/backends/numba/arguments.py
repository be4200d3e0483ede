"""The arguments of a kernel: one C structure, named alike in Python and in the kernels."""

import ctypes

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic

SHARES = 64
"""Shares that the tasks of a run are divided into at most."""


class Arguments(ctypes.Structure):
    """Addresses, sizes and settings of one run. Strides count elements; an address of 0 stands for an absent tensor.

    A statistic is one mean and one rstd. Its numbers lie in rows: `outer × inner` statistics, each of
    `row_outer × row_inner` rows of `length` numbers side by side.

    Fields:
        done: how many tasks are finished.
        turns: how often threads asked for tasks of each share. `take` counts up these and `done`, the first fields.
        tasks, grain: how many tasks there are, and how many a thread takes at a time.
        batch: how many of a grain's tasks are read before any of them is written, in kernels that take grains.
        sampled: numbers along memory that a mean is guessed from at most.
        phase: which step of the kernel runs.
        workers: on how many threads.
        number: address of the function that returns a thread's number, where there are several.
        x, dy, y: tensors of the input's type; y is dx in a backward kernel.
        weight, bias: of the wide type.
        statistics: (4, number of statistics) of the wide type: the rounded mean m, its correction δ, rstd, variance.
        running_mean, running_var: of the wide type, one a statistic; read in evaluation, moved in training.
        scratch: float64, partial results of the parts of a statistic, which the last task merges.
        areas: working memory, a piece for each thread.
        sums: what the tasks add to the gradients of weight and bias, before it is folded.
        dweight, dbias: of the wide type.
        parts: how many tasks share a statistic.
        stride_*, channel_*: the step to the next index of that name, in elements and in channels.
        row, rows: which of the rows a step is for, where it is not for all of them.
        frozen: statistics are the running ones, and constants to the gradient.
    """

    _fields_ = [
        ("done", ctypes.c_int64),
        ("turns", ctypes.c_int64 * SHARES),
        *[(name, ctypes.c_int64) for name in ("tasks", "grain", "batch", "sampled", "phase", "workers", "number")],
        *[(name, ctypes.c_int64) for name in ("x", "dy", "y", "weight", "bias", "statistics")],
        *[(name, ctypes.c_int64) for name in ("running_mean", "running_var", "scratch", "areas", "sums")],
        *[(name, ctypes.c_int64) for name in ("dweight", "dbias", "outer", "inner", "row_outer", "row_inner")],
        *[(name, ctypes.c_int64) for name in ("length", "parts", "stride_outer", "stride_inner")],
        *[(name, ctypes.c_int64) for name in ("stride_row_outer", "stride_row_inner")],
        *[(name, ctypes.c_int64) for name in ("channel_outer", "channel_inner", "channel_row_outer")],
        *[(name, ctypes.c_int64) for name in ("channel_row_inner", "channels", "centred", "frozen", "row", "rows")],
        *[(name, ctypes.c_double) for name in ("eps", "momentum")],
    ]


_RECORD = from_dtype(np.dtype(Arguments))


@intrinsic
def arguments(typing, data):
    """Return the structure behind a kernel's pointer, which is typed after the elements that it is compiled for."""
    pointer = types.CPointer(_RECORD)

    def generate(context, builder, signature, given):
        return builder.bitcast(given[0], context.get_value_type(pointer))

    return pointer(data), generate


DONE, TURNS = range(2)
"""Places of the counters; those of the shares are at `TURNS` and behind it."""

COUNTERS = ctypes.sizeof(ctypes.c_int64) * (TURNS + SHARES)
"""Bytes of all counters."""


@intrinsic
def take(typing, data, counter, count):
    """Add to one of the counters and return what it was before; no two threads get the same."""

    def generate(context, builder, signature, given):
        counters = builder.bitcast(given[0], ir.PointerType(ir.IntType(64)))
        return builder.atomic_rmw("add", builder.gep(counters, [given[1]]), given[2], "acq_rel")

    return types.int64(data, types.int64, types.int64), generate


@intrinsic
def counted(typing, data, counter):
    """Return one of the counters, or what it was a moment ago."""

    def generate(context, builder, signature, given):
        counters = builder.bitcast(given[0], ir.PointerType(ir.IntType(64)))
        return builder.load_atomic(builder.gep(counters, [given[1]]), "monotonic", 8)

    return types.int64(data, types.int64), generate


@intrinsic
def number_of_thread(typing, address):
    """Return what the function at that address returns, an int without arguments: omp_get_thread_num."""

    def generate(context, builder, signature, given):
        function = builder.inttoptr(given[0], ir.PointerType(ir.FunctionType(ir.IntType(32), [])))
        return builder.sext(builder.call(function, []), ir.IntType(64))

    return types.int64(types.int64), generate
