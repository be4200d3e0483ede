"""Rows of asv's files brought to one list of parameters for each benchmark, by what a choice is called.

A benchmark's list of parameters changes over commits. Choices that `benchmarks.json` lists form one list; all earlier
ones form another, whose results are `former`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..files.reading import first_of
from ..presentation.text import counted
from .files import File, Listed, SeriesRow, shown

VERSION = "benchmark version"
"""The name of a benchmark's version in a setting, where it is not the one that is listed."""

Choice = tuple
"""A choice of parameters: (name, value) of each in the order of names, then a number from 1 that tells equals apart."""


@dataclass
class Aligned:
    """One row, by the places of its benchmark's choices.

    Attributes:
        parameters: of each choice; one object for all rows of the benchmark, former ones another.
        places: of each choice in the row, None where the row lacks it; or None, where the row has the choices in order.
        former: its choices, or its version of the benchmark, are no longer listed.
    """

    file: File
    row: SeriesRow
    parameters: list[dict[str, str]]
    places: list[int | None] | None
    former: bool

    def of(self, found: Sequence, fill: object) -> tuple:
        """Return the row's values in the order of the choices; `fill` where it has none."""
        if self.places is None:
            return tuple(found)
        places = itertools.chain(self.places, itertools.repeat(None, len(self.parameters) - len(self.places)))
        return tuple(fill if place is None else found[place] for place in places)


@dataclass(frozen=True)
class _Plan:
    """The treatment of rows of one list of parameters."""

    same: bool
    listed: list[int | None]
    former: list[int | None]


def aligned(read: Sequence[File], listed: dict[str, Listed]) -> tuple[list[Aligned], list[str]]:
    """Return the rows of those files, in their order, and what was left out or stands apart."""
    now = {name: _choices(of, of.params) for name, of in listed.items()}
    parameters = {name: list(map(_as_dict, of)) for name, of in now.items()}
    former: dict[str, dict[Choice, int]] = {}
    former_parameters: dict[str, list[dict[str, str]]] = {}
    plans: dict[tuple, _Plan] = {}
    unlisted: dict[str, int] = {}
    outdated = dict.fromkeys((True, False), 0)
    found = []
    for file in read:
        for row in file.rows:
            name = row.benchmark
            if name not in listed:
                unlisted[name] = unlisted.get(name, 0) + 1
                continue
            old = is_old(row, listed)
            key = name, old, tuple(map(tuple, row.params))
            if key not in plans:
                before = former.setdefault(name, {})
                plans[key] = _plan(now[name], _choices(listed[name], row.params), before, old=old)
                shown_before = former_parameters.setdefault(name, [])
                shown_before += map(_as_dict, itertools.islice(before, len(shown_before), None))
            plan = plans[key]
            if plan.same or any(place is not None for place in plan.listed):
                found.append(Aligned(file, row, parameters[name], None if plan.same else plan.listed, former=False))
            if plan.former:
                found.append(Aligned(file, row, former_parameters[name], plan.former, former=True))
                outdated[old] += 1
    return found, _notes(unlisted, outdated)


def is_old(row: SeriesRow, listed: dict[str, Listed]) -> bool:
    """Return whether the row is of another version of its benchmark than the listed one."""
    return bool(row.version) and listed[row.benchmark].version not in ("", row.version)


def _notes(unlisted: dict[str, int], outdated: dict[bool, int]) -> list[str]:
    notes = []
    for old, count in outdated.items():
        if count:
            what = "another version of a benchmark" if old else "parameters that a benchmark no longer has"
            notes.append(f"{counted(count, 'result')} of {what}: shown as older segments, whose steps do not count")
    if unlisted:
        results = counted(sum(unlisted.values()), "result")
        named = first_of([shown(name) for name in unlisted])
        notes.append(f"{results} of benchmarks that benchmarks.json does not list ({named}) left out")
    return notes


def _plan(now: list[Choice], then: list[Choice], former: dict[Choice, int], *, old: bool) -> _Plan:
    """Return the place of each choice of a row; choices that are no longer listed are added to the former ones."""
    if not old and now == then:
        return _Plan(True, [], [])
    at = {choice: place for place, choice in enumerate(then)}
    listed = [None if old else at.get(choice) for choice in now]
    known = set() if old else set(now)
    left = [choice for choice in then if choice not in known]
    for choice in left:
        former.setdefault(choice, len(former))
    places: list[int | None] = [None] * (len(former) if left else 0)
    for choice in left:
        places[former[choice]] = at[choice]
    return _Plan(False, listed, places)


def _as_dict(choice: Choice) -> dict[str, str]:
    *pairs, number = choice
    found = dict(pairs)
    return found if number == 1 else {**found, "number": str(number)}


def _choices(listed: Listed, params: Sequence[Sequence[str]]) -> list[Choice]:
    """Return every choice of those parameters, in the order of the benchmark's values."""
    names = _names(listed, params)
    order = [name for name in listed.names if name in names] + [name for name in names if name not in listed.names]
    found: list[Choice] = []
    times: dict[Choice, int] = {}
    for values in itertools.product(*params):
        of = dict(zip(names, map(shown, values), strict=True))
        choice = tuple((name, of[name]) for name in order)
        times[choice] = times.get(choice, 0) + 1
        found.append((*choice, times[choice]))
    return found


def _names(listed: Listed, params: Sequence[Sequence[str]]) -> list[str]:
    """Return the name of each of those parameters, told by their values, since results do not say.

    Each has the name of the listed parameter with which it has values in common, in its own place if it can be. Where
    there are as many as are listed, what has none in common has a name that is left, in its own place if it can be.
    """
    left = dict(zip(listed.names, map(set, listed.params), strict=True))
    names: list[str | None] = [None] * len(params)
    for place, (name, values) in enumerate(zip(listed.names, params, strict=False)):
        if left[name].intersection(values):
            names[place] = name
    left = {name: of for name, of in left.items() if name not in names}
    for place, values in enumerate(params):
        if names[place] is None:
            like = next((name for name, of in left.items() if of.intersection(values)), None)
            if like is not None:
                names[place] = like
                del left[like]
    if len(params) == len(listed.names):
        for place, known in enumerate(names):
            if known is None:
                own = listed.names[place]
                chosen = own if own in left else next(iter(left))
                names[place] = chosen
                del left[chosen]
    return [name or f"former parameter {place}" for place, name in enumerate(names, start=1)]
