"""A study's records as plain data: claims with verdicts, or, where settings vary, the accuracy under each of them.

Imports no torch.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..lesson import claims
from ..records import kinds
from ..spec import NO_NORM
from ..statistics import POWER, Interval, mean_interval, share_interval
from . import comparisons
from .conditions import varied

BATCH_COMMAND = f"{kinds.STUDY.command} --preset batch-size"


@dataclass(frozen=True)
class Study:
    """The runs of one study.

    Attributes:
        records: equal in all but norm, seed and the norm's own learning rate.
    """

    records: Sequence[dict]

    def __bool__(self) -> bool:
        return bool(self.records)

    @property
    def norms(self) -> list[str]:
        """Return the norms, in the order of all tables and charts, "none" first."""
        return comparisons.norms_of(self.records)

    @property
    def seeds(self) -> list[int]:
        """Return the seeds, in order."""
        return sorted({record["case"]["seed"] for record in self.records})

    @property
    def epochs(self) -> int:
        """Return how many epochs each run has."""
        return self.records[0]["case"]["epochs"]

    @property
    def workers(self) -> list[int | str]:
        """Return how many runs were trained side by side; older records do not say it."""
        return sorted({record.get("workers", "unknown") for record in self.records}, key=str)

    @property
    def is_timed_alike(self) -> bool:
        """Return whether seconds of the runs can be compared: as many side by side, on as many cores, as fast ones."""
        cores = {(record["environment"]["cores"], record["environment"].get("governor")) for record in self.records}
        return len(self.workers) == len(cores) == 1

    def runs(self, norm: str) -> list[dict]:
        """Return the records of one norm, by seed."""
        return sorted((r for r in self.records if r["case"]["norm"] == norm), key=lambda r: r["case"]["seed"])


def tested_on(records: Iterable[dict]) -> str:
    """Return what the runs were tested on, for "test accuracy": the test digits, or training digits held out."""
    return "held-out" if any(record["case"].get("hold_out") for record in records) else "test"


@dataclass(frozen=True)
class NormInSetting:
    """One norm under one setting: test accuracy after the last epoch, over so many seeds."""

    norm: str
    setting: tuple
    seeds: int
    accuracy: Interval
    loss: Interval


def cells(records: Sequence[dict]) -> tuple[list[str], list[NormInSetting]]:
    """Return the settings that vary, and each norm under each of them."""
    names = varied(records)
    found: dict[tuple, list[dict]] = {}
    for record in records:
        key = record["case"]["norm"], tuple(record["case"][name] for name in names)
        found.setdefault(key, []).append(record["samples"]["epochs"][-1])
    return names, [
        NormInSetting(
            norm,
            setting,
            len(last),
            share_interval([epoch["test_accuracy"] for epoch in last]),
            mean_interval([float(epoch["test_loss"]) for epoch in last]),
        )
        for (norm, setting), last in found.items()
    ]


def by_batch_size(records: Sequence[dict]) -> dict[str, dict[int, Interval]]:
    """Return by norm and batch size the test accuracy after the last epoch, with its interval over the seeds."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        of_norm = found.setdefault(record["case"]["norm"], {})
        of_norm.setdefault(record["case"]["batch_size"], []).append(record["samples"]["epochs"][-1]["test_accuracy"])
    norms = comparisons.norms_of(records)
    return {norm: {size: share_interval(shares) for size, shares in sorted(found[norm].items())} for norm in norms}


def by_setting(records: Sequence[dict], names: Sequence[str]) -> dict[tuple, list[dict]]:
    """Return the records by their values of those settings, sorted, None first."""
    found: dict[tuple, list[dict]] = {}
    for record in records:
        found.setdefault(tuple(record["case"][name] for name in names), []).append(record)
    return dict(sorted(found.items(), key=lambda item: [(value is not None, value) for value in item[0]]))


def leader(records: Sequence[dict]) -> tuple[str, list[comparisons.NormPair]]:
    """Return the norm of the highest mean accuracy under one setting, and its pairs with all others.

    "none" is never the first; it is one of the others. Pairs are as in every table: paired by seed, corrected for all
    pairs of the setting.
    """
    means = {
        norm: fmean(samples["epochs"][-1]["test_accuracy"] for samples in seeds.values())
        for norm, seeds in comparisons.by_norm(records).items()
    }
    first = max((norm for norm in means if norm != NO_NORM), key=means.__getitem__, default=NO_NORM)
    return first, comparisons.beside(comparisons.pairs(records, ["test accuracy"]), first)


def by_size(records: Sequence[dict]) -> str:
    """Return what a study of several batch sizes shows, as a caption."""
    case = records[0]["case"]
    of_size = by_setting(records, ["batch_size"]).values()
    numbers = sorted({len({record["case"]["seed"] for record in of}) for of in of_size})
    seeds = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
    digits = f"{case['train_size']:,} digits" if case.get("train_size") else "all digits"
    return f"Test accuracy by batch size: {case['epochs']} epochs of {digits}, mean over {seeds} seeds [95 % interval]"


def best(of_all: Sequence[NormInSetting]) -> dict[str, NormInSetting]:
    """Return each norm's setting of the highest mean accuracy; of equals, that of the lower loss."""
    found: dict[str, NormInSetting] = {}
    for cell in of_all:
        other = found.get(cell.norm)
        if other is None or (cell.accuracy.value, -cell.loss.value) > (other.accuracy.value, -other.loss.value):
            found[cell.norm] = cell
    return found


def as_dict(records: Sequence[dict]) -> dict:
    """Return all of it for a program; claims and verdicts come last.

    Where settings vary, norms are compared under each of them by itself; but not where one norm has several learning
    rates, which are there to choose from.
    """
    names, of_all = cells(records)
    found = {
        "runs": len(records),
        "cells": [
            {
                "norm": cell.norm,
                **dict(zip(names, cell.setting, strict=True)),
                "seeds": cell.seeds,
                "test_accuracy": _interval(cell.accuracy),
                "test_loss": _interval(cell.loss),
            }
            for cell in of_all
        ],
    }
    if not names:
        return {**found, **_compared(records)}
    found["varied"] = names
    found["best"] = {norm: dict(zip(names, cell.setting, strict=True)) for norm, cell in best(of_all).items()}
    if "learning_rate" not in names:
        found["settings"] = [
            {**dict(zip(names, setting, strict=True)), **_compared(of)}
            for setting, of in by_setting(records, names).items()
        ]
    return found


def least_difference(records: Sequence[dict]) -> tuple[int, float]:
    """Return how many seeds every norm has, and the least difference that so many find, in deviations of a pair's.

    It is NaN for one seed, which has no spread.
    """
    runs = Counter(record["case"]["norm"] for record in records)
    return min(runs.values()), comparisons.detectable(min(runs.values()), len(runs))


def detectable_sentence(effect: float) -> str:
    """Return what a study of that least difference between two norms can find, in words."""
    if not math.isfinite(effect):
        return "one seed does not distinguish norms: a difference has no spread to compare it with"
    return (
        f"a true difference between two norms is found with {100 * POWER:.0f} % power if it is at least {effect:.2f} "
        "standard deviations of the paired differences"
    )


def _compared(records: Sequence[dict]) -> dict:
    """Return what runs of one setting say: every pair of norms, epochs to the targets, and the claims."""
    seeds, effect = least_difference(records)
    return {
        "detectable": {"effect": effect, "power": POWER, "seeds": seeds},
        "comparisons": [
            {
                "metric": pair.metric,
                "left": pair.left,
                "right": pair.right,
                "seeds": pair.seeds,
                "difference": _interval(pair.found.difference),
                "effect": pair.found.effect,
                "p": pair.p,
                "p_equivalent": pair.p_equivalent,
                "margin": pair.found.margin,
                "tests": list(pair.tests),
                "collapsed": pair.collapsed,
                "verdict": pair.verdict,
            }
            for pair in comparisons.pairs(records)
        ],
        "epochs_to": [
            {
                "norm": row.norm,
                "test_accuracy": row.target,
                "epochs": list(row.reached.epochs),
                "reached": row.reached.count,
                "median": row.reached.median,
                "p_against_none": row.p,
            }
            for row in comparisons.reaching(records)
        ],
        "claims": [_claim(judged) for judged in claims.judge(records)],
    }


def _interval(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _claim(judged: claims.Judged) -> dict:
    return {
        "claim": judged.claim.key,
        "text": judged.claim.text,
        "relations": [
            {
                "metric": f.relation.metric,
                "left": f.relation.left,
                "expected": f.relation.expected,
                "right": f.relation.right,
                "seeds": f.seeds,
                "difference": f.found and f.found.difference.value,
                "low": f.found and f.found.difference.low,
                "high": f.found and f.found.difference.high,
                "confidence": f.found and f.found.confidence,
                "margin": f.found and f.found.margin,
                "tests": list(f.tests),
                "p": f.p,
                "verdict": f.verdict,
            }
            for f in judged.findings
        ],
        "verdict": judged.verdict,
    }
