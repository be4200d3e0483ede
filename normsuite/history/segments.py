"""Series of one benchmark over commits, cut where something else than a commit changed."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..measure.labels import ASV_TORCH
from .adapter import AsvResult, Measurement
from .aligned import VERSION

EXACT_UNITS = ("bytes", "relative error")
"""Units of what is counted or computed from seeded inputs: equal commits give equal values on equal machines."""

LEAST_EXACT = 4
"""Commits: of fewer, values that are equal say little of whether they have noise."""

STALE = 10
"""Commits: what was not measured for so many of them, while others of its kind were, is no newest segment."""


_ABSENT = {VERSION: "as listed"}


@dataclass(frozen=True)
class Segment:
    """One benchmark with one choice of parameters, on one machine in one setting; oldest commit first.

    Attributes:
        results: in which that choice has a value, one for each commit.
        choice: the place of its parameters among theirs.
        values: of it.
        repeats: the values of each commit that was measured more than once, oldest first.
        newest: of the segments of its benchmark, parameters and machine it was measured last, or beside the last.
        without_value_since: the first of the newest commits at which it was measured and has no value; or None.
        differing: names of what differs between the settings of the history, which `versions` therefore says.
    """

    results: tuple[AsvResult, ...]
    choice: int
    values: list[float]
    repeats: list[list[float]]
    newest: bool
    differing: tuple[str, ...] = ()
    without_value_since: str | None = None

    @property
    def series(self) -> str:
        """Return its benchmark and parameters, as one line."""
        return " ".join([self.benchmark, *self.parameters.values()])

    @property
    def benchmark(self) -> str:
        """Return the benchmark's name."""
        return self.results[0].benchmark

    @property
    def parameters(self) -> dict[str, str]:
        """Return the benchmark's parameters by name, as chosen."""
        return self.results[0].parameters[self.choice]

    @property
    def unit(self) -> str:
        """Return the unit of the values."""
        return self.results[0].unit

    @property
    def machine(self) -> str:
        """Return the machine that all results are from."""
        return self.results[0].machine

    @property
    def versions(self) -> str:
        """Return the versions of torch and numba, as far as they are known.

        Behind them stands what else differs between the settings.
        """
        first = self.results[0]
        setting = dict(first.setting)
        known = [("torch", first.torch), ("numba", first.numba)]
        known += [(name.removeprefix("env-"), setting.get(name, _ABSENT.get(name, "none"))) for name in self.differing]
        if first.former and VERSION not in self.differing:
            known.append((VERSION, setting[VERSION]) if VERSION in setting else ("former", "parameters"))
        said = ", ".join(f"{name} {version}" for name, version in known if version)
        return said or (f"python {setting['python']}" if "python" in setting else "unknown versions")

    @cached_property
    def commits(self) -> list[str]:
        """Return the commit of each value."""
        return [result.commit for result in self.results]

    @property
    def measurements(self) -> list[Measurement]:
        """Return its values with their samples and intervals."""
        return [result.measurement(self.choice) for result in self.results]

    @property
    def recorded(self) -> float:
        """Return when it was measured last, in milliseconds since 1970."""
        return _recorded(self.results)

    @cached_property
    def exact(self) -> bool:
        """Return whether its values have no noise: they are counts, or were the same whenever they were measured again.

        That is, a commit measured again gave the same value, and neighbours are equal but for a few steps.
        Times are never equal over commits. Of few commits, the unit says what is counted, unless they contradict it.
        """
        if any(len(set(of)) > 1 for of in self.repeats):
            return False
        if any(len(set(result.samples[self.choice])) > 1 for result in self.results):
            return False
        equal = sum(before == after for before, after in itertools.pairwise(self.values))
        steps = len(self.values) - 1 - equal
        counted = self.unit in EXACT_UNITS
        if len(self.values) < LEAST_EXACT:
            return counted
        # Noise on a coarse scale, where neighbours often agree by chance, comes back to the same values.
        return not _swings(self.values) and (equal >= 3 * steps or (counted and equal >= steps / 2))

    @property
    def lower_is_worse(self) -> bool:
        """Return whether a lower value is worse, as of accuracies; asv itself takes every increase to be worse."""
        return "accuracy" in self.unit


def segments(results: Iterable[AsvResult]) -> list[Segment]:
    """Return every series in its segments, in the order of their first results.

    Another processor or number of cores, torch, numba, Python, requirement, variable or version of the benchmark is
    another segment: across them nothing is compared. Several that were measured side by side are all newest ones;
    those whose parameters or version a benchmark no longer has never are.

    Args:
        results: oldest commit first, as `read` gives them; what failed or is n/a is passed over.
    """
    alike: dict[tuple, list[AsvResult]] = {}
    choices: dict[int, tuple] = {}  # thousands of results share a few lists of them
    for result in results:
        if result.benchmark != ASV_TORCH and result.place >= 0:
            if id(result.parameters) not in choices:
                choices[id(result.parameters)] = tuple(tuple(of.values()) for of in result.parameters)
            measured_by = (result.benchmark, choices[id(result.parameters)], result.machine)
            alike.setdefault((*measured_by, result.torch, result.numba, result.setting), []).append(result)
    found: dict[tuple, list[tuple[tuple[AsvResult, ...], int, list[float], list[list[float]], str | None]]] = {}
    for (benchmark, names, machine, *_), of in alike.items():
        values = np.array([result.values for result in of], dtype=float)  # None becomes NaN
        there = ~np.isnan(values)
        again = [result for result in of if result.earlier]
        for choice, name in enumerate(names):
            measured = tuple(itertools.compress(of, there[:, choice]))
            if measured:
                missing = int(there[::-1, choice].argmax())
                gone = of[-missing].commit if missing else None
                of_choice = (measured, choice, values[there[:, choice], choice].tolist(), _repeats(again, choice), gone)
                found.setdefault((benchmark, name, machine), []).append(of_choice)
    differing = _differing(of for (*_, of) in alike)
    cut = []
    for of_series in found.values():
        now = _newest([of[0] for of in of_series])
        cut += [
            Segment(results, choice, values, repeats, any(results is one for one in now), differing, gone)
            for results, choice, values, repeats, gone in of_series
        ]
    return cut


def _differing(settings: Iterable[tuple[tuple[str, str], ...]]) -> tuple[str, ...]:
    """Return the names of the settings in which these differ."""
    known = [dict(of) for of in dict.fromkeys(settings)]
    names = dict.fromkeys(itertools.chain.from_iterable(known))
    return tuple(name for name in names if len({of.get(name) for of in known}) > 1)


def _newest(of_series: list[tuple[AsvResult, ...]]) -> list[tuple[AsvResult, ...]]:
    """Return, of one series' segments, the one that was measured last, and those that were measured alongside it."""
    current = [results for results in of_series if not results[0].former]
    if len(current) < 2:
        return current
    last = max(current, key=lambda results: (_recorded(results), results[-1].place))
    begun = min(result.recorded for result in last)
    places = np.array([result.place for result in last])
    return [
        results
        for results in current
        if results is last or (_recorded(results) > begun and (places > results[-1].place).sum() < STALE)
    ]


def _swings(values: Sequence[float]) -> bool:
    """Return whether a value comes back after another, again and again, as noise on a coarse scale does."""
    runs = [value for value, _ in itertools.groupby(values)]
    return sum(value in runs[:place] for place, value in enumerate(runs)) > 1


def _repeats(again: Iterable[AsvResult], choice: int) -> list[list[float]]:
    measured = [[one.measurement(choice) for one in (*result.earlier, result)] for result in again]
    return [[one.number for one in of if one.measured] for of in measured]


def _recorded(results: Iterable[AsvResult]) -> float:
    return max(result.recorded for result in results)
