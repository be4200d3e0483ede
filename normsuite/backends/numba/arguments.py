"""The arguments of a kernel: one C structure, named alike in Python and in the kernels."""

import ctypes

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic


class Arguments(ctypes.Structure):
    """Addresses, sizes and settings of one run. Strides count elements; an address of 0 stands for an absent tensor.

    A statistic is one mean and one rstd. Its numbers lie in rows: `outer × inner` statistics, each of
    `row_outer × row_inner` rows of `length` numbers side by side.

    Fields:
        next, threads, done: how many tasks have been taken, how many threads have come, how many tasks are finished;
            first, since `take` counts them up.
        tasks, grain: how many tasks there are, and how many a thread takes at a time.
        batch: how many of a grain's tasks are read before any of them is written, in kernels that take grains.
        phase: which step of the kernel runs.
        workers: on how many threads.
        x, dy, y: tensors of the input's type; y is dx in a backward kernel.
        weight, bias: of the wide type.
        statistics: (4, number of statistics) of the wide type: the rounded mean m, its correction δ, rstd, variance.
        running_mean, running_var: of the wide type, one a statistic; read in evaluation, moved in training.
        scratch: float64, partial results of the parts of a statistic, which the last task merges.
        areas: working memory, a piece for each thread.
        sums: what the tasks add to the gradients of weight and bias, before it is folded.
        dweight, dbias: of the wide type.
        parts: how many tasks share a statistic.
        stride_*, channel_*: how far the next of them lies, and how many channels further it is.
        row, rows: which of the rows a step is for, where it is not for all of them.
        frozen: statistics are the running ones, and constants to the gradient.
    """

    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("next", "threads", "done", "tasks", "grain", "batch")],
        *[(name, ctypes.c_int64) for name in ("phase", "workers")],
        *[(name, ctypes.c_int64) for name in ("x", "dy", "y", "weight", "bias", "statistics")],
        *[(name, ctypes.c_int64) for name in ("running_mean", "running_var", "scratch", "areas", "sums")],
        *[(name, ctypes.c_int64) for name in ("dweight", "dbias", "outer", "inner", "row_outer", "row_inner")],
        *[(name, ctypes.c_int64) for name in ("length", "parts", "stride_outer", "stride_inner")],
        *[(name, ctypes.c_int64) for name in ("stride_row_outer", "stride_row_inner")],
        *[(name, ctypes.c_int64) for name in ("channel_outer", "channel_inner", "channel_row_outer")],
        *[(name, ctypes.c_int64) for name in ("channel_row_inner", "channels", "centred", "frozen", "row", "rows")],
        *[(name, ctypes.c_double) for name in ("eps", "momentum")],
    ]


_RECORD = from_dtype(
    np.dtype([(name, "i8" if kind is ctypes.c_int64 else "f8") for name, kind in Arguments._fields_], align=True)
)


@intrinsic
def arguments(typing, data):
    """Return the structure behind a kernel's pointer, which is typed after the elements that it is compiled for."""
    pointer = types.CPointer(_RECORD)

    def generate(context, builder, signature, given):
        return builder.bitcast(given[0], context.get_value_type(pointer))

    return pointer(data), generate


NEXT, THREADS, DONE = range(3)
"""Places of the counters."""


@intrinsic
def take(typing, data, counter, count):
    """Add to one of the counters and return what it was before; no two threads get the same."""

    def generate(context, builder, signature, given):
        counters = builder.bitcast(given[0], ir.PointerType(ir.IntType(64)))
        return builder.atomic_rmw("add", builder.gep(counters, [given[1]]), given[2], "acq_rel")

    return types.int64(data, types.int64, types.int64), generate
