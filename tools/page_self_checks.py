"""The parts of the pages that are made of the newest self-check: its rates, and what other thresholds find."""

import math
from collections.abc import Iterator, Sequence
from statistics import median, stdev

from normsuite.gate import decide, self_check_rates, selfcheck, tables
from normsuite.presentation import markdown, text

from . import thresholds
from .page_benches import collected

SOUGHT = 0.01
"""The slowdown whose cost in processes is stated."""


def error_rates() -> list[str]:
    """Return what was tried, how often the gate was wrong, and what it would have taken to find more."""
    records = collected().self_check
    identity = records[0]["case"]["identity"]
    found = tables.error_rates(records)
    method, today = "by this version of the gate's method", {**identity, "method": selfcheck.method()}
    if not all(self_check_rates.belongs(record, today, selfcheck.injection()) for record in records):
        method = "by an earlier version of the gate's method, judged by today's thresholds"
    return [
        f"{found.title}, each of {len(identity['cells'])} cells in {text.seconds(identity['budget_s'])}, {method}:",
        "",
        *markdown.table(found),
        "",
        f"{found.note}. {_reach(records)}",
    ]


def _reach(records: Sequence[dict]) -> str:
    """Return how widely processes differ, and how many of them would find a slowdown in 95 % of cells."""
    cells = list(_to_the_end(records))
    deviation, half_width = (median(of) for of in list(zip(*cells, strict=True))[:2])
    distance = SOUGHT - decide.THRESHOLD
    # Both the interval and the error of its centre narrow with the root of the number of processes.
    times = median(((half + 1.645 * spread / math.sqrt(n)) / distance) ** 2 for spread, half, n in cells)
    return (
        "In those cells without a slowdown that were still measured at the end, processes differ by a standard "
        f"deviation of {deviation:.2%} and intervals reach ± {half_width:.2%} (medians): to find {SOUGHT:.0%} with a "
        f"probability of 95 % takes {times:.1f} times as many processes in the median of them."
    )


def _to_the_end(records: Sequence[dict]) -> Iterator[tuple[float, float, int]]:
    """Yield standard deviation, half width of the interval and number of processes, of each cell still open."""
    for record in records:
        samples = record["samples"]
        for name, logs in samples["log_ratios"].items():
            if name not in record["case"]["planted"] and 2 < len(logs) == samples["looks"][-1]:
                _, _, low, high, _ = samples["cells"][name]
                yield stdev(logs), (high - low) / 2, len(logs)


def by_threshold() -> list[str]:
    """Return what each small threshold finds in the newest self-check, by its recorded intervals."""
    return thresholds.table(collected().self_check)


PARTS = {"error-rates": error_rates, "thresholds": by_threshold}
