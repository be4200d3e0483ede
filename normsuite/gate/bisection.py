"""The commit of a step, found by the gate: every comparison is with the good end, and halves what is left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import results
from ..errors import ArgumentError, NormsuiteError
from ..git import Failed, Git
from . import measure, summary, trees
from .cells import Cell
from .decide import NOT_AVAILABLE
from .summary import Row
from .trees import Source, Tree

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"


@dataclass(frozen=True)
class Bisection:
    """What was found.

    Attributes:
        suspects: the commits one of which made the step, oldest first: one, or more where some could not be compared;
            none where there is no step.
        row: the cell and metric that grew most from the good end to the bad one, or None.
        comparisons: how many gates were run.
        sentence: for people.
    """

    suspects: list[dict]
    row: Row | None
    comparisons: int
    sentence: str

    def as_dict(self) -> dict:
        return asdict(self)


def search(count: int, probe: Callable[[int], str]) -> tuple[int, int]:
    """Return places low and high such that the step is in (low, high], in about log2 count probes.

    Args:
        count: of commits after the good one, which has the place −1; the last one is known to be bad.
        probe: says of a place whether it is good, bad or unknown; it is asked at most once for each.

    Returns:
        high − low is 1, or more where all places between them are unknown.
    """
    low, high, unknown = -1, count - 1, set()
    while True:
        between = [place for place in range(low + 1, high) if place not in unknown]
        if not between:
            return low, high
        place = min(between, key=lambda place: abs(place - (low + high) / 2))
        found = probe(place)
        if found == BAD:
            high = place
        elif found == GOOD:
            low = place
        else:
            unknown.add(place)


def run(
    good: str,
    bad: str,
    *,
    repository: Path,
    source: Source,
    cells: Sequence[Cell],
    metric: str,
    budget_s: float,
    threads: int,
    out: Path,
    apart: bool = False,
    on_progress: Callable[[str, float], None] = lambda stage, spent_s: None,
    on_line: Callable[[str], None] = lambda text: None,
) -> Bisection:
    """Find the commit that made one of those cells worse: the one that grew most from the good end to the bad.

    A commit counts as bad if its interval lies above half of the whole step, and as good if it lies below; so that
    what drifts a little on the way does not decide. One that cannot be imported, lacks the cell, or is not decided
    within four times the budget is left out.

    Args:
        good, bad: commits, the one before the other.
        repository: the project's folder, in which the paths of `source` begin.
        source: the packages whose versions are compared.
        cells: which to compare.
        metric: "time", or the name of a row that is counted.
        budget_s: for each comparison.
        threads: of each measuring process.
        out: where the gates' records go.
        apart: each version in processes of its own.
        on_progress: told what the gate says.
        on_line: told each comparison.

    Raises:
        ArgumentError: no such commit, the one is not before the other, or one of the ends cannot be imported.
    """
    ends = {
        name: trees.of_commit(commit, argument=name, repository=repository, source=source)
        for name, commit in (("good", good), ("bad", bad))
    }
    commits = _between(ends["good"], ends["bad"], repository, source)
    made = 0

    def compare(tree: Tree, of: Sequence[Cell], budget_s: float, margin: float | None = None) -> list[Row]:
        nonlocal made
        made += 1
        margins = measure.MARGINS if margin is None else {**measure.MARGINS, "time": margin, "worse": margin}
        setup = measure.Setup(ends["good"], tree, of, margins, budget_s, threads, apart)
        outcome = measure.run(setup, on_progress)
        if outcome.record is not None:
            results.write_record(out, measure.name(outcome.record), outcome.record)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return [row for row in summary.rows(outcome.record) if row.metric == metric]

    found = compare(ends["bad"], cells, budget_s)
    on_line(f"{_short(ends['bad'])}: {_said(found)}")
    if not found:
        raise ArgumentError("metric", metric, "nothing of that name was measured")
    worse = [row for row in found if row.verdict in (summary.WORSE, summary.FAILS)]
    if not worse:
        undecided = sum(row.verdict == summary.UNDECIDED for row in found)
        return Bisection([], None, made, f"no cell got worse in {metric}; {undecided} of {len(found)} undecided")
    step = max(worse, key=lambda row: math.inf if row.ratio is None else row.ratio.value)
    of = [cell for cell in cells if cell.name == step.cell]
    half = math.inf if step.ratio is None else math.sqrt(step.ratio.value)

    def probe(place: int) -> str:
        for times in (1, 4):
            try:
                tree = trees.of_commit(commits[place], argument="commit", repository=repository, source=source)
                margin = half - 1 if math.isfinite(half) and half > 1 else None
                row = next(iter(compare(tree, of, times * budget_s, margin)), None)
            except (ArgumentError, NormsuiteError) as error:
                on_line(f"{commits[place][:9]}: left out ({error})")
                return UNKNOWN
            if row is None:
                on_line(f"{_short(tree)}: left out ({metric} could not be measured)")
                return UNKNOWN
            verdict = _side(row, half)
            on_line(f"{_short(tree)}: {verdict}, {row.comparison or row.note}")
            if verdict != UNKNOWN or row.verdict == NOT_AVAILABLE:
                return verdict
        return UNKNOWN

    low, high = search(len(commits), probe)
    suspects = [
        trees.of_commit(commit, argument="commit", repository=repository, source=source).as_dict()
        for commit in commits[low + 1 : high + 1]
    ]
    size = step.comparison or step.note
    named = "; ".join(f"{s['commit'][:9]} {s['subject']}" for s in suspects)
    which = "made by" if len(suspects) == 1 else "made by one of"
    return Bisection(suspects, step, made, f"{step.cell}, {metric}: {size}, {which} {named} ({made} comparisons)")


def _side(row: Row, half: float) -> str:
    """Return on which side of half the step a commit lies.

    Where half the step is infinite, only what fails, or is infinite too, is past it.
    """
    if row.verdict == summary.FAILS:
        return BAD
    if row.ratio is None or math.isnan(row.ratio.low):
        return UNKNOWN
    if row.ratio.low > half or row.ratio.low == math.inf:
        return BAD
    return GOOD if row.ratio.high <= half else UNKNOWN


def _between(good: Tree, bad: Tree, repository: Path, source: Source) -> list[str]:
    """Return the commits after the good one up to the bad one that changed the package, oldest first."""
    git = Git(repository)
    try:
        git("merge-base", "--is-ancestor", good.commit, bad.commit)
    except Failed:
        raise ArgumentError("good", good.name, f"is not before {bad.name}") from None
    paths = [path or "." for path in source.exported]
    listed = git("rev-list", "--reverse", "--first-parent", f"{good.commit}..{bad.commit}", "--", *paths).split()
    if not listed:
        raise ArgumentError("bad", bad.name, f"no commit after {good.name} changes the package")
    return listed


def _short(tree: Tree) -> str:
    return f"{tree.commit[:9]} {tree.subject}"


def _said(found: Sequence[Row]) -> str:
    worse = [row for row in found if row.verdict == summary.WORSE]
    return "; ".join(f"{row.cell} {row.comparison}" for row in worse) or "nothing worse"
