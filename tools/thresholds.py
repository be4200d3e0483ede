"""Compute what the gate's small threshold costs and finds in recorded self-checks: `python -m tools.thresholds`.

The recorded intervals are judged again with each threshold. The second table is the reason for the threshold: by how
much two builds of the same code differ persistently, which no number of processes averages out. `--decide` computes the
intervals anew from the recorded ratios, with today's clipping and groups, which takes minutes.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from normsuite.gate import decide, groups, self_check_rates
from normsuite.gate.decide import Thresholds
from normsuite.records import kinds, results

RECORDS = Path(__file__).parent.parent / "reports" / "reference" / "self-check-before"
"""78 tables by an earlier version of the gate, on a quiet processor; the newest ones are in `self-check` beside."""

SMALL = (0.01, 0.005, 0.0025, 0.001, 0.0)


def table(records: Sequence[dict], *, again: bool = False) -> list[str]:
    """Return what each small threshold finds of injected slowdowns, and its false alarms, as Markdown.

    Args:
        records: of self-checks.
        again: compute the intervals anew.
    """
    lines = [
        "| worse above | " + " | ".join(f"{100 * share:g}% found" for share in self_check_rates.SHARES)
        + " | A/A tables with a false alarm | … with something better | clean cells undecided |",
        "|---:" * (len(self_check_rates.SHARES) + 4) + "|",
    ]  # fmt: skip
    for small in SMALL:
        thresholds = Thresholds(worse=small)
        judged = [decided_again(record, thresholds) for record in records] if again else records
        found = self_check_rates.found(judged, thresholds)
        counted = [found.injected[share] for share in self_check_rates.SHARES]
        counted += [found.false_alarms, found.false_improvements, found.undecided]
        lines.append(f"| {small:.2%} | " + " | ".join(f"{of.k} of {of.n}" for of in counted) + " |")
    return lines


def decided_again(record: dict, thresholds: Thresholds) -> dict:
    """Return the record with the intervals that today's rules make of its ratios, in its own looks."""
    samples = record["samples"]
    values = {name: dict(enumerate(of, start=1)) for name, of in samples["log_ratios"].items() if of}
    family = groups.of_cells(record["case"]["identity"]["cells"])
    comparisons = len(record["case"]["identity"]["cells"]) + len(family)
    found = decide.decide(values, samples["looks"], thresholds, comparisons, final=samples["final"])
    cells = {
        name: [of.verdict, of.ratio.value, of.ratio.low, of.ratio.high, of.processes] for name, of in found.items()
    }
    return {**record, "samples": {**samples, "cells": cells}}


def biases(records: Sequence[dict]) -> dict[str, tuple[float, float]]:
    """Return for each backend how far two builds of the same code lie apart in a cell, whatever the process.

    For each cell it is the mean square over tables of the mean log ratio, less what the spread within tables explains
    of it: returned are its root over cells, and the largest of a cell. A difference that all tables share counts, too.
    Cells without a slowdown alone.
    """
    means, errors = defaultdict(list), defaultdict(list)
    for record in records:
        for name, logs in record["samples"]["log_ratios"].items():
            if name not in record["case"]["planted"] and len(logs) > 1:
                means[name].append(float(np.mean(logs)))
                errors[name].append(float(np.var(logs, ddof=1)) / len(logs))
    variances = defaultdict(list)
    for name in means:
        variances[name.split("/")[1]].append(np.mean(np.square(means[name])) - np.mean(errors[name]))
    return {backend: (math.sqrt(max(0.0, np.mean(of))), math.sqrt(max(0.0, *of))) for backend, of in variances.items()}


def design_effect(records: Sequence[dict]) -> float:
    """Return how much more the number of undecided cells varies over A/A tables than if cells were independent."""
    counts = [
        list(self_check_rates.verdicts(table).values())
        for table in self_check_rates.typed(records)
        if not table.case.injected
    ]
    undecided = np.array([of.count(decide.UNDECIDED) for of in counts])
    cells = np.mean([len(of) for of in counts])
    share = undecided.mean() / cells
    return float(undecided.var(ddof=1) / (cells * share * (1 - share)))


def sizes(records: Sequence[dict]) -> list[str]:
    """Return what each label was measured as, and what was found of cells by their measured size, as Markdown."""
    lines = ["| injected as | measured, mean | from | to | cells |", "|---:|---:|---:|---:|---:|"]
    measured: dict[float, list[float]] = defaultdict(list)
    for record in records:
        for name, share in record["case"]["planted"].items():
            size = math.expm1(float(np.mean(record["samples"]["log_ratios"][name])))
            measured[share].append(size)
    for share, of in sorted(measured.items()):
        lines.append(f"| {100 * share:g}% | {np.mean(of):.2%} | {min(of):.2%} | {max(of):.2%} | {len(of)} |")
    lines += ["", "| measured size | found | at least (95 %) |", "|---|---:|---:|"]
    for size, rate in self_check_rates.by_size(records).items():
        lines.append(f"| {size} | {rate.k} of {rate.n} | {rate.at_least:.0%} |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RECORDS, help="a folder of self-check records")
    parser.add_argument("--decide", action="store_true", help="compute the intervals anew from the recorded ratios")
    arguments = parser.parse_args()
    records = results.read_records(arguments.records, kinds.SELF_CHECK.what).good
    print(*table(records, again=arguments.decide), "", *sizes(records), "", sep="\n")
    for backend, (deviation, largest) in biases(records).items():
        print(f"{backend}: two builds of one version differ by {deviation:.3%} (standard deviation), {largest:.3%} in "
              "the cell where most")  # fmt: skip
    print(f"undecided cells of one table depend on each other: a design effect of {design_effect(records):.1f}")


if __name__ == "__main__":
    main()
