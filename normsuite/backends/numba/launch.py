"""Run a plan's kernels on tensors: their addresses filled in, working memory made, the steps in order.

Working memory is torch's, so that whoever counts tensors counts it.
"""

import torch

from . import kernels, outputs, threads
from .activations import CODES
from .arguments import Arguments
from .planning import Plan, parts_for
from .settling import STATISTICS, WRITE

_COLUMNS = 8192
"""Columns in a task at most: their weights and the sums of their gradients stay in a second-level cache, and what is
read of a row is long enough for the processor to read ahead."""

_SHORTEST_RUN = 2048
"""Bytes side by side from which on it is worth to write past the caches: at both ends are lines that it cannot be done
for."""

_TOGETHER = 2**20
"""Numbers of long rows, which are read twice on the way back, that a last-level cache holds beside their gradients."""

_ALONE = 16384
"""Numbers that one thread is done with before another has come."""


def _threads(plan: Plan) -> int:
    return 1 if plan.numel <= _ALONE else min(threads.count(), plan.arguments.tasks)


def _streamed(plan: Plan, y: torch.Tensor | None, way: str, parts: int) -> bool:
    """Whether to write y past the caches, forward or backward: where one task reads the numbers of a statistic again
    and writes. Where others do, all is read from memory again, and nothing was gained."""
    if y is None or y.nbytes < outputs.STREAMED[way] or parts > 1 or plan.arguments.frozen:
        return False
    return plan.run * y.element_size() >= _SHORTEST_RUN


def _columns(plan: Plan) -> int:
    """How many tasks share the columns of long rows; each column's sum is the same with any."""
    return max(-(-plan.arguments.length // _COLUMNS), 4 * threads.count())


def _workspace(a: Arguments, scratch: int, sums: int, areas: int) -> torch.Tensor | None:
    """Room for so many float64 numbers of each kind, in one tensor."""
    if not scratch + sums + areas:
        return None
    room = torch.empty(scratch + sums + areas, dtype=torch.float64)
    a.scratch = room.data_ptr()
    a.sums = a.scratch + 8 * scratch if sums else 0
    a.areas = a.scratch + 8 * (scratch + sums)
    return room


def _arguments(
    plan: Plan,
    x: torch.Tensor,
    y: torch.Tensor | None,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> Arguments:
    """The plan's arguments with the addresses that both ways need; y is what is written."""
    a = Arguments.from_buffer_copy(plan.arguments)
    a.x, a.statistics = x.data_ptr(), statistics.data_ptr()
    if y is not None:
        a.y = y.data_ptr()
    if weight is not None:
        a.weight = weight.data_ptr()
    if bias is not None:
        a.bias = bias.data_ptr()
    return a


def forward(
    plan: Plan,
    x: torch.Tensor,
    y: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    running: tuple[torch.Tensor, torch.Tensor] | None,
    momentum: float,
    eps: float,
    activation: str | None,
) -> None:
    """Write y and the statistics, and move the running ones.

    Args:
        x, y: dense, of one layout and type.
        statistics: (4, how many there are) of the wide type.
        weight, bias: contiguous, of the wide type.
        running: means and variances of the wide type, one a statistic: read where the plan is frozen, else moved.
    """
    a = _arguments(plan, x, y, statistics, weight, bias)
    if running is not None:
        a.running_mean, a.running_var = running[0].data_ptr(), running[1].data_ptr()
    a.eps, a.momentum = eps, momentum
    count = _threads(plan)
    room = _workspace(a, 3 * plan.statistics * plan.parts if plan.parts > 1 else 0, 0, count * plan.areas)
    name = f"{plan.file}.forward_elements" if plan.per_element else f"{plan.file}.forward"
    kernel = kernels.get(name, x.dtype, CODES[activation], _streamed(plan, y, "forward", plan.parts))
    if plan.arguments.frozen:
        threads.run(kernel, a, WRITE, count)
    elif plan.parts == 1:
        threads.run(kernel, a, STATISTICS | WRITE, count)
    else:
        threads.run(kernel, a, STATISTICS, count)
        if plan.per_element:
            a.tasks, a.grain = _columns(plan), 1
        threads.run(kernel, a, WRITE, count)
    del room  # only now


def backward(
    plan: Plan,
    dy: torch.Tensor,
    x: torch.Tensor,
    statistics: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    dx: torch.Tensor | None,
    dweight: torch.Tensor | None,
    dbias: torch.Tensor | None,
    *,
    activation: str | None,
) -> None:
    """Write dx, dweight and dbias.

    Args:
        dy, x, dx: dense, of one layout and type; no dx where none is needed.
        statistics, weight, bias: as `forward` had and left them.
        dweight, dbias: contiguous, of the wide type; both, or neither where none is needed.
    """
    a = _arguments(plan, x, dx, statistics, weight, bias)
    a.dy = dy.data_ptr()
    if dweight is not None:
        a.dweight, a.dbias = dweight.data_ptr(), dbias.data_ptr()
    code, count = CODES[activation], _threads(plan)
    streamed = _streamed(plan, dx, "backward", plan.backward_parts)
    if plan.per_element:
        a.parts = plan.backward_parts
        kernel = kernels.get("segments.backward_elements", x.dtype, code, streamed)
        if a.parts == 1:
            a.tasks = max(1, min(plan.statistics, parts_for(plan.numel)))
            room = _workspace(a, 2 * plan.statistics, 2 * a.tasks * a.length, 0)
            threads.run(kernel, a, STATISTICS | WRITE, min(count, a.tasks))
        else:
            room = _workspace(a, 2 * plan.statistics * a.parts, 0, 0)
            together = max(1, _TOGETHER // a.length)
            for first in range(0, plan.statistics, together):
                a.row, a.rows = first, min(together, plan.statistics - first)
                a.tasks = a.rows * a.parts
                threads.run(kernel, a, STATISTICS, count)
                a.tasks = _columns(plan)
                threads.run(kernel, a, WRITE, count)
        del room
        return
    room = _workspace(
        a,
        2 * plan.statistics * plan.parts,
        0 if dweight is None else 2 * plan.slots * a.channels,
        count * plan.areas,
    )
    kernel = kernels.get(f"{plan.file}.backward", x.dtype, code, streamed)
    sums = 0 if a.frozen and dweight is None else STATISTICS
    writing = 0 if dx is None else WRITE
    steps = (sums | writing,) if plan.parts == 1 else (sums, writing)
    for step in filter(None, steps):
        threads.run(kernel, a, step, count)
    del room
