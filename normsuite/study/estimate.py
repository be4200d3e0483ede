"""Estimate how long a study will take, from some steps of it, done now, and which differences it will find."""

import math
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from statistics import median

import torch

from ..errors import ArgumentError
from ..machine import device
from ..machine.device import synchronize
from ..records import provenance, results
from . import comparisons, conditions, train
from .sweep import usual
from .train import Run

_STEPS = 12
_TESTED = 10_000
_METRIC = "test accuracy"


@dataclass(frozen=True)
class Estimate:
    """The expected time and power of a study.

    Attributes:
        runs, seconds: of all runs, those that are recorded included, on that many processes of one thread.
        effect: least difference between two norms that is found with 80 % power, in deviations of paired differences.
        deviation: of the paired differences in test accuracy, the largest of all pairs that have been recorded; None
            where there are none.
    """

    runs: int
    processes: int
    seconds: float
    effect: float
    deviation: float | None

    @property
    def difference(self) -> float | None:
        """Return the same difference in test accuracy."""
        return None if self.deviation is None else self.effect * self.deviation


def estimate(runs: Sequence[Run], recorded: Sequence[dict], processes: int | None = None) -> Estimate:
    """Estimate the time of a study, by timing a few steps of every norm and batch size on random digits and one thread.

    Args:
        runs: of a plan.
        recorded: earlier records, for the deviation.
        processes: as many as a sweep takes where left out.

    Raises:
        ArgumentError: a device that is not there, fewer than one process, or batches too large for the schedule.
    """
    if processes is not None and processes < 1:
        raise ArgumentError("workers", processes, "must be at least 1")
    for name in dict.fromkeys(run.device for run in runs):
        device.check(name)
    processes = processes or usual(runs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cost: dict[tuple, tuple[float, float]] = {}
        total = 0.0
        for run in runs:
            made = run.num_groups, run.affine, run.l1 > 0, run.augment, run.backend, run.device
            kind = run.norm, run.batch_size, *made
            if kind not in cost:
                cost[kind] = _timed(run)
            step, test = cost[kind]
            total += train.steps(run) * step + run.epochs * test * (run.hold_out or _TESTED)
    finally:
        torch.set_num_threads(threads)
    seeds, norms = len({run.seed for run in runs}), len({run.norm for run in runs})
    effect = comparisons.detectable(seeds, norms)
    return Estimate(len(runs), processes, total / min(processes, len(runs)), effect, deviation(runs, recorded))


def deviation(runs: Sequence[Run], records: Sequence[dict]) -> float | None:
    """Return the largest deviation of paired differences in test accuracy between two norms.

    Only records with the planned settings count, with any seeds, those of one machine and source at a time: other
    settings spread in other ways.
    """
    planned = {_kind(run.as_dict()) for run in runs}
    studies: dict[str, list[dict]] = {}
    for record in records:
        if _kind(record["case"]) in planned:
            made = [conditions.condition(record), provenance.decisive(record["environment"]), record.get("source")]
            studies.setdefault(results.digest(made), []).append(record)
    found = [
        pair.found.deviation
        for study in studies.values()
        if "learning_rate" not in conditions.varied(study)  # else one of several is in the way of the others
        for pair in comparisons.pairs(study, [_METRIC])
        if math.isfinite(pair.found.deviation)
    ]
    return max(found, default=None)


def _kind(case: dict) -> str:
    """Return a digest of a run's settings but for its seed."""
    return results.digest({name: value for name, value in case.items() if name != "seed"})


def _timed(run: Run) -> tuple[float, float]:
    """Return the seconds of a training step, and of testing one digit: the median of a few."""
    images = torch.randn(run.batch_size, 1, 28, 28, device=run.device)
    target = torch.randint(10, (run.batch_size,), device=run.device)
    with redirect_stdout(sys.stderr):  # what a target prints is no result
        step = train.stepper(run, images, target)
        network, tested = run.network().to(run.device), torch.randn(500, 1, 28, 28, device=run.device)
        step(), train.predict(network, tested)
        testing = _median(lambda: train.predict(network, tested), 3, run.device) / len(tested)
        return _median(step, _STEPS, run.device), testing


def _median(call, times: int, device: str) -> float:
    found = []
    for _ in range(times):
        synchronize(device)
        begun = time.perf_counter()
        call()
        synchronize(device)
        found.append(time.perf_counter() - begun)
    return median(found)
