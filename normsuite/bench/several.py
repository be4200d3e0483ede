"""Ratios from several fresh processes: where memory lies in one decides as much as what is compared."""

import json
import subprocess
import sys
from collections.abc import Callable

from .. import allocator, statistics

MEASURE = "measure"


def measured(module: str, measure: Callable[[], list[dict]], processes: int) -> list[dict]:
    """What `measure` finds in so many processes, one after the other, joined.

    Args:
        module: whose main calls this, by name; it is what a process runs.
        measure: rows with a "log", the logarithm of a ratio, in the same order in each process.
        processes: how many.
    """
    if sys.argv[1:] == [MEASURE]:
        print(json.dumps(measure()))
        sys.exit()
    found = []
    for _ in range(processes):
        with allocator.pinned():
            done = subprocess.run(
                [sys.executable, "-m", module, MEASURE], stdout=subprocess.PIPE, text=True, check=True
            )
        found.append(json.loads(done.stdout))
    return joined(found)


def joined(processes: list[list[dict]]) -> list[dict]:
    """One row for each ratio, their geometric mean, with its interval over processes."""
    rows = []
    for same in zip(*processes, strict=True):
        logs = [row["log"] for row in same]
        found = statistics.ratio_interval(logs)
        kept = {name: value for name, value in same[0].items() if name != "log"}
        rows.append({**kept, "ratio": found.value, "interval": [found.low, found.high], "logs": logs})
    return rows
