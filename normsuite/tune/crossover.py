"""Sizes from which on the kernels are faster than torch's calls: ratios of both, timed in turn, and the rule."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import torch

from .. import statistics, tunings
from ..backends import auto
from ..bench.row import SLOWER_ABOVE
from ..measure.cases import Case
from ..measure.implementations.ours import Function
from ..measure.operands import SEED, Operands, operands
from ..measure.schedule import TimedCall, interleave
from ..measure.task import Task, has_mode
from ..spec import NORMS, NormSpec

LENGTHS = {
    "channel": ((1, 49), (128, 196), (512, 784)),
    "element": ((1, 768), (2048, 3136), (16384, 25088), (65536, 100352)),
}
"""Elements side by side, of a norm with a weight per channel and per element: from which length a size counts, and
which length it is measured at."""

CHANNELS = ((1, 8), (12, 16), (32, 128))
"""The same for channels_last: how many channels lie side by side. Of 8 or fewer, the threads of torch's BatchNorm write
to the same cache lines: on two threads of an Intel Xeon 6-167 its step takes 6 to 14 times as long as the kernels',
and of 16 channels 1.1 times."""

ROW = ((1, 1),)
"""The same for a single row, whose length is its size."""

LEAST_LENGTH = {measured: least for lengths in (*LENGTHS.values(), CHANNELS, ROW) for least, measured in lengths}

GROUPS = 8
"""Groups of GroupNorm, and channels of the smallest tensors."""

OPERANDS_KEPT = 8
"""Sizes whose operands are kept: searches of several modes come back to a size."""

MODES = {
    f"{mode}{'_into' * into}{'_activated' if activation else ''}": (mode, activation, into)
    for mode, into in (
        ("forward", False),
        ("forward", True),
        ("step", False),
        ("evaluation", False),
        ("evaluation", True),
    )
    for activation in (None, "relu")
}
"""The modes of a table: a mode of the bench, alone or with an activation after the norm, and whether into an output
that exists."""


def layouts(spec: NormSpec) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the layouts of `auto.layout` that such a norm has, and the lengths that they are measured at."""
    rows = {"row": ROW} if spec.affine == "element" else {}
    return {"contiguous": LENGTHS[spec.affine], **rows, "channels_last": CHANNELS, "channels_last_few": CHANNELS}


def shapes(spec: NormSpec, layout: str, length: int, sizes: Iterable[int]) -> Iterator[Case]:
    """Yield cases of about those numbers of elements in that layout, with `length` adjacent elements."""
    shape: tuple[int, ...]
    for size in sizes:
        if layout.startswith("channels_last"):
            side = 7 if layout == "channels_last_few" else 14 if size < 2**16 else 28
            batch, shape = size // (length * side * side), (length, side, side)
        elif layout == "row":
            batch, shape = 1, (size,)
        elif spec.affine == "element":
            batch, shape = size // length, (length,)
        else:
            side, channels = int(length**0.5), 32 if size >= 32 * length else GROUPS
            batch, shape = size // (channels * length), (channels, side, side)
        if batch:
            channels_last = layout.startswith("channels_last")
            trailing = shape if spec.affine == "element" and not channels_last else None
            yield Case(str(size), (batch, *shape), GROUPS, "crossover", channels_last, trailing)


def entries() -> Iterator[tuple[NormSpec, str, int, list[str]]]:
    """Yield each norm, layout and length of a table, with its modes."""
    for spec in NORMS.values():
        if spec.torch_call is not None:
            modes = [name for name, (mode, *_) in MODES.items() if has_mode(spec, mode)]
            for layout, lengths in layouts(spec).items():
                for _, length in lengths:
                    yield spec, layout, length, modes


def title(spec: NormSpec, layout: str, length: int) -> str:
    """Return the name of an entry, such as "BatchNorm contiguous 49"."""
    return f"{spec.name} {layout} {length}"


@lru_cache(maxsize=OPERANDS_KEPT)
def _operands(spec: NormSpec, case: Case) -> Operands:
    """Return operands that all modes share: to draw them takes longer than to measure."""
    return operands(spec, case)


def ratio(spec: NormSpec, case: Case, mode: str, seconds: float) -> float:
    """Return the median logarithm of the kernels' time over that of torch's call, for a key of `MODES`."""
    of_bench, activation, into = MODES[mode]
    task = Task(spec, case, of_bench, activation)
    given = _operands(spec, case)
    given.input.requires_grad_(task.gradients)
    timed_calls = []
    for name in ("torch", auto.KERNELS):
        call = Function(name, preallocated=into).prepare(task, given)
        with torch.set_grad_enabled(task.gradients):
            call()
        timed_calls.append(TimedCall(name, "openmp", call))
    with torch.set_grad_enabled(task.gradients):
        times = interleave(timed_calls, control="", seconds=seconds, draw=random.Random(SEED), waits_s={})
    return statistics.paired_log_ratio(times[auto.KERNELS], times["torch"])


def least_size(found: Mapping[int, statistics.Interval]) -> float:
    """Return the size from which on the kernels are faster, `tunings.NEVER` if there is none.

    No larger size may be slower by its interval. Among those that this leaves it is the size from which on the most
    time is saved, by the sum of the logarithms of the ratios: one noisy size decides nothing.
    """
    sizes = sorted(found, reverse=True)
    candidates = list(itertools.takewhile(lambda size: _low_end(found[size]) <= SLOWER_ABOVE, sizes))
    saved = list(itertools.accumulate(math.log(found[size].value) for size in candidates))
    best = min(range(len(candidates)), key=saved.__getitem__, default=None)
    return tunings.NEVER if best is None or saved[best] >= 0 else candidates[best]


def _low_end(ratio: statistics.Interval) -> float:
    """Return the low end of an interval; the value where equal samples, or a single one, give no interval."""
    return ratio.value if math.isnan(ratio.low) else ratio.low


def clear_size(found: Mapping[int, statistics.Interval]) -> float:
    """Return the size from which on the kernels take at most `tunings.MARGIN` of torch's time, or `tunings.NEVER`."""
    sizes = sorted(found, reverse=True)
    clear = list(itertools.takewhile(lambda size: found[size].value <= tunings.MARGIN, sizes))
    return clear[-1] if clear else tunings.NEVER


def tried(rows: Iterable[Mapping]) -> dict[tuple[str, str, str, int], list[int]]:
    """Return the sizes that were measured, by norm, layout, mode and the length from which on they count."""
    found: dict = {}
    for row in rows:
        key = row["norm"], row["layout"], row["mode"], LEAST_LENGTH[row["length"]]
        found.setdefault(key, []).append(row["numbers"])
    return found


def table(rows: Iterable[dict], rule=least_size) -> tunings.Table:
    """Return a table by a rule.

    Args:
        rows: each with norm, layout, length, mode, numbers (of elements), ratio and its interval.
        rule: `least_size` or `clear_size`.
    """
    found: dict = {}
    for row in rows:
        modes = found.setdefault(row["norm"], {}).setdefault(row["layout"], {})
        sizes = modes.setdefault(row["mode"], {}).setdefault(row["length"], {})
        sizes[row["numbers"]] = statistics.Interval(row["ratio"], *row["interval"])
    return {
        norm: {
            layout: {
                "lengths": [LEAST_LENGTH[length] for length in next(iter(modes.values()))],
                **{mode: [rule(sizes) for sizes in lengths.values()] for mode, lengths in modes.items()},
            }
            for layout, modes in layouts.items()
        }
        for norm, layouts in found.items()
    }
