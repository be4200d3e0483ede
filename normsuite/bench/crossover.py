"""From which size on our kernels are faster than torch's calls: what `backend="auto"` decides by.

    python -m normsuite.bench.crossover

measures both in turn, in one process, for tensors of growing size, and writes `backends/auto.toml` and a record. A size
counts as won if the ratio of the times lies below 1 and its whole 95 % interval below 1.02, where the bench begins to
speak of slower; the crossover is the least size from which on all measured ones are won.
"""

import itertools
import os
import random
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import torch

from .. import backends, results, statistics
from ..backends import auto
from ..spec import NORMS, NormSpec
from .cases import SEED, Case
from .contestants.ours import Ours
from .interleave import Entrant, interleave
from .run import ALLOCATOR
from .summary import SLOWER_ABOVE
from .task import Task

SIZES = tuple(2**power for power in range(11, 23))
"""Numbers in a tensor."""

LENGTHS = {
    "channel": ((1, 49), (128, 196), (512, 784)),
    "element": ((1, 768), (2048, 3136), (16384, 25088), (65536, 100352)),
}
"""Numbers side by side, of a norm with a weight per channel and per element: from which one a crossover counts, and
which one it is measured at."""

CHANNELS = ((1, 16), (32, 128))
"""The same for channels_last: how many channels lie side by side."""

MODES = {
    "forward": ("forward", None),
    "step": ("step", None),
    "forward_activated": ("forward", "relu"),
    "step_activated": ("step", "relu"),
}
"""What a crossover is measured for: a mode of the bench, alone or with an activation behind the norm."""

NEVER = 2**62
SECONDS = 0.1


def shapes(spec: NormSpec, layout: str, length: int) -> Iterator[Case]:
    """Cases of growing size whose numbers lie side by side in that length."""
    for size in SIZES:
        if layout == "channels_last":
            places = 7 if size < 2**16 else 28
            batch, shape = size // (length * places * places), (length, places, places)
        elif spec.affine == "element":
            batch, shape = size // length, (length,)
        else:
            side = int(length**0.5)
            batch, shape = size // (32 * length), (32, side, side)
        if batch:
            trailing = shape if spec.affine == "element" and layout == "contiguous" else None
            yield Case(str(size), (batch, *shape), 8, "crossover", layout == "channels_last", trailing)


def ratios(spec: NormSpec, case: Case, mode: str) -> statistics.Interval:
    """The time of the kernels over the time of torch's call, with its interval, for a key of `MODES`."""
    task = Task(spec, case, *MODES[mode])
    given = task.operands()
    entrants = []
    for name in ("torch", auto.KERNELS):
        call = Ours(name).prepare(task, given)
        with torch.set_grad_enabled(task.gradients):
            call()
        entrants.append(Entrant(name, "openmp", call))
    with torch.set_grad_enabled(task.gradients):
        times = interleave(entrants, witness="", seconds=SECONDS, draw=random.Random(SEED), waits_s={}, least=10)
    pairs = zip(times["torch"], times[auto.KERNELS], strict=True)
    return statistics.median_interval([ours / theirs for theirs, ours in pairs])


def crossover(found: dict[int, statistics.Interval]) -> int:
    """The least size from which on every size is won; `NEVER` where the largest is not."""
    won = itertools.takewhile(
        lambda size: found[size].value < 1 and found[size].high < SLOWER_ABOVE, sorted(found, reverse=True)
    )
    return min(won, default=NEVER)


def measure() -> tuple[dict, list[dict]]:
    """The table of `auto.toml`, and all ratios behind it."""
    table: dict = {}
    rows = []
    for spec in NORMS.values():
        if spec.torch_call is None:
            continue
        for layout in ("contiguous", "channels_last"):
            lengths = CHANNELS if layout == "channels_last" else LENGTHS[spec.affine]
            entry = {"lengths": [least for least, _ in lengths], **{mode: [] for mode in MODES}}
            for (_, length), mode in itertools.product(lengths, MODES):
                found = {}
                for case in shapes(spec, layout, length):
                    size = torch.Size(case.shape).numel()
                    found[size] = ratios(spec, case, mode)
                    interval = [found[size].low, found[size].high]
                    row = {"norm": spec.name, "layout": layout, "length": length, "mode": mode, "numbers": size}
                    rows.append({**row, "ratio": found[size].value, "interval": interval})
                entry[mode].append(crossover(found))
                print(spec.name, layout, length, mode, entry[mode][-1], file=sys.stderr, flush=True)
            table.setdefault(spec.name, {})[layout] = entry
    return table, rows


def as_toml(table: dict) -> str:
    lines = [
        "# From how many numbers on the kernels are faster than torch's call, for tensors whose numbers lie side by",
        "# side in at least such lengths. Made by `python -m normsuite.bench.crossover`.",
    ]
    for norm, layouts in table.items():
        for layout, entry in layouts.items():
            lines += ["", f"[{norm}.{layout}]", *(f"{key} = {values}" for key, values in entry.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write; the allocator is pinned first, which takes a new process."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]], {**os.environ, **ALLOCATOR})
    table, rows = measure()
    results.write_text(Path(str(resources.files(backends) / "auto.toml")), as_toml(table))
    environment = results.environment(threads=torch.get_num_threads())
    record = results.make_record("crossover", {"seconds": SECONDS}, rows, environment=environment, seeds=[SEED])
    results.write_record(Path("reports/bench"), "crossover", record)


if __name__ == "__main__":
    main()
