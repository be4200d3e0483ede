"""The certainty of each norm's learning rate, chosen by the runs on held-out digits. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..statistics import CONFIDENCE, Interval, mean_interval, share_interval


@dataclass(frozen=True)
class Choice:
    """The learning rate that a norm was given, and the one that came next.

    Attributes:
        rate, next_rate: of the highest mean accuracy, and of the highest but one.
        seeds: how many both were tried with.
        accuracy: with the first.
        difference: first − next, paired by seed, with an interval that holds together with those of all norms.
    """

    norm: str
    rate: float
    next_rate: float
    seeds: int
    accuracy: Interval
    difference: Interval

    @property
    def is_certain(self) -> bool:
        """Return whether the first is better, whatever seeds one happens to draw."""
        return self.difference.low > 0


def choices(records: Sequence[dict]) -> list[Choice]:
    """Return the choice for each norm that was tried with two learning rates or more.

    Args:
        records: of runs that differ in norm, seed and learning rate alone.
    """
    tried: dict[str, dict[float, dict[int, float]]] = {}
    for record in records:
        case, accuracy = record["case"], float(record["samples"]["epochs"][-1]["test_accuracy"])
        tried.setdefault(case["norm"], {}).setdefault(case["learning_rate"], {})[case["seed"]] = accuracy
    several = {norm: of_rate for norm, of_rate in tried.items() if len(of_rate) > 1}
    found = []
    for norm, of_rate in several.items():
        first, second = sorted(of_rate, key=lambda rate: -sum(of_rate[rate].values()) / len(of_rate[rate]))[:2]
        seeds = sorted(of_rate[first].keys() & of_rate[second].keys())
        if seeds:
            differences = [of_rate[first][seed] - of_rate[second][seed] for seed in seeds]
            difference = mean_interval(differences, 1 - (1 - CONFIDENCE) / len(several))
            of_first = share_interval(list(of_rate[first].values()))
            found.append(Choice(norm, first, second, len(seeds), of_first, difference))
    return found
