"""Simulate how often a bench's intervals hold where some processes are slow: `python -m tools.simulate_bench`.

Benches of `TASKS` tasks, whose true ratios are 1, are judged by the bench's own functions. Processes differ by normal
noise; in slow ones a ratio is up by `SLOWER` beside it, never down:

- quiet: no process is slow
- slow tasks: one value in ten is slow, whatever its process
- slow processes: one process in ten is slow in all tasks
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from normsuite.bench.row import corrected
from normsuite.statistics import clipped, geometric_mean_interval, ratio_interval

from . import simulations

WHAT, KEYS = "bench", ("noise", "processes")
TASKS, DEVIATION, SLOWER, SHARE = 268, 0.02, 0.2, 0.1
KINDS = ("quiet", "slow tasks", "slow processes")
PROCESSES = (4, 6, 10)


def logs(kind: str, processes: int, draw: np.random.Generator) -> np.ndarray:
    """Return the logarithms of ratios that are truly 1, of shape (tasks, processes)."""
    noise = DEVIATION * np.sqrt(10 / draw.chisquare(10, (TASKS, 1))) * draw.standard_normal((TASKS, processes))
    slow = draw.random((1 if kind == "slow processes" else TASKS, processes)) < SHARE
    return noise if kind == "quiet" else noise + math.log1p(SLOWER) * slow


def row(kind: str, processes: int, benches: int, seed: int) -> dict:
    """Return how often intervals of single tasks, those of all tasks together, and those of the mean hold 1."""
    draw = np.random.default_rng(seed)
    single = together = mean = 0
    for _ in range(benches):
        found = logs(kind, processes, draw)
        ratios = [ratio_interval(clipped(of)) for of in found.tolist()]
        single += sum(of.low <= 1 <= of.high for of in ratios)
        together += all(of.low <= 1 <= of.high for of in corrected(found.tolist()))
        of_all = geometric_mean_interval(found.tolist())
        mean += of_all.low <= 1 <= of_all.high
    return {
        "what": WHAT, "noise": kind, "processes": processes, "benches": benches, "seed": seed,
        "single": round(single / (benches * TASKS), 4), "together": together, "mean": mean,
    }  # fmt: skip


def table(rows: Sequence[dict]) -> list[str]:
    """Return the coverage as Markdown."""
    lines = [
        "| noise | processes | the interval of a task holds its ratio | all corrected intervals do | "
        "the interval of the mean does |",
        "|---|---:|---:|---:|---:|",
    ]
    for of in rows:
        counts = (f"{of[what]} of {of['benches']}" for what in ("together", "mean"))
        lines.append(f"| {of['noise']} | {of['processes']} | {of['single']:.1%} | {' | '.join(counts)} |")
    return lines


def main() -> None:
    """Simulate each kind of noise with several numbers of processes, and print what held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="add the outcomes to this file")
    given = parser.parse_args()
    made = (row(kind, processes, given.benches, given.seed) for kind in KINDS for processes in PROCESSES)
    print("\n".join(table([simulations.kept_in(given.out, of) for of in made])))


if __name__ == "__main__":
    main()
