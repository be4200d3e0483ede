"""The bytes that the Triton kernels read and write, counted by the interpreter in processes of `interpreted`."""

from dataclasses import dataclass, field, replace

import interpreted
import numpy as np
import torch
from interpreted import Case


@dataclass
class _Asked:
    """The addresses of all loads and stores while it is entered, and the bytes of each."""

    loads: list[tuple[np.ndarray, int]] = field(default_factory=list)
    stores: list[tuple[np.ndarray, int]] = field(default_factory=list)

    def __enter__(self):
        from triton.runtime.interpreter import InterpreterBuilder as Builder

        self.right = load, store = Builder.create_masked_load, Builder.create_masked_store

        def counted_load(builder, pointers, mask, *others):
            found = load(builder, pointers, mask, *others)
            self.loads.append((pointers.data[mask.data], found.data.itemsize))
            return found

        def counted_store(builder, pointers, value, mask, *others):
            self.stores.append((pointers.data[mask.data], value.data.itemsize))
            return store(builder, pointers, value, mask, *others)

        Builder.create_masked_load, Builder.create_masked_store = counted_load, counted_store
        return self

    def __exit__(self, *of_error):
        from triton.runtime.interpreter import InterpreterBuilder as Builder

        Builder.create_masked_load, Builder.create_masked_store = self.right


def _bytes_in(asked: list[tuple[np.ndarray, int]], t: torch.Tensor) -> int:
    begin, end = t.data_ptr(), t.data_ptr() + t.nbytes
    return sum(int(((at >= begin) & (at < end)).sum()) * size for at, size in asked)


def counted_and_planned(case: Case) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return (read, written, of partial results) in bytes of a step, as counted and as `kernel_traffic` has them."""
    from normsuite.backends.triton import launch, merging
    from tools import kernel_compiler, kernel_traffic

    recorder = kernel_compiler.Recorder()

    def run(kernel, grid, *arguments, **named):
        recorder(kernel, grid, *arguments, **named)
        return launch.run(kernel, grid, *arguments, **named)

    made, given = replace(interpreted.launch_of(case), run=run), interpreted.operands(case)
    x, dy, weight, bias = (given[name] for name in ("x", "dy", "weight", "bias"))
    y, dx = torch.empty_like(x), torch.empty_like(x)
    running = (given["running_mean"], given["running_var"]) if given["running_mean"] is not None else None
    statistics = torch.empty((launch.ROWS, made.statistics))
    with _Asked() as asked:
        made.forward(x, y, statistics, weight, bias, running, 0.1)
        made.backward(dy, x, statistics, weight, bias, dx, *(None if t is None else t.clone() for t in (weight, bias)))
    read = _bytes_in(asked.loads, x) + _bytes_in(asked.loads, dy)
    written = _bytes_in(asked.stores, y) + _bytes_in(asked.stores, dx)
    partials = [
        named["partial"] for kernel, _, named, _ in recorder.launches if kernel in (merging.finalize, merging.add_up)
    ]
    partial = sum(_bytes_in(asked.loads, t) + _bytes_in(asked.stores, t) for t in partials)
    planned = kernel_traffic.of(recorder.launches, x.nbytes, 5)
    return (read, written, partial), (planned.read_bytes, planned.written_bytes, planned.partial_bytes)
