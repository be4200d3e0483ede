"""Queueing a kernel, and queueing it again without looking at each of its arguments."""

from collections.abc import Callable

import torch
import triton

Queue = Callable[..., None]
"""Queues a kernel that was queued before, from its tensors and numbers by place."""


def run(kernel: triton.JITFunction, grid: tuple[int, int], *arguments, **named) -> Queue | None:
    """Queue a kernel on the current stream of the current device, and return what queues it again.

    Finding the compiled kernel again takes Triton tens of microseconds, since it looks at each argument. What is
    returned looks at none: it is for arguments of the same kinds (`kind`).
    """
    compiled = kernel[grid](*arguments, **named)
    if compiled is None:  # under the interpreter
        return None
    rest = tuple(named[name] for name in kernel.arg_names[len(arguments) :])
    queue = compiled[(*grid, 1)]
    return lambda *given: queue(*given, *rest)


def kind(argument: object) -> object:
    """Return the part of an argument that a compiled kernel depends on."""
    if type(argument) is float:
        return float
    if not isinstance(argument, torch.Tensor):
        return argument
    return argument.dtype if argument.data_ptr() % 16 == 0 else (argument.dtype,)
