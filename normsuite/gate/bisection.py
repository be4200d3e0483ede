"""The commit of a step, found by the gate: every comparison is with the good end, and halves what is left."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import ArgumentError, NormsuiteError
from ..files.git import Failed, Git
from ..records import results, schema
from ..records.schema.gate import Gate
from . import compare, summary, trees
from .cells import Cell
from .decide import NOT_AVAILABLE
from .row import MEAN_TIME, TIME, CellRow
from .trees import Source, Tree

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"


@dataclass(frozen=True)
class Bisection:
    """The result of a bisection.

    Attributes:
        suspects: the commits one of which made the step, oldest first: one, or more where some could not be compared;
            none where there is no step.
        row: the cell and metric that grew most from the good end to the bad one, or None.
        comparisons: how many gates were run.
        sentence: for people.
    """

    suspects: list[dict]
    row: CellRow | None
    comparisons: int
    sentence: str

    def as_dict(self) -> dict:
        """Return the result as a dictionary for JSON."""
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


@dataclass
class _Gates:
    """Gates of other versions against the good one.

    Attributes:
        run: how many there were.
        groups: the cells of each group of the last one.
    """

    good: Tree
    metric: str
    budget_s: float
    threads: int
    apart: bool
    out: Path
    on_progress: Callable[[str, float], None]
    run: int = 0
    groups: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, tree: Tree, cells: Sequence[Cell], *, times: int = 1, margin: float | None = None) -> list[CellRow]:
        """Return the rows of the metric, of a gate that has `times` the budget and leaves a record.

        Args:
            margin: of times, where it is another than the usual one.
        """
        self.run += 1
        margins = compare.MARGINS if margin is None else {**compare.MARGINS, "time": margin, "worse": margin}
        setup = compare.Setup(self.good, tree, cells, margins, times * self.budget_s, self.threads, self.apart)
        outcome = compare.run(setup, self.on_progress)
        if (record := outcome.record) is not None:
            results.write_record(self.out, compare.name(record), {**record, "bisection": True})
        if outcome.interrupted or record is None:  # which it is after an interruption alone
            raise KeyboardInterrupt
        self.groups = schema.of(record, Gate).case.groups
        wanted = (TIME, MEAN_TIME) if self.metric == TIME else (self.metric,)
        return [row for row in summary.rows(record) if row.metric in wanted]

    def members(self, name: str) -> list[str]:
        """Return the cells of a group of the last gate, or the cell of that name."""
        return self.groups.get(name, [name])


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

    If no cell is certainly worse but the mean of a group is, the step of that mean is looked for. Comparisons
    are not corrected for their number: of about log2 n, each of which may be repeated once, one may be wrong by chance.

    A commit counts as bad if its interval lies above half of the whole step, and as good if it lies below; so that
    what drifts a little on the way does not decide. One that cannot be imported, lacks the cell, or is not decided
    within four times the budget is left out.

    Args:
        good, bad: commits, the one before the other.
        repository: the project's folder, in which the paths of `source` begin.
        source: the packages whose versions are compared.
        cells: which to compare.
        metric: "time", of cells and of groups, or the name of a row that is counted.
        budget_s: for each comparison.
        threads: of each measuring process.
        out: where the gates' records go.
        apart: each version in processes of its own.
        on_progress, on_line: told what the gate says, and each comparison.

    Raises:
        ArgumentError: no such commit, the one is not before the other, or one of the ends cannot be imported.
    """
    first, last = (
        trees.of_commit(commit, argument=name, repository=repository, source=source)
        for name, commit in (("good", good), ("bad", bad))
    )
    commits = _between(first, last, repository, source)
    gates = _Gates(first, metric, budget_s, threads, apart, out, on_progress)
    found = gates.rows(last, cells)
    on_line(f"{_short(last)}: {_said(found)}")
    if not found:
        raise ArgumentError("metric", metric, "nothing of that name was measured")
    step = _largest_step(found)
    if step is None:
        undecided = sum(row.verdict == summary.UNDECIDED for row in found)
        said = f"no cell or group got worse in {metric}; {undecided} of {len(found)} undecided"
        return Bisection([], None, gates.run, said)
    members = gates.members(step.cell)

    def tree_of(commit: str) -> Tree:
        return trees.of_commit(commit, argument="commit", repository=repository, source=source)

    of_step = [cell for cell in cells if cell.name in members]
    low, high = search(len(commits), lambda place: _probed(commits[place], tree_of, gates, of_step, step, on_line))
    suspects = [tree_of(commit).as_dict() for commit in commits[low + 1 : high + 1]]
    return Bisection(suspects, step, gates.run, _sentence(step, suspects, gates.run))


def _largest_step(rows: Sequence[CellRow]) -> CellRow | None:
    """Return the row that got worse by most, of a group's mean only where no cell did; None where nothing did."""
    worse = [row for row in rows if row.verdict in (summary.WORSE, summary.FAILS)]
    worse = [row for row in worse if row.metric != MEAN_TIME] or worse
    return max(worse, key=lambda row: math.inf if row.ratio is None else row.ratio.value, default=None)


def _sentence(step: CellRow, suspects: Sequence[dict], comparisons: int) -> str:
    """Return the sentence on a step and the commits one of which made it."""
    named = "; ".join(f"{s['commit'][:9]} {s['subject']}" for s in suspects)
    made_by = "made by" if len(suspects) == 1 else "made by one of"
    return f"{step.cell}, {step.metric}: {step.comparison or step.note}, {made_by} {named} ({comparisons} comparisons)"


def _probed(
    commit: str,
    tree_of: Callable[[str], Tree],
    gates: _Gates,
    cells: Sequence[Cell],
    step: CellRow,
    on_line: Callable[[str], None],
) -> str:
    """Return on which side of half the step a commit lies: compared once, and where undecided with 4 times the budget.

    Args:
        tree_of: exports a commit.
        cells: the cell of the step, or those of its group.
    """
    names = {cell.name for cell in cells}
    half = math.inf if step.ratio is None else math.sqrt(step.ratio.value)
    margin = half - 1 if math.isfinite(half) and half > 1 else None
    for times in (1, 4):
        try:
            tree = tree_of(commit)
            found = gates.rows(tree, cells, times=times, margin=margin)
            of_step = (row for row in found if row.metric == step.metric and {*gates.members(row.cell)} == names)
            row = next(of_step, None)
        except NormsuiteError as error:
            on_line(f"{commit[:9]}: left out ({error})")
            return UNKNOWN
        if row is None:
            on_line(f"{_short(tree)}: left out ({step.metric} could not be measured)")
            return UNKNOWN
        verdict = _side(row, half)
        on_line(f"{_short(tree)}: {verdict}, {row.comparison or row.note}")
        if verdict != UNKNOWN or row.verdict == NOT_AVAILABLE:
            return verdict
    return UNKNOWN


def _side(row: CellRow, half: float) -> str:
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


def _said(found: Sequence[CellRow]) -> str:
    worse = [row for row in found if row.verdict in (summary.WORSE, summary.FAILS)]
    return "; ".join(f"{row.cell} {row.comparison or row.note}" for row in worse) or "nothing worse"
