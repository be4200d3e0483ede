"""How well two versions learn: each trains its own small network on its own digits, with the same seeds.

A run is what asv tracks too: one short epoch on MNIST, in a process of one thread. No time is taken, so that there is a
run on each core.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

import torch

from .. import results
from ..errors import ArgumentError
from ..study import workers
from . import sides
from .sides import SIDES
from .trees import Tree

TRAIN_SIZE, BATCH_SIZE = 9_600, 48
"""200 steps: with half as many the norms that start slowly are still at chance."""

MARGIN = 0.005
SEEDS = 10


def measure(
    trees: dict[str, Tree], norms: Sequence[str], seeds: int, on_run: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, dict]:
    """For each norm the error rates of "base" and of "head", one for each seed, or under "absent" the reasons.

    Args:
        trees: of the two sides.
        norms: names.
        seeds: how many.
        on_run: told how many runs of how many are done.

    Raises:
        ArgumentError: fewer than two seeds.
    """
    if seeds < 2:
        raise ArgumentError("seeds", seeds, "must be at least 2, since one says nothing of the spread")
    found: dict[str, dict] = {norm: {} for norm in norms}
    cores = results.usable_cores()
    with workers.pool(cores, lambda steps: None) as (executor, _):
        futures = {
            executor.submit(_train, str(trees[side].folder), side, norm, seed): (norm, side, seed)
            for norm in norms
            for seed in range(seeds)
            for side in SIDES
        }
        for done, future in enumerate(as_completed(futures), start=1):
            norm, side, seed = futures[future]
            try:
                rate, reason = future.result()
            except BrokenProcessPool:  # what was timed is kept all the same
                rate, reason = None, "not measured: a process that trained was killed"
            if reason is None:
                found[norm].setdefault(side, {})[seed] = rate
            else:
                found[norm].setdefault("absent", {})[side] = reason
            on_run(done, len(futures))
    for of in found.values():
        for side in of.keys() & set(SIDES):
            of[side] = [of[side][seed] for seed in sorted(of[side])]
        for side in of.get("absent", {}):
            of.pop(side, None)
    return found


def _train(folder: str, side: str, norm: str, seed: int) -> tuple[float | None, str | None]:
    """The share of the test digits that are wrong, or why there is none."""
    torch.set_num_threads(1)
    try:
        package = _loaded(folder, side)
        if norm not in package.NORMS:
            return None, f"has no norm {norm}"
        run = package.study.train.Run(norm, seed, epochs=1, train_size=TRAIN_SIZE, batch_size=BATCH_SIZE)
        return 1 - package.study.train.train(run, _digits(folder, side)).epochs[-1].test_accuracy, None
    except Exception as error:  # of that version: a version before the study is one of them
        return None, f"fails with {type(error).__name__} ({' '.join(str(error).split())[:200]})"


@cache
def _loaded(folder: str, side: str):
    return sides.load(Path(folder), side, "study.digits", "study.train")


@cache
def _digits(folder: str, side: str):
    return _loaded(folder, side).study.digits.load()
