"""From which size on a result is better written past the caches: with what makes the norm's input in front of it, and
what reads its output behind it, since those pay for what is not in the caches any more.

    python -m normsuite.bench.streaming

measures the kernels both ways in turn, in one process, and writes a record. `backends.numba.outputs.STREAMED` is the
share of the last-level cache that it finds.
"""

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from .. import allocator, functional, results, statistics
from ..backends.numba import outputs
from ..spec import NORMS
from .cases import SEED
from .interleave import Entrant, interleave

CHANNELS, SIDE = 64, 28
BATCHES = (2, 4, 8, 16, 24, 32, 48, 64, 128, 256)
"""Samples of 64 channels of 28 × 28: 0.4 to 51 MB in float32."""

NORMALISED = (
    ("BatchNorm", torch.contiguous_format),
    ("GroupNorm", torch.contiguous_format),
    ("LayerNorm", torch.contiguous_format),
    ("InstanceNorm", torch.channels_last),
)
"""One norm for each way through memory."""

NEVER, ALWAYS = 2**62, 0
SECONDS = 0.25


def _written_from(least: int, call: Callable[[], object]) -> Callable[[], object]:
    """The call, with results written past the caches from so many bytes on."""

    def changed() -> object:
        outputs.STREAMED = least
        return call()

    return changed


def chains(name: str, layout: torch.memory_format, batch: int) -> dict[str, Callable[[], object]]:
    """A product, the norm of it, and what reads that: a sum or ReLU, and a training step with ReLU."""
    spec = NORMS[name]
    draw = torch.Generator().manual_seed(SEED)
    given = torch.randn(batch, CHANNELS, SIDE, SIDE, generator=draw).contiguous(memory_format=layout)
    affine = given.shape[1:] if spec.affine == "element" else given.shape[1:2]
    weight, bias = torch.ones(affine, requires_grad=True), torch.zeros(affine, requires_grad=True)
    groups = CHANNELS // 4 if spec.groups == "given" else None

    def normalised(x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(spec, 1.5 * x, weight, bias, num_groups=groups, backend="numba")

    @torch.no_grad()
    def summed() -> torch.Tensor:
        return normalised(given).sum()

    @torch.no_grad()
    def rectified() -> torch.Tensor:
        return normalised(given).relu()

    def trained() -> tuple[torch.Tensor, ...]:
        x = given.detach().requires_grad_()
        y = normalised(x).relu()
        return torch.autograd.grad(y, (x, weight, bias), y.detach())

    return {"forward, sum": summed, "forward, relu": rectified, "step, relu": trained}


def ratio(call: Callable[[], object]) -> statistics.Interval:
    """The time of the call where results are written past the caches, over its time where they are not."""
    before = outputs.STREAMED
    ways = {"past": _written_from(ALWAYS, call), "through": _written_from(NEVER, call)}
    entrants = [Entrant(name, "openmp", way) for name, way in ways.items()]
    try:
        times = interleave(entrants, witness="", seconds=SECONDS, draw=random.Random(SEED), waits_s={}, least=10)
    finally:
        outputs.STREAMED = before
    return statistics.median_interval([a / b for a, b in zip(times["past"], times["through"], strict=True)])


def measure() -> list[dict]:
    """All ratios."""
    rows = []
    for name, layout in NORMALISED:
        for batch in BATCHES:
            for chain, call in chains(name, layout, batch).items():
                found = ratio(call)
                row = {"norm": name, "channels_last": layout == torch.channels_last, "chain": chain}
                row |= {"bytes": 4 * batch * CHANNELS * SIDE**2}
                rows.append({**row, "ratio": found.value, "interval": [found.low, found.high]})
                print(*rows[-1].values(), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Measure and write; the allocator is pinned first, which takes a new process."""
    pinned = {**os.environ, **allocator.PINNED}
    if pinned != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]], pinned)
    rows = measure()
    environment = results.environment(threads=torch.get_num_threads())
    case = {"seconds": SECONDS, "last-level cache": outputs.LAST_LEVEL, "from": outputs.STREAMED}
    record = results.make_record("streaming", case, rows, environment=environment, seeds=[SEED])
    results.write_record(Path("reports/bench"), "streaming", record)


if __name__ == "__main__":
    main()
