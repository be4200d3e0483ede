"""Series of one benchmark over commits, cut where something else than a commit changed."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .adapter import TORCH, Measurement, Result

EXACT_UNITS = ("bytes", "relative error")
"""Of what is counted or computed from seeded inputs: equal commits give equal values on equal machines."""


@dataclass(frozen=True)
class Segment:
    """One benchmark with one choice of parameters, on one machine with one torch and numba; oldest commit first.

    Attributes:
        results: in which that choice has a value, one for each commit.
        choice: the place of its parameters among theirs.
        values: of it.
        repeats: the values of each commit that was measured more than once, oldest first.
        newest: of the segments of its benchmark, parameters and machine it was measured last.
    """

    results: tuple[Result, ...]
    choice: int
    values: list[float]
    repeats: list[list[float]]
    newest: bool

    @property
    def series(self) -> str:
        """Its benchmark and parameters, as one line."""
        return " ".join([self.benchmark, *self.parameters.values()])

    @property
    def benchmark(self) -> str:
        return self.results[0].benchmark

    @property
    def parameters(self) -> dict[str, str]:
        return self.results[0].parameters[self.choice]

    @property
    def unit(self) -> str:
        return self.results[0].unit

    @property
    def machine(self) -> str:
        return self.results[0].machine

    @property
    def versions(self) -> str:
        """Of torch and numba, as far as they are known."""
        known = (("torch", self.results[0].torch), ("numba", self.results[0].numba))
        return ", ".join(f"{name} {version}" for name, version in known if version) or "torch of unknown version"

    @cached_property
    def commits(self) -> list[str]:
        return [result.commit for result in self.results]

    @property
    def measurements(self) -> list[Measurement]:
        """Its values with their samples and intervals."""
        return [result.measurement(self.choice) for result in self.results]

    @property
    def recorded(self) -> float:
        """When it was measured last, milliseconds since 1970."""
        return _recorded(self.results)

    @property
    def exact(self) -> bool:
        """Its values have no noise."""
        return self.unit in EXACT_UNITS

    @property
    def lower_is_worse(self) -> bool:
        """So it is with accuracies; asv itself takes every increase to be worse."""
        return "accuracy" in self.unit


def segments(results: Iterable[Result]) -> list[Segment]:
    """Every series in its segments, in the order of their first results.

    Another processor or number of cores, another torch, or another numba where asv recorded it, is another segment:
    across them nothing is compared.

    Args:
        results: oldest commit first, as `read` gives them; what failed or is n/a is passed over.
    """
    alike: dict[tuple, list[Result]] = {}
    choices: dict[int, tuple] = {}  # thousands of results share a few lists of them
    for result in results:
        if result.benchmark != TORCH:
            if id(result.parameters) not in choices:
                choices[id(result.parameters)] = tuple(tuple(of.values()) for of in result.parameters)
            measured_by = (result.benchmark, choices[id(result.parameters)], result.machine)
            alike.setdefault((*measured_by, result.torch, result.numba), []).append(result)
    found: dict[tuple, list[tuple[tuple[Result, ...], int, list[float], list[list[float]]]]] = {}
    for (benchmark, names, machine, *_), of in alike.items():
        values = np.array([result.values for result in of], dtype=float)  # None becomes NaN
        there = ~np.isnan(values)
        again = [result for result in of if result.earlier]
        for choice, name in enumerate(names):
            measured = tuple(itertools.compress(of, there[:, choice]))
            if measured:
                of_choice = (measured, choice, values[there[:, choice], choice].tolist(), _repeats(again, choice))
                found.setdefault((benchmark, name, machine), []).append(of_choice)
    cut = []
    for of_series in found.values():
        last = of_series[0] if len(of_series) == 1 else max(of_series, key=lambda of: _recorded(of[0]))
        cut += [Segment(*of, newest=of is last) for of in of_series]
    return cut


def _repeats(again: Iterable[Result], choice: int) -> list[list[float]]:
    measured = [[one.measurement(choice) for one in (*result.earlier, result)] for result in again]
    return [[one.value for one in of if one.measured] for of in measured]


def _recorded(results: Iterable[Result]) -> float:
    return max(result.recorded for result in results)
