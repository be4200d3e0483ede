"""The rates at which the gate is wrong, by the records of its self-checks, with bounds for so many tables."""

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median

from msgspec import UNSET
from scipy import stats

from ..records import kinds, schema
from ..records.schema.self_check import AsvCheck, SelfCheck
from ..statistics import Interval, mean_interval
from . import decide, groups
from .decide import BETTER, SAME, UNDECIDED, WORSE, Decision, Thresholds, judge

_THRESHOLDS = Thresholds()

SHARES = (0.005, 0.01, 0.02, 0.05, 0.10)
"""Slowdowns that are injected, of a call's own time."""

SIZES = (0.0025, 0.004, 0.006, 0.009, 0.011, 0.02, 0.05)
"""Bounds of the classes of measured slowdowns, whatever their label."""

DESIGN_EFFECT = 3
"""Cells of one table are not independent: a bound over cells is that of so many times fewer (`tools/thresholds.py`)."""

LENGTHS = ((20e-6, "below 20 µs"), (200e-6, "20 to 200 µs"), (math.inf, "200 µs and more"))


@dataclass(frozen=True)
class Rate:
    """k of n, with the one-sided 95 % bounds of Clopper and Pearson (1934) on either side."""

    k: int
    n: int

    @property
    def at_most(self) -> float:
        """Return the upper bound of the rate."""
        return 1.0 if self.k == self.n else float(stats.beta.ppf(0.95, self.k + 1, self.n - self.k))

    @property
    def at_least(self) -> float:
        """Return the lower bound of the rate."""
        return 0.0 if self.k == 0 else float(stats.beta.ppf(0.05, self.k, self.n - self.k + 1))

    def as_dict(self) -> dict:
        """Return k, n and both bounds as a dictionary for JSON."""
        return {**asdict(self), "at_most": self.at_most, "at_least": self.at_least}


@dataclass(frozen=True)
class Found:
    """Error rates of one way to compare two versions.

    Bounds take tables to be independent, and cells of one table too, which they are not (`DESIGN_EFFECT`).

    Attributes:
        false_alarms: tables of a version against itself with a cell or the mean of a group called worse, of all such
            tables.
        false_improvements: the same for better.
        missed: tables of a version against itself with an interval, of a cell or a group, that does not hold 1; 5 % at
            most are promised.
        false_cells: cells called worse without being so, of all that were not: of both kinds of tables.
        injected: for each injected share the cells called worse, of all that had it.
        undecided: cells without a slowdown that were left undecided, of all that had none.
        same: cells of a version against itself that were called the same, of all.
        seconds: median, and the longest, that a table took.
    """

    false_alarms: Rate
    false_improvements: Rate
    missed: Rate
    false_cells: Rate
    injected: dict[float, Rate]
    undecided: Rate
    same: Rate
    seconds: tuple[float, float]

    @property
    def smallest(self) -> float | None:
        """Return the least injected share that is found in 90 % of cells or more, or None.

        That is by the lower bound of as many cells as the design effect leaves.
        """
        fewer = {s: Rate(rate.k // DESIGN_EFFECT, rate.n // DESIGN_EFFECT) for s, rate in self.injected.items()}
        return next((share for share, rate in fewer.items() if rate.n and rate.at_least >= 0.9), None)

    def as_dict(self) -> dict:
        """Return all rates as a dictionary for JSON."""
        names = ("false_alarms", "false_improvements", "missed", "false_cells", "undecided")
        rates = {name: getattr(self, name).as_dict() for name in names}
        injected = {f"{share:g}": rate.as_dict() for share, rate in self.injected.items()}
        rates |= {"settled": self.same.as_dict(), "planted": injected}
        return {**rates, "smallest": self.smallest, "seconds": list(self.seconds)}


def is_injected(record: dict) -> bool:
    """Return whether that table had slowdowns injected."""
    return bool(record["case"]["planted"])


def belongs(record: dict, identity: dict, injection: str | None) -> bool:
    """Return whether a table was measured by that method, and its slowdowns, if it has any, were injected by that."""
    case = record["case"]
    return case["identity"] == identity and (not is_injected(record) or case.get("injection") == injection)


def typed(records: Iterable[dict]) -> list[SelfCheck | AsvCheck]:
    """Return records as typed tables."""
    return [
        schema.of(record, AsvCheck) if record["what"] == kinds.ASV_CHECK.what else schema.of(record, SelfCheck)
        for record in records
    ]


def verdicts(table: SelfCheck | AsvCheck, thresholds: Thresholds = _THRESHOLDS) -> dict[str, str]:
    """Return the verdict on each cell, from its recorded interval; asv knows only what changed, and by how much."""
    if isinstance(table, SelfCheck):
        return {name: judge(interval, thresholds) for name, interval in _intervals(table).items()}
    changes = table.samples.changes
    return {name: SAME if name not in changes else WORSE if changes[name] > 1 else BETTER for name in table.case.cells}


def found(records: Sequence[dict], thresholds: Thresholds = _THRESHOLDS) -> Found:
    """Return the rates of records of one kind that belong together.

    Args:
        records: of self-checks.
        thresholds: by which the recorded intervals are judged.
    """
    every = typed(records)
    equal = [table for table in every if not table.case.injected]
    same = [Counter(verdicts(table, thresholds).values()) for table in equal]
    means = [decided_means(table, thresholds) for table in equal]
    tables = [cells + Counter(of.verdict for of in family) for cells, family in zip(same, means, strict=True)]
    stated = [
        [*_intervals(table).values(), *(of.ratio for of in family)]
        for table, family in zip(equal, means, strict=True)
        if isinstance(table, SelfCheck)  # asv has no intervals
    ]
    clean: Counter = Counter()
    injected: dict[float, Counter] = {share: Counter() for share in SHARES}
    for table in every:
        shares = table.case.injected
        for name, verdict in verdicts(table, thresholds).items():
            (injected.setdefault(shares[name], Counter()) if name in shares else clean)[verdict] += 1
    took = sorted(table.wall_s for table in every)
    return Found(
        false_alarms=Rate(sum(counted[WORSE] > 0 for counted in tables), len(tables)),
        false_improvements=Rate(sum(counted[BETTER] > 0 for counted in tables), len(tables)),
        missed=Rate(sum(map(_misses, stated)), len(stated)),
        false_cells=Rate(clean[WORSE], clean.total()),
        injected={share: Rate(counted[WORSE], counted.total()) for share, counted in injected.items()},
        undecided=Rate(clean[UNDECIDED], clean.total()),
        same=Rate(sum(counted[SAME] for counted in same), sum(counted.total() for counted in same)),
        seconds=(median(took), took[-1]) if took else (math.nan, math.nan),
    )


def decided_means(table: SelfCheck | AsvCheck, thresholds: Thresholds = _THRESHOLDS) -> list[Decision]:
    """Return the decisions on the means of a table's groups, which its recorded ratios give.

    The gate has groups since it has two thresholds: a record of before has none, nor has one of asv.
    """
    names = table.case.identity.cells
    if isinstance(table, AsvCheck) or table.case.identity.worse is None or not table.samples.looks or names is UNSET:
        return []
    family, samples = groups.of_cells(names), table.samples
    # Numbered anew, since records hold no numbers of processes: where one died, cells that it did not reach have the
    # next one's value in its place.
    values = {name: dict(enumerate(of, start=1)) for name, of in samples.log_ratios.items() if of}
    means, comparisons = groups.means(family, values), len(names) + len(family)
    return list(decide.decide(means, samples.looks, thresholds, comparisons, final=samples.final).values())


def _intervals(table: SelfCheck) -> dict[str, Interval]:
    """Return the ratio and interval of each cell; JSON has no NaN, which a record writes as a text."""
    return {name: Interval(*map(float, of[1:4])) for name, of in table.samples.cells.items()}


def _misses(intervals: Iterable[Interval]) -> bool:
    """Return whether an interval of equal versions does not hold 1."""
    return any(of.low > 1 or of.high < 1 for of in intervals)


def by_size(records: Sequence[dict], thresholds: Thresholds = _THRESHOLDS) -> dict[str, Rate]:
    """Return how many of the injected slowdowns were found, by what they were measured as.

    A slowdown is measured as exp of the mean log ratio of its cell, over all processes. The same processes decide the
    verdict, and a decided cell is not measured further: sizes near the bound of a class are biased by this selection.
    """
    names = [
        f"less than {SIZES[0]:.2%}",
        *(f"{a:.2%} to {b:.2%}" for a, b in pairwise(SIZES)),
        f"{SIZES[-1]:.2%} or more",
    ]
    found: dict[str, list[bool]] = {name: [] for name in names}
    for _, size, is_found in _injected(typed(records), thresholds):
        found[names[bisect.bisect_right(SIZES, size)]].append(is_found)
    return {name: Rate(sum(of), len(of)) for name, of in found.items() if of}


def measured_means(records: Sequence[dict]) -> dict[float, Interval]:
    """Return by injected share the mean of what it was measured as, with Student's 95 % interval over cells.

    Only processes up to the first look count: later ones measure what was not found by then, which would select sizes.
    """
    found: dict[float, list[float]] = {share: [] for share in SHARES}
    for table in typed(records):
        for name, share in table.case.injected.items():
            if logs := _first_look(table, name):
                found.setdefault(share, []).append(math.expm1(math.fsum(logs) / len(logs)))
    return {share: mean_interval(of) for share, of in found.items() if of}


def offset(records: Sequence[dict]) -> Interval | None:
    """Return how far apart equal versions are measured in the mean over cells, as a share; None without such tables.

    The interval is Student's over tables, of processes up to the first look, which no decision has selected.
    """
    means = []
    for table in (table for table in typed(records) if not table.case.injected):
        names = table.samples.log_ratios if isinstance(table, SelfCheck) else ()
        cells = [logs for name in names if (logs := _first_look(table, name))]
        if cells:
            means.append(math.fsum(math.fsum(of) / len(of) for of in cells) / len(cells))
    return mean_interval(means) if means else None


def _first_look(table: SelfCheck | AsvCheck, name: str) -> list[float]:
    """Return the logarithms of a cell's ratios up to the first look; asv and the oldest records have none."""
    if isinstance(table, AsvCheck) or not table.samples.looks:
        return []
    return table.samples.log_ratios.get(name, [])[: table.samples.looks[0]]


def by_length(records: Sequence[dict], share: float, thresholds: Thresholds = _THRESHOLDS) -> dict[str, Rate]:
    """Return how many slowdowns injected as that share were found, by the length of the call where it is recorded.

    A record without times has the names of cases in their place. Lengths are in their order, then cases in theirs.
    """
    found: dict[str, list[bool]] = {}
    for table in typed(records):
        base_s = table.samples.base_s if isinstance(table, SelfCheck) else {}
        for name, _, is_found in _injected([table], thresholds):
            if table.case.injected[name] == share:
                length = next((said for most, said in LENGTHS if base_s[name] < most), None) if name in base_s else None
                found.setdefault(length or name.split("/")[2], []).append(is_found)
    lengths = [said for _, said in LENGTHS]
    in_order = sorted(found, key=lambda name: lengths.index(name) if name in lengths else len(lengths))
    return {name: Rate(sum(found[name]), len(found[name])) for name in in_order}


def _injected(tables: Iterable[SelfCheck | AsvCheck], thresholds: Thresholds) -> Iterator[tuple[str, float, bool]]:
    """Yield cell, measured size and whether it was called worse, of every injected slowdown that was measured."""
    for table in tables:
        found = verdicts(table, thresholds)
        ratios = table.samples.log_ratios if isinstance(table, SelfCheck) else {}
        for name in table.case.injected:
            logs = ratios.get(name)  # the oldest records have intervals alone
            if name in found and logs:
                yield name, math.expm1(math.fsum(logs) / len(logs)), found[name] == WORSE


def _by_kind(records: Iterable[dict]) -> tuple[list[dict], list[dict]]:
    """Return the gate's tables, and what `asv continuous` said of two versions."""
    of: dict[bool, list[dict]] = {False: [], True: []}
    for record in records:
        of[record["what"] == kinds.ASV_CHECK.what].append(record)
    return of[False], of[True]


def lines(records: Sequence[dict]) -> list[str]:
    """Return lines for people: of the gate, and of asv where it was asked too."""
    tables, by_asv = _by_kind(records)
    said = _lines(found(tables)) if tables else []
    if by_asv:
        factor = schema.of(by_asv[0], AsvCheck).samples.factor
        said += [f"asv continuous --factor {factor:g}: {line}" for line in _lines(found(by_asv))]
    if means := measured_means(tables):
        sizes = (f"{_percent(share)} was measured as {_percent(mean.value)}" for share, mean in means.items())
        said.append(f"injected slowdowns up to the first look, in the mean: {', '.join(sizes)}")
    bounds = "bounds: one-sided, 95 %, Clopper and Pearson; cells of one table are not independent"
    return [*said, f"{bounds}: divide numbers of cells by {DESIGN_EFFECT} before reading their bounds"]


def _lines(of: Found) -> list[str]:
    said = []
    if of.false_alarms.n:
        said.append(
            f"A/A controls: {of.false_alarms.k} of {of.false_alarms.n} tables with a false alarm, which "
            f"supports a rate of at most {_percent(of.false_alarms.at_most)}; {of.false_improvements.k} with something "
            f"called better; {of.same.k} of {of.same.n} cells called the same"
        )
    if of.false_cells.n:
        said.append(
            f"cells without a slowdown: {of.false_cells.k} of {of.false_cells.n} called worse, {of.undecided.k} "
            "undecided"
        )
    said += [
        f"injected {_percent(share)}: found in {rate.k} of {rate.n} cells (at least {_percent(rate.at_least)})"
        for share, rate in of.injected.items()
        if rate.n
    ]
    if of.smallest is not None:
        said.append(
            f"smallest injected slowdown found in nine cells of ten, with 95 % confidence: {_percent(of.smallest)}"
        )
    return [*said, f"a table took {of.seconds[0]:.0f} s (median; the longest {of.seconds[1]:.0f} s)"]


def line(record: dict) -> str:
    """Return a line on one table, to be shown while others are measured."""
    (table,) = typed([record])
    found, injected = verdicts(table, _THRESHOLDS), table.case.injected
    said = ", ".join(f"{number} {verdict}" for verdict, number in Counter(found.values()).most_common())
    hit = sum(found.get(name) == WORSE for name in injected)
    of = f"{hit} of {len(injected)} injected slowdowns found; " if injected else "A/A control; "
    by = "asv continuous: " if isinstance(table, AsvCheck) else ""
    return f"{by}{of}{said}; {table.wall_s:.0f} s"


def as_dict(records: Sequence[dict]) -> dict:
    """Return the rates for JSON."""
    tables, by_asv = _by_kind(records)
    return {
        "gate": found(tables).as_dict(),
        "measured_as": {f"{share:g}": mean.value for share, mean in measured_means(tables).items()},
        "by_size": {name: rate.as_dict() for name, rate in by_size(tables).items()},
        "by_length": {
            f"{share:g}": {name: rate.as_dict() for name, rate in by_length(tables, share).items()} for share in SHARES
        },
        "asv": found(by_asv).as_dict() if by_asv else None,
        "sentences": lines(records),
        "records": list(records),
    }


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
