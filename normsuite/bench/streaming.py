"""From which size on a result is better written past the caches: with what makes the norm's input in front of it, and
what reads its output behind it, since those pay for what is not in the caches any more.

    python -m normsuite.bench.streaming

measures the kernels both ways in turn, in five processes, and writes a record. `backends.numba.outputs.SHARE` says what
was found, as shares of the last-level cache.
"""

import random
from collections.abc import Callable
from pathlib import Path

import torch

from .. import functional, results, statistics
from ..backends.numba import outputs
from ..measure.cases import SEED
from ..measure.schedule import Entrant, interleave
from ..spec import NORMS
from . import several

CHANNELS, SIDE = 64, 28
BATCHES = (8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Samples of 64 channels of 28 × 28: 1.6 to 26 MB in float32."""

NORMALISED = (
    ("BatchNorm", torch.contiguous_format),
    ("GroupNorm", torch.contiguous_format),
    ("LayerNorm", torch.contiguous_format),
    ("InstanceNorm", torch.channels_last),
)
"""One norm for each way through memory."""

NEVER, ALWAYS = 2**62, 0
PROCESSES = 5
SECONDS = 0.2


def _written_from(least: int, way: str, call: Callable[[], object]) -> Callable[[], object]:
    """The call, with what is written on that way written past the caches from so many bytes on."""

    def changed() -> object:
        outputs.STREAMED[way] = least
        return call()

    return changed


def chains(name: str, layout: torch.memory_format, batch: int) -> dict[str, Callable[[], object]]:
    """A product, the norm of it, and what reads that: a sum or ReLU, and the way back of ReLU's too."""
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

    return {"forward, sum": summed, "forward, relu": rectified, "backward, relu": trained}


def ratio(chain: str, call: Callable[[], object]) -> float:
    """The median logarithm of the call's time where what is written on the way that the chain is named by is written
    past the caches, over its time where it is not."""
    way, _, _ = chain.partition(", ")
    before = outputs.STREAMED[way]
    calls = {"past": _written_from(ALWAYS, way, call), "through": _written_from(NEVER, way, call)}
    entrants = [Entrant(name, "openmp", call) for name, call in calls.items()]
    try:
        times = interleave(entrants, witness="", seconds=SECONDS, draw=random.Random(), waits_s={}, least=10)
    finally:
        outputs.STREAMED[way] = before
    return statistics.paired_log_ratio(times["past"], times["through"])


def measure() -> list[dict]:
    """All ratios, in this process."""
    rows = []
    for name, layout in NORMALISED:
        for batch in BATCHES:
            for chain, call in chains(name, layout, batch).items():
                row = {"norm": name, "channels_last": layout == torch.channels_last, "chain": chain}
                rows.append({**row, "bytes": 4 * batch * CHANNELS * SIDE**2, "log": ratio(chain, call)})
    return rows


def main() -> None:
    """Measure in fresh processes and write."""
    rows = several.measured(__spec__.name, measure, PROCESSES)
    for row in rows:
        print(*(value for name, value in row.items() if name != "logs"))
    environment = results.environment(threads=torch.get_num_threads())
    case = {"seconds": SECONDS, "last-level cache": outputs.LAST_LEVEL}
    record = results.make_record("streaming", case, rows, environment=environment, seeds=[SEED])
    results.write_record(Path("reports/bench"), "streaming", record)


if __name__ == "__main__":
    main()
