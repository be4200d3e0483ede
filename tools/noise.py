"""Measure how much of a cell's noise belongs to a block of samples and how much to a process.

A version is compared with itself, in fresh processes one after the other. Each measures every cell in several runs,
whose places in the process are drawn. Messages go to a file, one line a process, and later runs add to it; what all of
them say is printed. `normsuite.gate.budget.ALIKE` follows from it.

    python -m tools.noise --processes 6 --out noise.jsonl
"""

import argparse
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from scipy import stats

from normsuite.gate import trees, turns
from normsuite.gate.cells import modules_of
from normsuite.gate.starts import Starts
from normsuite.measure import own_workloads

from .injected_commits import SOURCE

RUNS, BLOCKS, LONGEST_S = 4, 20, 1.0
SHORT_S = 50e-6
"""Calls below this are short: where their code and tensors lie decides more of their time."""


class Noise(NamedTuple):
    """The noise of one cell.

    Attributes:
        call_s: median time of a call, in seconds.
        block: standard deviation of a block's logarithm, by the spread of runs within a process. A run is a trimmed
            mean of its blocks, so that outliers count less than in the deviation of single blocks.
        f: mean square between processes over that within them; 1 where a process has no noise of its own.
    """

    call_s: float
    block: float
    f: float


def noise_of(logs: np.ndarray, blocks: float, call_s: float) -> Noise:
    """Return the noise of a cell by a one-way analysis of variance.

    Args:
        logs: (processes, runs), at least two of each: the logarithm of a ratio, of each run.
        blocks: of each run.
        call_s: time of a call, in seconds.
    """
    within = logs.var(axis=1, ddof=1).mean()
    between = logs.shape[1] * logs.mean(axis=1).var(ddof=1)
    return Noise(call_s, math.sqrt(blocks * within), float(between / within))


def share(found: Sequence[Noise], processes: int, runs: int) -> tuple[float, float, float]:
    """Return the variance of processes over that of a run, with a 95 % interval that takes cells as independent.

    E[F] = (1 + runs · share) · d / (d − 2), with d = processes · (runs − 1) degrees of freedom within processes. The
    share is cut off at 0.
    """
    freedom = processes * (runs - 1)
    f = np.array([of.f for of in found]) * (freedom - 2) / freedom
    half = stats.t.ppf(0.975, len(f) - 1) * f.std(ddof=1) / math.sqrt(len(f)) if len(f) > 1 else math.inf
    low, value, high = (max(0.0, (mean - 1) / runs) for mean in (f.mean() - half, f.mean(), f.mean() + half))
    return value, low, high


def cells(lines: Sequence[dict]) -> Iterator[tuple[np.ndarray, float, float]]:
    """Yield of each cell the logarithms (processes, runs), the blocks of a run and the seconds of a call."""
    for name in lines[0]:
        runs = [of[name] for of in lines]
        logs = np.array([[run["log_ratio"] for run in of] for of in runs])
        blocks, seconds = (median(run[key] for of in runs for run in of) for key in ("blocks", "base_s"))
        yield logs, blocks, seconds


def said(lines: Sequence[dict]) -> list[str]:
    """Return lines on the noise of short and of longer calls.

    Args:
        lines: of each process, by the name of a cell, the messages on its runs.
    """
    found = [(noise_of(*cell), cell[0].shape, cell[1]) for cell in cells(lines)]
    texts = [f"{len(lines)} processes, {len(found)} cells"]
    for name, of in (
        (f"calls of less than {SHORT_S * 1e6:.0f} us", [each for each in found if each[0].call_s < SHORT_S]),
        (f"calls of {SHORT_S * 1e6:.0f} us and more", [each for each in found if each[0].call_s >= SHORT_S]),
    ):
        if not of:
            continue
        noises, (processes, runs), blocks = [each[0] for each in of], of[0][1], median(each[2] for each in of)
        value, low, high = share(noises, processes, runs)
        deviations = np.quantile([each.block for each in noises], (0.1, 0.5, 0.9))
        process_deviation = median(each.block for each in noises) * math.sqrt(value / blocks)
        alike = [f"{blocks / ratio:.0f}" if ratio else "any number of" for ratio in (high, value, low)]
        texts.append(
            f"{name} ({len(of)} cells): a block deviates by {deviations[1]:.2%} in the median, {deviations[0]:.2%} to "
            f"{deviations[2]:.2%} in eight of ten cells; a process by {process_deviation:.2%} beside its blocks, as "
            f"much as the mean of {alike[1]} blocks [{alike[0]}, {alike[2]}]"
        )
    return texts


def measure(tree: trees.Tree, table: Sequence, threads: int, runs: int, starts: Starts, number: int) -> dict:
    """Return for each cell the messages of its runs in one fresh process."""
    job = turns.Job(
        {
            "sides": {side: str(tree.folder) for side in ("base", "head")},
            "packages": list(tree.packages),
            "modules": sorted({module for cell in table for module in modules_of(cell)}),
            "cells": [cell.as_dict() for cell in table] * runs,
            "added": [0] * len(table) * runs,
            "count": False,
            "blocks": BLOCKS,
            "longest_s": LONGEST_S,
            "threads": threads,
            "number": number,
        }
    )
    turns.take([job], starts.start)
    if job.died is not None:
        raise job.died
    places = {cell.name: range(at, len(table) * runs, len(table)) for at, cell in enumerate(table)}
    return {name: [_kept(job.found[place]) for place in of] for name, of in places.items()}


def _kept(message: Mapping) -> dict:
    return {name: message[name] for name in ("log_ratio", "base_s", "blocks")}


def main() -> None:
    """Measure in fresh processes, store what each found, and print what all say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of {BLOCKS} blocks, of each cell in a process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], help="pattern of the gate's cells")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.processes < 2 or given.runs < 2:
        parser.error("two processes and two runs at least: with one there is no spread")
    tree = trees.of_commit("HEAD", argument="base", repository=Path(), source=SOURCE)
    table, draw = own_workloads.plan(only=given.only), random.Random()
    for _ in range(given.processes):
        number = draw.getrandbits(32)
        with Starts(given.threads, draw, forked=False) as starts:
            found = measure(tree, table, given.threads, given.runs, starts, number)
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    print("\n".join(said([json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()])))


if __name__ == "__main__":
    main()
