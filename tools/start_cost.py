"""Measure what a gate's process costs before its first sample, and how far its values spread, forked and fresh.

A version is compared with itself, in rounds: each starts one parent and as many forked processes as fresh ones, which
come first in every other round. Records go to a file, one line a round, and later runs add to it.

    python -m tools.start_cost --rounds 8 --processes 12 --out starts.jsonl
"""

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from normsuite import statistics
from normsuite.gate import trees, turns
from normsuite.gate.cells import modules_of
from normsuite.gate.starts import Starts
from normsuite.measure import own_workloads, process
from normsuite.records import provenance

from .injected_commits import SOURCE

WAYS = FORKED, FRESH = "forked", "fresh"
NAMES = {FORKED: "forked", FRESH: "new"}
BLOCKS, LONGEST_S = 120, 0.1


def measure(way: str, count: int, together: int, threads: int, tree: trees.Tree, table: Sequence, draw) -> dict:
    """Return the seconds until processes could take times, by batch, and each cell's log ratio in each process."""
    jobs = [
        turns.Job(
            {
                "sides": {side: str(tree.folder) for side in ("base", "head")},
                "packages": list(tree.packages),
                "modules": sorted({module for cell in table for module in modules_of(cell)}),
                "cells": [cell.as_dict() for cell in table],
                "added": [0] * len(table),
                "count": False,
                "blocks": BLOCKS,
                "longest_s": LONGEST_S,
                "threads": threads,
                "number": draw.getrandbits(32),
            }
        )
        for _ in range(count)
    ]
    seconds: list[float] = []
    with Starts(threads, draw, forked=way == FORKED) as starts:
        for first in range(0, count, together):
            begun = time.perf_counter()
            turns.take(
                jobs[first : first + together],
                starts.start,
                on_ready=lambda begun=begun: seconds.append(time.perf_counter() - begun),
            )
    died = [job.died for job in jobs if job.died is not None]
    if died:
        raise process.Died("; ".join(map(str, died)))
    return {
        "ready_s": seconds,
        "log_ratios": {
            cell.name: [round(job.found[place]["log_ratio"], 4) for job in jobs] for place, cell in enumerate(table)
        },
    }


def rows(rounds: Sequence[dict]) -> list[tuple[str, str]]:
    """Return what is said of cost and spread, and the figures: intervals are of 95 %, over rounds."""
    shared = len(rounds[0][FORKED]["ready_s"])
    logs = [math.log(sum(of[FORKED]["ready_s"]) / sum(of[FRESH]["ready_s"])) for of in rounds]
    later = [
        math.log(np.mean(of[FORKED]["ready_s"][1:]) / np.mean(of[FRESH]["ready_s"][1:]))
        for of in rounds
        if len(of[FRESH]["ready_s"]) > 1
    ]
    found = []
    for what, of in (
        ("seconds until processes that start together can take times, without the parent's start", later),
        (f"the same with the parent's start, one for {shared} such starts", logs),
    ):
        if len(of) > 1:
            ratio = statistics.ratio_interval(of)
            found.append((f"{what}: forked / new", f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"))
    values = {way: np.array([list(of[way]["log_ratios"].values()) for of in rounds]) for way in WAYS}
    spread = {way: values[way].std(axis=(0, 2), ddof=1) for way in WAYS}
    ratios = np.log(spread[FORKED] / spread[FRESH])
    found.append(("deviation of a cell over processes, median cell: forked / new", f"{np.exp(np.median(ratios)):.2f}"))
    for way, of in values.items():
        if len(of) > 1 and of.shape[2] > 1:
            found += _agreement(way, of)
    return found


def _agreement(way: str, of: np.ndarray) -> list[tuple[str, str]]:
    """Return how far the processes of one round agree more than others, of values by round, cell and process."""
    rounds, cells, each = of.shape
    between = each * of.mean(axis=2).var(axis=0, ddof=1)
    within = of.var(axis=2, ddof=1).mean(axis=0)
    shared = (between.mean() - within.mean()) / (between.mean() + (each - 1) * within.mean())
    most = stats.f.ppf(0.95, rounds - 1, rounds * (each - 1))
    root = math.sqrt((of.mean(axis=(0, 2)) ** 2).mean())
    expected = math.sqrt((of.var(axis=(0, 2), ddof=1) / (rounds * each)).mean())
    return [
        (f"share of the variance that processes of a round have in common: {NAMES[way]}", f"{shared:.1%}"),
        (f"cells with an F above its 95 % point: {NAMES[way]}", f"{int((between / within > most).sum())} of {cells}"),
        (f"root mean square of the cells' means, and that expected of equal code: {NAMES[way]}",
         f"{root:.3%}, {expected:.3%}"),
    ]  # fmt: skip


def main() -> None:
    """Measure rounds, store each, and print what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--processes", type=int, default=4, help="of each way in a round")
    parser.add_argument("--together", type=int, default=2, help="started at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], help="pattern of the gate's cells")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tree = trees.of_commit("HEAD", argument="base", repository=Path(), source=SOURCE)
    table, draw = own_workloads.plan(only=given.only), random.Random()
    for number in range(given.rounds):
        order = WAYS if number % 2 else WAYS[::-1]
        found = {way: measure(way, given.processes, given.together, given.threads, tree, table, draw) for way in order}
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"environment": provenance.environment(threads=given.threads), **found}) + "\n")
    rounds = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()]
    print(f"{len(rounds)} rounds")
    for what, figures in rows(rounds):
        print(f"{what}: {figures}")


if __name__ == "__main__":
    main()
