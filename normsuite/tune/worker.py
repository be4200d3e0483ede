"""The process that measures for `tune`: it says where non-temporal stores pay, then the ratios of each entry."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from .. import statistics, tunings
from ..backends.numba import outputs
from ..bench.row import SLOWER_ABOVE
from ..measure import process
from ..spec import NormSpec
from . import crossover, streaming
from .search import FASTER_BELOW, Search, search, together

SIZES = tuple(4**power for power in range(4, 12))
"""Elements of the tensors that are measured, 256 to 4 million."""

BATCHES = (96, 48, 24)
"""Batch sizes of `streaming.chains`: tensors of 19, 10 and 5 MB."""

LARGEST_STREAMED = streaming.size(max(BATCHES))
"""Bytes of the largest of them."""

STREAMING_SHARE = 0.25
"""Most of the time for non-temporal stores, which are not measured if there is no answer by then."""

SECONDS, AGAIN = 0.02, 4
"""Seconds for each ratio. One that says "slower" ends the search below its size, so it is measured again, `AGAIN` times
as long."""

CLEARLY_SLOWER = 1.3
"""A ratio above this is measured again at the largest size only, which decides whether any size is the kernels'."""


PLAIN = tuple(mode for mode, (_, activation, into) in crossover.MODES.items() if not activation and not into)
"""Modes that are searched first, at all sizes."""

INTO = tuple(mode for mode, (_, activation, into) in crossover.MODES.items() if into and not activation)
"""Modes that are searched from the size of their plain mode, which is measured for them too, downwards or upwards. The
others have an activation, which costs torch another pass and the kernels none: in no shipped table is a size with one
larger than without."""


def entry(
    spec: NormSpec, layout: str, length: int, modes: list[str], ratio: Callable[..., float] = crossover.ratio
) -> list[dict]:
    """Return the rows of one norm, layout and length, for each mode at the sizes that its search asked for.

    Modes with an activation are searched only below the size of the same mode without; there its ratio is used.
    """
    cases = {torch.Size(case.shape).numel(): case for case in crossover.shapes(spec, layout, length, SIZES)}

    def measured(mode: str, numbers: int) -> float:
        value = math.exp(ratio(spec, cases[numbers], mode, SECONDS))
        if value > SLOWER_ABOVE and (value <= CLEARLY_SLOWER or numbers == max(cases)):
            value = math.exp(ratio(spec, cases[numbers], mode, AGAIN * SECONDS))
        return value

    found = together({mode: search(sorted(cases), SLOWER_ABOVE) for mode in modes if mode in PLAIN}, measured)
    plain = {mode: _known(found.get(_plain_of(mode), {})) for mode in modes if mode in INTO}
    into = {mode: {size: measured(mode, size) for size in of} for mode, of in plain.items()}
    found |= _from_known(into, sorted(cases), measured)
    activated = {mode: _known(found.get(_plain_of(mode), {})) for mode in modes if mode not in (*PLAIN, *INTO)}
    found |= _from_known(activated, sorted(cases), measured)
    common = {"norm": spec.name, "layout": layout, "length": length}
    return [
        {**common, "mode": mode, "numbers": numbers, "ratio": value, "interval": (value, value)}
        for mode, ratios in found.items()
        for numbers, value in ratios.items()
    ]


def _from_known(
    known: Mapping[str, Mapping[int, float]], sizes: Sequence[int], measured: Callable[[str, int], float]
) -> dict[str, dict[int, float]]:
    """Return the ratios of searches that begin at a known one: below it where the kernels are faster there, else above.

    Args:
        known: by mode, the size and its ratio; a mode without one is searched at all sizes.
        sizes: in ascending order.
        measured: returns the ratio of a mode at a size.
    """
    searches: dict[str, Search] = {}
    for mode, start in known.items():
        is_faster = all(ratio < FASTER_BELOW for ratio in start.values())
        first = max(start, default=sizes[-1])
        left = [size for size in sizes if (size <= first if is_faster else size > first)]
        searches[mode] = search(left, SLOWER_ABOVE, largest_is_faster=is_faster and bool(start))
    return {mode: {**known[mode], **ratios} for mode, ratios in together(searches, measured).items()}


def _plain_of(mode: str) -> str:
    """Return the mode from whose size a search begins: the same without its activation, or else into a new output."""
    of_bench, activation, into = crossover.MODES[mode]
    wanted = (of_bench, None, into and activation is not None)
    return next(plain for plain, of in crossover.MODES.items() if of == wanted)


def _known(ratios: Mapping[int, float]) -> dict[int, float]:
    """Return the size from which on the kernels are faster by these ratios, with the ratio there.

    It is empty where there is no such size.
    """
    least = crossover.least_size({size: statistics.Interval(ratio, ratio, ratio) for size, ratio in ratios.items()})
    return {size: ratio for size, ratio in ratios.items() if size == least}


def work(job: dict, emit: Callable[[dict], None]) -> None:
    """Measure until all is measured, or no time is left.

    Args:
        job: "threads", "budget_s", and "earlier", the names of entries that come last, since they are known.
        emit: takes the messages. First {"streaming": …}: bytes by way (None: never), or None where the time ended
            before it was measured. Then {"entry": …, "rows": …} for each entry.
    """
    begin = time.monotonic()
    torch.set_num_threads(job["threads"])
    outputs.STREAMED.update(tunings.current().streaming)  # which are those of another number of threads
    pays = _streaming(begin + STREAMING_SHARE * job["budget_s"])
    if pays is None:
        emit({"streaming": None})
    else:
        outputs.STREAMED.update(pays)
        emit({"streaming": {way: None if size == tunings.NEVER else size for way, size in pays.items()}})
    earlier = set(job["earlier"])
    for spec, layout, length, modes in sorted(crossover.entries(), key=lambda of: crossover.title(*of[:3]) in earlier):
        if time.monotonic() > begin + job["budget_s"]:
            break
        emit({"entry": crossover.title(spec, layout, length), "rows": entry(spec, layout, length, modes)})


def _streaming(end: float) -> dict[str, float] | None:
    """Return from how many bytes on non-temporal stores pay, or None where not all of it is measured by then."""
    rows = []
    for row in streaming.rows(BATCHES, streaming.SECONDS):
        rows.append(row)
        if time.monotonic() > end:
            return None
    return streaming.pays_from(rows)


if __name__ == "__main__":
    process.speak(work)
