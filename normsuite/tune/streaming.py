"""Find from which size on non-temporal stores pay.

A call is timed together with what makes the norm's input and what reads its output, since those are what data missing
from the caches slows down.
"""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import torch

from .. import functional, statistics, tunings
from ..backends.numba import outputs
from ..measure.operands import SEED
from ..measure.schedule import TimedCall, interleave
from ..spec import NORMS

CHANNELS, SIDE = 64, 28
BATCHES = (8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Samples of 64 channels of 28 × 28: 1.6 to 26 MB in float32."""

SECONDS = 0.2
"""Seconds for each ratio."""

NORMALISED = (
    ("BatchNorm", torch.contiguous_format),
    ("GroupNorm", torch.contiguous_format),
    ("LayerNorm", torch.contiguous_format),
    ("InstanceNorm", torch.channels_last),
)
"""One norm for each way through memory."""

ALWAYS = 0
PAYS = 0.98
"""Most time with non-temporal stores over that without, as a geometric mean over norms and chains, to count."""

WORST = 1.05
"""Most of the same of any norm and chain."""


def size(batch: int) -> int:
    """Return the bytes of a tensor of so many samples."""
    return 4 * batch * CHANNELS * SIDE**2


def _written_from(least: float, way: str, call: Callable[[], object]) -> Callable[[], object]:
    """Return the call, with what is written on that way written by non-temporal stores from so many bytes on."""

    def changed() -> object:
        outputs.STREAMED[way] = least
        return call()

    return changed


def chains(name: str, layout: torch.memory_format, batch: int) -> dict[str, Callable[[], object]]:
    """Return a product, the norm of it, and what reads that: a sum or ReLU, and ReLU's backward pass too."""
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


def ratio(chain: str, call: Callable[[], object], seconds: float) -> float:
    """Return the median logarithm of the call's time with non-temporal stores, over its time without.

    They are used in the pass, forward or backward, that the chain's name begins with.
    """
    way, _, _ = chain.partition(", ")
    before = outputs.STREAMED[way]
    calls = {"non-temporal": _written_from(ALWAYS, way, call), "cached": _written_from(tunings.NEVER, way, call)}
    timed_calls = [TimedCall(name, "openmp", call) for name, call in calls.items()]
    try:
        times = interleave(timed_calls, control="", seconds=seconds, draw=random.Random(), waits_s={})
    finally:
        outputs.STREAMED[way] = before
    return statistics.paired_log_ratio(times["non-temporal"], times["cached"])


def rows(batches: Iterable[int], seconds: float) -> Iterator[dict]:
    """Yield a row with the logarithm of its ratio for each norm, chain and size."""
    for name, layout in NORMALISED:
        for batch in batches:
            for chain, call in chains(name, layout, batch).items():
                row = {"norm": name, "channels_last": layout == torch.channels_last, "chain": chain}
                yield {**row, "bytes": size(batch), "log": ratio(chain, call, seconds)}


def pays_from(found: Iterable[dict]) -> dict[str, float]:
    """Return for each of `tunings.WAYS` from how many bytes on non-temporal stores pay, at every size from there on.

    Args:
        found: rows with chain, bytes and the logarithm of a ratio, "log".
    """
    logs: dict[str, dict[int, list[float]]] = {way: defaultdict(list) for way in tunings.WAYS}
    for row in found:
        way, _, _ = row["chain"].partition(", ")
        logs[way][row["bytes"]].append(row["log"])
    return {way: _pays_from(logs[way]) for way in tunings.WAYS}


def _pays_from(logs: dict[int, list[float]]) -> float:
    def pays(size: int) -> bool:
        return sum(logs[size]) / len(logs[size]) <= math.log(PAYS) and max(logs[size]) <= math.log(WORST)

    return min(itertools.takewhile(pays, sorted(logs, reverse=True)), default=tunings.NEVER)
