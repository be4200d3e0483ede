"""At which sizes our kernels are faster than torch's calls: what `backend="auto"` decides by.

    python -m normsuite.bench.crossover

measures both in turn, in three processes, for tensors of growing size, and writes this kind of processor's part of
`backends/auto.toml`, and a record.
"""

import itertools
import math
import random
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path

import torch

from .. import backends, results, statistics
from ..backends import auto
from ..measure.cases import SEED, Case, Operands, operands
from ..measure.implementations.ours import Function
from ..measure.schedule import Entrant, interleave
from ..measure.task import Task
from ..spec import NORMS, NormSpec
from . import several
from .summary import SLOWER_ABOVE

SIZES = (*(2**power for power in range(8, 22)), 3 * 2**20, 2**22, 2**23, 2**24)
"""Numbers in a tensor; the largest takes memory that the system gives anew for each."""

LENGTHS = {
    "channel": ((1, 49), (128, 196), (512, 784)),
    "element": ((1, 768), (2048, 3136), (16384, 25088), (65536, 100352)),
}
"""Numbers side by side, of a norm with a weight per channel and per element: from which one a crossover counts, and
which one it is measured at."""

CHANNELS = ((1, 16), (32, 128))
"""The same for channels_last: how many channels lie side by side."""

GROUPS = 8
"""Of GroupNorm, and the channels of the smallest tensors."""

ROW = ((1, 1),)
"""The same for a single row, whose length is its size."""

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
"""What a crossover is measured for: a mode of the bench, alone or with an activation behind the norm, and whether into
an output that exists."""

PROCESSES = 3
SECONDS = 0.05
"""For each ratio in each process."""


def layouts(spec: NormSpec) -> dict[str, tuple[tuple[int, int], ...]]:
    """The layouts of `auto.layout` that such a norm has, and the lengths that they are measured at."""
    rows = {"row": ROW} if spec.affine == "element" else {}
    return {"contiguous": LENGTHS[spec.affine], **rows, "channels_last": CHANNELS, "channels_last_few": CHANNELS}


def shapes(spec: NormSpec, layout: str, length: int) -> Iterator[Case]:
    """Cases of growing size whose numbers lie side by side in that length."""
    for size in SIZES:
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


@lru_cache(maxsize=1)
def _operands(spec: NormSpec, case: Case) -> Operands:
    """Drawn once for all modes: that takes longer than they do."""
    return operands(spec, case)


def ratio(spec: NormSpec, case: Case, mode: str) -> float:
    """The median logarithm of the time of the kernels over that of torch's call, for a key of `MODES`."""
    of_bench, activation, into = MODES[mode]
    task = Task(spec, case, of_bench, activation)
    given = _operands(spec, case)
    given.input.requires_grad_(task.gradients)
    entrants = []
    for name in ("torch", auto.KERNELS):
        call = Function(name, preallocated=into).prepare(task, given)
        with torch.set_grad_enabled(task.gradients):
            call()
        entrants.append(Entrant(name, "openmp", call))
    with torch.set_grad_enabled(task.gradients):
        times = interleave(entrants, witness="", seconds=SECONDS, draw=random.Random(SEED), waits_s={})
    return statistics.paired_log_ratio(times[auto.KERNELS], times["torch"])


def crossover(found: dict[int, statistics.Interval]) -> list[int]:
    """The sizes at which another becomes faster, torch's call below the first and the kernels from it on.

    The kernels have sizes up to the last in front of one where they are slower by its interval, from where they save
    most on the way there, by the sum of the logarithms of their ratios: one noisy size turns nothing around. Beyond the
    slower one they may begin again; what lies between two sizes that were measured is theirs only where both are.
    """
    changes: list[int] = []
    sizes = sorted(found)
    for slower, run in itertools.groupby(range(len(sizes)), lambda i: found[sizes[i]].low > SLOWER_ABOVE):
        run = list(run)
        end = run[-1] + 1
        saved = {i: sum(math.log(found[size].value) for size in sizes[i:end]) for i in run}
        begin = min(run, key=saved.get)
        if not slower and saved[begin] < 0:
            changes.append(sizes[begin])
            if end < len(sizes):
                changes.append(sizes[end - 1] + 1)
    return changes


def measure() -> list[dict]:
    """All ratios, in this process."""
    rows = []
    for spec in NORMS.values():
        if spec.torch_call is None:
            continue
        modes = [mode for mode, (of_bench, *_) in MODES.items() if of_bench != "evaluation" or spec.running == "always"]
        for layout, lengths in layouts(spec).items():
            for _, length in lengths:
                print(spec.name, layout, length, file=sys.stderr, flush=True)
                for case, mode in itertools.product(shapes(spec, layout, length), modes):
                    row = {"norm": spec.name, "layout": layout, "length": length, "mode": mode}
                    numbers = torch.Size(case.shape).numel()
                    rows.append({**row, "numbers": numbers, "log": ratio(spec, case, mode)})
    return rows


_LEAST = {length: least for lengths in (*LENGTHS.values(), CHANNELS, ROW) for least, length in lengths}


def table(rows: list[dict]) -> auto.Table:
    """A part of `auto.toml`, from those ratios."""
    found: dict = {}
    for row in rows:
        modes = found.setdefault(row["norm"], {}).setdefault(row["layout"], {})
        sizes = modes.setdefault(row["mode"], {}).setdefault(row["length"], {})
        sizes[row["numbers"]] = statistics.Interval(row["ratio"], *row["interval"])
    return {
        norm: {
            layout: {
                "lengths": [_LEAST[length] for length in next(iter(modes.values()))],
                **{mode: [crossover(sizes) for sizes in lengths.values()] for mode, lengths in modes.items()},
            }
            for layout, modes in layouts.items()
        }
        for norm, layouts in found.items()
    }


def as_toml(tables: dict[str, auto.Table]) -> str:
    lines = [
        "# For tensors whose numbers lie side by side in at least such lengths: the sizes at which another becomes",
        "# faster, torch's call below the first, the kernels from it on, torch's call again from the second on, and so",
        "# on. Made by `python -m normsuite.bench.crossover`.",
    ]
    for kind, of_kind in sorted(tables.items()):
        for norm, layouts in of_kind.items():
            for layout, entry in layouts.items():
                lines += ["", f"[{kind}.{norm}.{layout}]", *(f"{key} = {values}" for key, values in entry.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure in fresh processes and write."""
    rows = several.measured(__spec__.name, measure, PROCESSES)
    kind = torch.backends.cpu.get_cpu_capability()
    tables = {**auto.tables(), kind: table(rows)}
    results.write_text(Path(str(resources.files(backends) / "auto.toml")), as_toml(tables))
    environment = results.environment(threads=torch.get_num_threads())
    case = {"seconds": SECONDS, "processes": PROCESSES, "vector instructions": kind}
    record = results.make_record("crossover", case, rows, environment=environment, seeds=[SEED])
    results.write_record(Path("reports/bench"), f"crossover-{kind.lower()}", record)


if __name__ == "__main__":
    main()
