"""The order of commits: by ancestry along the branch where the repository is at hand; by date elsewhere.

A branch is the line of first parents from its tip. What a merge brought in lies beside that line, however its dates lie
between the others': the merge stands for it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from ..presentation.text import counted
from .commits import Commits

_TIPS = ("HEAD", "refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master", "refs/remotes/origin/main")
_MOST_TIPS = 16


@dataclass(frozen=True)
class Order:
    """The places of commits along the branch.

    Attributes:
        places: of the commits of the branch, from 0 on, oldest first.
        notes: what was decided otherwise than by ancestry, or left out.
    """

    places: dict[str, int]
    notes: list[str] = field(default_factory=list)


def order(dates: Mapping[str, float | None], commits: Commits | None) -> Order:
    """Return the order of those commits.

    Args:
        dates: of each commit that was measured, by its hash; seconds since 1970.
        commits: of the repository, where one is at hand; where none is named, dates decide, without a note.
    """
    line, merged, elsewhere = _line(list(dates), commits) if commits is not None and dates else ([], set(), set())
    notes = []
    if len(merged):
        notes.append(
            f"{counted(len(merged), 'commit')} came in by merges: each merge is shown once, by its own commit or, "
            "where that was not measured, by the last measured one that it brought in"
        )
    if elsewhere:
        notes.append(
            f"{counted(len(elsewhere), 'commit')} of other branches, which were not merged: left out of the history"
        )
    known = {*line, *merged, *elsewhere}
    dated = {commit: date for commit, date in dates.items() if commit not in known and date is not None}
    if undated := len(dates) - len(known) - len(dated):
        notes.append(f"{counted(undated, 'commit')} without a date, which no repository here knows either: left out")
    if dated and commits is not None:
        which = "them" if len(dated) > 1 else "it"
        notes.append(
            f"{counted(len(dated), 'commit')} placed by date alone, since the repository here does not have {which} "
            "(--repository names another)"
        )
    times = Counter(dated.values())
    if alike := sum(count for count in times.values() if count > 1):
        notes.append(f"{counted(alike, 'commit')} share a date with another, so that their order is not known")
    by_date = dict(sorted(dated.items(), key=lambda of: (of[1], of[0])))
    return Order({commit: place for place, commit in enumerate(_placed(line, by_date, dates))}, notes)


def _placed(line: list[str], by_date: Mapping[str, float], dates: Mapping[str, float | None]) -> list[str]:
    """Return the line of commits with the others inserted by date, each behind the last commit that is no younger.

    Where the dates of the line descend, the latest so far counts.
    """
    if not line:
        return list(by_date)
    latest = list(accumulate((dates[commit] or 0.0 for commit in line), max))
    found: list[list[str]] = [[] for _ in range(len(line) + 1)]
    for commit, date in by_date.items():
        found[bisect_right(latest, date)].append(commit)
    return [*found[0], *(each for place, commit in enumerate(line) for each in (commit, *found[place + 1]))]


def _line(measured: list[str], commits: Commits) -> tuple[list[str], set[str], set[str]]:
    """Return the measured commits of the branch, oldest first; those that merges brought in; and the others.

    The branch is the checked-out or the default one, whichever has more of what was measured; or the measured commit
    with the most measured ancestors.
    """
    there = _existing(measured, commits)
    if not there:
        return [], set(), set()
    tips = [tip for name in _TIPS if (tip := commits.said("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))]
    listed = commits.said(
        "rev-list", "--topo-order", "--parents", "--stdin", given=[*dict.fromkeys(tips), *sorted(there)]
    )
    if listed is None:
        return [], set(), set()
    parents = {commit: of for commit, *of in map(str.split, listed.splitlines())}
    inner = {parent for of in parents.values() for parent in of}
    heads = [commit for commit in parents if commit in there and commit not in inner]  # in one order
    best, reached = [], -1
    for tip in dict.fromkeys([*tips, *heads[:_MOST_TIPS]]):
        count = len(there & _ancestors([tip], parents, set()))
        if count > reached:
            best, reached = _chain(tip, parents), count
    by_commit: dict[str, str] = {}
    seen: set[str] = set()
    for commit in best:  # oldest first: ancestors that no earlier commit has were merged by this one
        for of in _ancestors([commit], parents, seen):
            by_commit[of] = commit
    line: list[str] = []
    merged: set[str] = set()
    of_merge: dict[str, list[str]] = {}
    for commit in there & by_commit.keys():
        of_merge.setdefault(by_commit[commit], []).append(commit)
    youngest = {commit: place for place, commit in enumerate(parents)}  # topological: the youngest first
    for commit in best:
        if commit in of_merge:
            # Where the merge itself was not measured, what it brought in last stands in its place.
            stands = commit if commit in there else min(of_merge[commit], key=youngest.__getitem__)
            line.append(stands)
            merged |= {each for each in of_merge[commit] if each != stands}
    return line, merged, {commit for commit in there if commit not in by_commit}


def _existing(measured: list[str], commits: Commits) -> set[str]:
    """Return those that are commits of the repository."""
    said = commits.said("cat-file", "--batch-check=%(objectname) %(objecttype)", given=measured)
    found = (line.split() for line in (said or "").splitlines())
    return {of[0] for of in found if len(of) == 2 and of[1] == "commit"} & set(measured)


def _chain(tip: str, parents: Mapping[str, list[str]]) -> list[str]:
    """Return the commits from the first one to the tip along first parents."""
    chain: list[str] = []
    at: str | None = tip
    while at is not None and at in parents:
        chain.append(at)
        at = next(iter(parents[at]), None)
    return chain[::-1]


def _ancestors(starts: Iterable[str], parents: Mapping[str, list[str]], seen: set[str]) -> set[str]:
    """Return the commits and all their ancestors that are not in `seen` yet, and add them to it."""
    found, waiting = set(), [start for start in starts if start not in seen]
    while waiting:
        commit = waiting.pop()
        if commit in seen or commit not in parents:
            continue
        seen.add(commit)
        found.add(commit)
        waiting += parents[commit]
    return found
