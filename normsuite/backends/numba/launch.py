"""Run a plan's kernels on tensors: their addresses filled in, working memory made, the steps in order.

Working memory is torch's, so that its memory statistics include it.
"""

import ctypes
import math
from collections.abc import Sequence

import torch

from .._kernels import Alike
from . import kernels, outputs, threads
from .activations import CODES
from .arguments import Arguments
from .finalizing import STATISTICS, WRITE
from .planning import Plan
from .sizes import SIZES


def _streamed(plan: Plan, y: torch.Tensor | None, way: str, parts: int) -> bool:
    """Return whether to write y, forward or backward, by non-temporal stores.

    They pay where one task reads the elements of a statistic again and writes. Where several tasks share a statistic,
    all is read from memory again, and nothing is gained.
    """
    if y is None or y.nbytes < outputs.STREAMED[way] or parts > 1 or plan.arguments.frozen:
        return False
    return plan.run * y.element_size() >= SIZES.shortest_run


def _columns(plan: Plan) -> int:
    """Return how many tasks share the columns of long rows; each column's sum is the same with any number."""
    return max(-(-plan.arguments.length // SIZES.columns), 4 * threads.count())


def _tasks_of_rows(rows: int, numel: int) -> int:
    """Return how many tasks share rows in the backward pass, the same with any number of threads.

    Each stores sums as long as a row, and one thread adds them up. With the square root of the number of rows that
    takes as long as the tasks do, and less than half of it was best on two threads. It is a power of two, so that as
    many threads are done at the same time.
    """
    most = max(4, math.isqrt(4 * rows // 25))
    return max(1, min(1 << most.bit_length() - 1, -(-rows // 4), numel // SIZES.alone))


def _rows_at_a_time(rows: int, threads: int) -> int:
    """Return how many long rows a thread takes at a time: four are written at once, if each thread has so many."""
    share = -(-rows // threads)
    return 1 if share < 4 else share if share < 16 else 4


def _workspace(a: Arguments, scratch: int, sums: int, areas: int) -> torch.Tensor | None:
    """Return one tensor with that many float64 elements of each kind, or None where all are 0.

    Its addresses are filled into `a`.
    """
    if not scratch + sums + areas:
        return None
    room = outputs.empty(scratch + sums + areas, torch.float64)
    a.scratch = room.data_ptr()
    a.sums = a.scratch + 8 * scratch if sums else 0
    a.areas = a.scratch + 8 * (scratch + sums)
    return room


def _transpose(sizes: tuple[int, int], sources: tuple[int, int], targets: tuple[int, int], wide: torch.dtype) -> None:
    """Write transposes of the matrices at those addresses."""
    (rows, columns), (weight, bias), (dweight, dbias) = sizes, sources, targets
    a = Arguments(row_inner=rows, length=columns, weight=weight, bias=bias, dweight=dweight, dbias=dbias)
    a.tasks = -(-columns // SIZES.tile)
    count = 1 if rows * columns <= SIZES.alone else min(threads.count(), a.tasks)
    threads.run(kernels.get("transposing.transpose", wide), a, WRITE, count)


def _transposed(plan: Plan, a: Arguments, statistics: torch.Tensor, gradients: bool) -> torch.Tensor:
    """Return weight and bias transposed to the layout of the tensor, with room for their gradients if asked for.

    They are of the type of the statistics; the arguments then point to them.
    """
    channels, places = plan.transposed
    each, wide = channels * places, statistics.dtype
    room = statistics.new_empty(4 * each if gradients else 2 * each)
    first, size = room.data_ptr(), each * room.element_size()
    _transpose(plan.transposed, (a.weight, a.bias), (first, first + size), wide)
    a.weight = first
    if a.bias:
        a.bias = first + size
    if gradients:
        a.dweight, a.dbias = first + 2 * size, first + 3 * size
    return room


class Launch:
    """A plan's kernels for tensors of one type, an activation and an eps: what is the same in each call is found once.

    Attributes:
        plan: how the tensors are walked through.
        dtype, wide: of their elements, and of what is computed from them.
        activation, eps: of the norm.
        frozen: normalised by the running statistics.
        statistics: how many there are; the channels' where they are given, however their rows are walked through.
        alike: as `Kernels` has it.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype, wide: torch.dtype, activation: str | None, eps: float) -> None:
        self.plan, self.dtype, self.wide, self.activation, self.eps = plan, dtype, wide, activation, eps
        self.frozen, self._code = bool(plan.arguments.frozen), CODES[activation]
        self.statistics = plan.arguments.channels if self.frozen else plan.statistics
        self.alike: tuple[Alike, ...] = ()
        self._template = Arguments.from_buffer_copy(plan.arguments)
        self._template.eps = eps
        each, size = plan.count * dtype.itemsize, plan.numel * dtype.itemsize
        self._template.sampled = plan.numel if size <= SIZES.spread else SIZES.sampled
        self._forward_batch = max(1, (SIZES.cached_batch if size <= SIZES.cached else SIZES.batch) // each)
        in_cache = SIZES.long_row <= plan.count <= SIZES.row_in_cache // 4
        self._by_fours = plan.per_element and plan.parts == 1 and in_cache
        self._backward_batch = max(1, SIZES.batch // each)
        self._most_threads = 1 if plan.numel <= SIZES.alone else plan.arguments.tasks
        elements = "_elements" if plan.per_element else ""
        self._forward, self._backward = f"{plan.file}.forward{elements}", f"{plan.file}.backward{elements}"

    def _arguments(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None,
        statistics: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
    ) -> Arguments:
        """Return the arguments with the addresses that forward and backward need; y is what is written."""
        a = Arguments.from_buffer_copy(self._template)
        a.x, a.statistics = x.data_ptr(), statistics.data_ptr()
        if y is not None:
            a.y = y.data_ptr()
        if weight is not None:
            a.weight = weight.data_ptr()
        if bias is not None:
            a.bias = bias.data_ptr()
        return a

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        statistics: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running: Sequence[torch.Tensor] | None,
        momentum: float | torch.Tensor,
    ) -> bool:
        """Write y and the statistics, and update the running ones.

        Args:
            x, y: dense, of one layout and type.
            statistics: (4, how many there are) of the wide type.
            weight, bias: contiguous, of the wide type.
            running: means and variances of the wide type, one a statistic: read where the plan is frozen, else moved.

        Returns:
            Whether the running statistics are done with. They are not where their memory meets that of another tensor:
            the kernel would read what it has changed, and the caller has to move them.
        """
        plan, a, done = self.plan, self._arguments(x, y, statistics, weight, bias), True
        if running is not None:
            a.running_mean, a.running_var = running[0].data_ptr(), running[1].data_ptr()
            if not self.frozen:
                done = self._are_apart(a, x.nbytes)
                a.momentum = momentum
                if not done:
                    a.running_mean = a.running_var = 0
        count = min(threads.count(), self._most_threads) if self._most_threads > 1 else 1
        streamed = _streamed(plan, y, "forward", plan.parts)
        if streamed:
            a.batch = a.grain  # nothing waits for non-temporal stores
        elif self._by_fours:
            a.batch, a.grain = 4, _rows_at_a_time(plan.statistics, count)
        else:
            a.batch = self._forward_batch
        kernel = kernels.get(self._forward, self.dtype, self._code, streamed)
        transposed = None if plan.transposed is None else _transposed(plan, a, statistics, gradients=False)
        room = _workspace(a, 3 * plan.statistics * plan.parts if plan.parts > 1 else 0, 0, count * plan.areas)
        if self.frozen:
            kernels.get("running.statistics", self.wide).call(ctypes.byref(a))
            threads.run(kernel, a, WRITE, count)
        elif plan.parts == 1:
            threads.run(kernel, a, STATISTICS | WRITE, count)
        else:
            threads.run(kernel, a, STATISTICS, count)
            if plan.per_element:
                a.tasks, a.grain, a.batch = _columns(plan), 1, 1
            threads.run(kernel, a, WRITE, count)
        del room, transposed  # only now
        return done

    def _are_apart(self, a: Arguments, numbers: int) -> bool:
        """Return whether the running statistics overlap neither each other nor what is read.

        That is `numbers` bytes of input, and weight and bias.
        """
        size, first, second = self.statistics * self.wide.itemsize, a.running_mean, a.running_var
        if abs(first - second) < size:
            return False
        for running in (first, second):
            if running < a.x + numbers and a.x < running + size:
                return False
            if (a.weight and abs(running - a.weight) < size) or (a.bias and abs(running - a.bias) < size):
                return False
        return True

    def backward(
        self,
        dy: torch.Tensor,
        x: torch.Tensor,
        statistics: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        dx: torch.Tensor | None,
        dweight: torch.Tensor | None,
        dbias: torch.Tensor | None,
    ) -> None:
        """Write dx, dweight and dbias.

        Args:
            dy, x, dx: dense, of one layout and type; no dx where none is needed.
            statistics, weight, bias: as `forward` had and left them; the bias is read where an activation follows.
            dweight, dbias: contiguous, of the wide type; both, or neither where none is needed.
        """
        plan, a = self.plan, self._arguments(x, dx, statistics, weight, bias)
        a.dy = dy.data_ptr()
        if dweight is not None:
            a.dweight, a.dbias = dweight.data_ptr(), dbias.data_ptr()
        count = min(threads.count(), self._most_threads) if self._most_threads > 1 else 1
        streamed = _streamed(plan, dx, "backward", plan.backward_parts)
        a.batch = a.grain if streamed else self._backward_batch
        kernel = kernels.get(self._backward, self.dtype, self._code, streamed)
        if plan.transposed is None:
            self._run_backward(a, kernel, count)
            return
        wanted = a.dweight, a.dbias
        room = _transposed(plan, a, statistics, gradients=True)
        self._run_backward(a, kernel, count)
        _transpose(plan.transposed[::-1], (a.dweight, a.dbias), wanted, self.wide)
        del room  # only now

    def _run_backward(self, a: Arguments, kernel: kernels.Kernel, count: int) -> None:
        if not self.plan.per_element:
            self._by_channels(a, kernel, count)
        elif self.plan.backward_parts == 1:
            self._by_whole_rows(a, kernel, count)
        else:
            self._by_shared_rows(a, kernel)

    def _by_channels(self, a: Arguments, kernel: kernels.Kernel, count: int) -> None:
        """Add up the sums of each statistic and channel, and write dx by them: in one run if no two tasks share any."""
        plan = self.plan
        scratch, sums = 2 * plan.statistics * plan.parts, 2 * plan.slots * plan.arguments.channels
        room = _workspace(a, scratch, sums if a.dweight else 0, count * plan.areas)
        adding = 0 if self.frozen and not a.dweight else STATISTICS
        writing = WRITE if a.y else 0
        for step in (adding | writing,) if plan.parts == 1 else (adding, writing):
            if step:
                threads.run(kernel, a, step, count)
        del room  # only now

    def _by_whole_rows(self, a: Arguments, kernel: kernels.Kernel, count: int) -> None:
        """Run each task on rows of its own, with sums for dweight and dbias of its own, and add these up at the end."""
        plan = self.plan
        a.parts, a.tasks = 1, _tasks_of_rows(plan.statistics, plan.numel)
        a.grain = max(4, SIZES.rows_together // a.length // 4 * 4)
        room = _workspace(a, 2 * plan.statistics, 2 * a.tasks * a.length, 0)
        threads.run(kernel, a, STATISTICS | WRITE, min(count, a.tasks))
        del room  # only now

    def _by_shared_rows(self, a: Arguments, kernel: kernels.Kernel) -> None:
        """Add up the sums of few rows at a time, by parts of a row, then write dx, dweight and dbias by columns."""
        plan = self.plan
        a.parts = plan.backward_parts
        room = _workspace(a, 2 * plan.statistics * a.parts, 0, 0)
        together = max(4, SIZES.together // a.length // 4 * 4)
        most = threads.count() if plan.numel > SIZES.alone else 1  # there are more tasks than in the forward pass
        for first in range(0, plan.statistics, together):
            a.row, a.rows = first, min(together, plan.statistics - first)
            a.tasks = a.rows * a.parts
            threads.run(kernel, a, STATISTICS, min(most, a.tasks))
            a.tasks = _columns(plan)
            threads.run(kernel, a, WRITE, min(most, a.tasks))
        del room  # only now
