"""A gate's record judged: a row for each cell and metric, and the exit code."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from statistics import stdev

from msgspec import structs

from .. import statistics
from ..conventions import exit_codes
from ..files.git import titled
from ..measure.metric import find as find_metric
from ..measure.metric import is_known
from ..presentation import text
from ..records import schema
from ..records.schema.gate import Gate, Reasons
from ..statistics import ABOVE, AT_MOST, BELOW, OPEN, Interval, not_worse
from . import decide, groups
from .accepted import Accepted
from .decide import ACCEPTED, BETTER, FAILS, NOT_AVAILABLE, SAME, UNDECIDED, VERDICTS, WORSE, Thresholds
from .row import ERROR_RATE, MEAN_TIME, TIME, CellRow, percent

FEW = 3
"""Number of cells that may lack a value for one reason and still have a row each; more share a sentence."""


def rows(record: dict) -> list[CellRow]:
    """Return all rows, the worst verdicts first; regressions that were known when it was measured are accepted.

    Args:
        record: of a gate, with the known regressions of that day where there were any (`with_rules`).
    """
    gate, accepted, today = schema.of(record, Gate), [], date.min
    if gate.accepted and gate.accepted.entries:
        accepted = [Accepted.from_dict(structs.asdict(entry)) for entry in gate.accepted.entries]
        today = date.fromisoformat(gate.accepted.day)
    found = [*_times(gate, accepted, today), *_counts(gate), *_error_rates(gate)]
    found = [_accepted(row, accepted, today) for row in found]
    return sorted(found, key=lambda row: (VERDICTS.index(row.verdict), row.metric not in (TIME, MEAN_TIME)))


def with_rules(
    record: dict,
    accepted: Sequence[Accepted],
    today: date,
    undecided: str | None = None,
    *,
    was_interrupted: bool = False,
) -> dict:
    """Return the record with what a project says of verdicts, so that every reader judges it alike.

    Args:
        record: of a gate.
        accepted: known regressions.
        today: the day on which they are accepted.
        undecided: as of `exit_code`.
        was_interrupted: the user ended the gate, which a note says.
    """
    known = {"day": today.isoformat(), "entries": [entry.as_dict() for entry in accepted]}
    notes = [*record.get("notes", ()), *(["interrupted by the user"] if was_interrupted else [])]
    return {**record, "accepted": known, "undecided": undecided, "notes": notes}


def _comparisons(gate: Gate) -> int:
    """Return how many verdicts of that table come from intervals: of cells, of groups, and of error rates by norm."""
    return len(gate.case.cells) + len(gate.case.groups) + len(gate.case.error_rate_norms)


def _times(gate: Gate, accepted: Sequence[Accepted], today: date) -> list[CellRow]:
    """Return the rows of times: of cells, and of groups without the cells whose regressions are accepted.

    Otherwise an accepted regression would fail again through its group's mean.
    """
    samples = gate.samples
    values = {name: {int(k): v for k, v in of.items()} for name, of in samples.log_ratios.items()}
    of_cells = _decided(gate, values)
    known = {
        name
        for name, of in of_cells.items()
        if of.verdict == WORSE and any(entry.covers(name, TIME, of.ratio.value, today) for entry in accepted)
    }
    families = {name: [cell for cell in of if cell not in known] for name, of in gate.case.groups.items()}
    of_groups = _decided(gate, groups.means(families, values))
    found = []
    for name in values:
        if (absent := samples.absent.get(name, Reasons())) != Reasons():
            found.append(_not_comparable(name, TIME, "s", absent))
        elif name in of_cells:
            decision, base = of_cells[name], samples.base_s.get(name)
            head = None if base is None else base * decision.ratio.value
            found.append(CellRow(name, TIME, "s", base, head, decision.ratio, decision.verdict, decision.processes))
        else:
            note = "interrupted before the first look" if values[name] else "not measured"
            found.append(CellRow(name, TIME, "s", None, None, None, UNDECIDED, 0, note))
    for name, decision in of_groups.items():
        note = f"{sum(cell in of_cells for cell in families[name])} cells"
        found.append(
            CellRow(name, MEAN_TIME, "s", None, None, decision.ratio, decision.verdict, decision.processes, note)
        )
    return found


def _decided(gate: Gate, values: groups.Values) -> dict[str, decide.Decision]:
    """Return the decisions on cells, or on means, in the looks of the record."""
    return decide.decide(
        {name: of for name, of in values.items() if of},
        gate.samples.looks,
        Thresholds.of(gate.case.margins),
        _comparisons(gate),
        gate.case.alpha,
        final=gate.samples.final,
    )


def _not_comparable(name: str, metric: str, unit: str, absent: Reasons) -> CellRow:
    """Return the row of a cell without values: "fails" where base computes it and head does not, else n/a."""
    broken = absent.base is None and absent.head is not None and absent.head.startswith(decide.FAILING)
    said = "; ".join(f"{side} {reason}" for side, reason in structs.asdict(absent).items() if reason is not None)
    return CellRow(name, metric, unit, None, None, None, FAILS if broken else NOT_AVAILABLE, None, said)


def _counts(gate: Gate) -> list[CellRow]:
    margins, found = gate.case.margins, []
    for name, counts in gate.samples.counts.items():
        base, head = counts.base or {}, counts.head or {}
        for metric in base.keys() & head.keys():
            if not _is_judged(metric, gate):  # `sentences` names them
                continue
            kind, unit = find_metric(metric).kind, find_metric(metric).unit
            before, after = float(base[metric]), float(head[metric])
            ratio = _ratio(before, after)
            verdict = decide.judge_exactly(before, after, margins[kind])
            found.append(CellRow(name, metric, unit, before, after, Interval(ratio, ratio, ratio), verdict))
    return sorted(found, key=lambda row: (row.metric, row.cell))


def _ratio(before: float, after: float) -> float:
    """Return after / before of two exact values, where one that is not finite counts as infinite."""
    if before == after or not (math.isfinite(before) or math.isfinite(after)):
        return 1.0
    if not math.isfinite(after):
        return math.inf
    if not math.isfinite(before):
        return 0.0
    return after / before if before else math.inf


def _error_rates(gate: Gate) -> list[CellRow]:
    margin, rates, found = gate.case.margins.get("error rate", math.nan), gate.samples.error_rates, []
    alpha = gate.case.alpha / _comparisons(gate)
    for name in gate.case.error_rate_norms:
        if name not in rates:
            note = "interrupted before it was trained"
            found.append(CellRow(name, ERROR_RATE, "share", None, None, None, UNDECIDED, 0, note))
    for name, of in rates.items():
        base, head = of.base, of.head
        if not base or not head:
            found.append(_not_comparable(name, ERROR_RATE, "share", of.absent or Reasons()))
            continue
        means = sum(base) / len(base), sum(head) / len(head)
        if base == head:
            note = "the same numbers for every seed"
            found.append(CellRow(name, ERROR_RATE, "share", *means, Interval(0.0, 0.0, 0.0), SAME, len(base), note))
            continue
        differences = [h - b for h, b in zip(head, base, strict=True)]
        interval = statistics.mean_interval(differences, 1 - alpha)
        rise = detectable_rise(differences, margin, alpha)
        note = "all seeds differ by the same amount"
        if math.isfinite(rise):
            note = f"a rise of {100 * rise:.2f} points or more is found with {statistics.POWER:.0%} power"
        found.append(
            CellRow(name, ERROR_RATE, "share", *means, interval, _judge_rise(interval, margin), len(base), note)
        )
    return found


def _judge_rise(difference: Interval, margin: float) -> str:
    """Return the verdict on a difference by a test of non-inferiority.

    It is the same as long as the rise is at most the margin, however far it may have fallen.
    """
    where = {ABOVE: WORSE, BELOW: BETTER, AT_MOST: SAME, OPEN: UNDECIDED}
    return where[not_worse(difference, better_below=-margin, worse_above=margin)]


def detectable_rise(differences: Sequence[float], margin: float, alpha: float) -> float:
    """Return the smallest true rise of the error rate that so many seeds of such a spread find beyond the margin.

    It is NaN where all differ by the same amount, which is no spread.
    """
    has_spread = not math.isnan(statistics.mean_interval(differences).low)
    spread = stdev(differences) if has_spread else math.nan
    return margin + spread * statistics.detectable_effect(len(differences), alpha=alpha, power=statistics.POWER)


def _accepted(row: CellRow, accepted: Sequence[Accepted], today: date) -> CellRow:
    value = row.ratio.value if row.ratio else None
    if row.metric == ERROR_RATE and row.base is not None and row.head is not None:  # whose `ratio` is a difference
        value = _ratio(row.base, row.head)
    for entry in accepted if row.verdict == WORSE else ():
        if entry.covers(row.cell, row.metric, value, today):
            return replace(row, verdict=ACCEPTED, note=f"{entry.reason} (until {entry.until})")
    return row


def bound(found: Sequence[CellRow]) -> float | None:
    """Return the largest slowdown that is possible in any cell not called worse, as a share; None without such a cell.

    It holds together with all other intervals of the table.
    """
    return max(_bounds(found), default=None)


def _bounds(found: Sequence[CellRow]) -> list[float]:
    """Return the largest slowdown of each cell that has one and is not called worse."""
    of_cells = [row.bound for row in found if row.metric == TIME and row.verdict not in (WORSE, ACCEPTED)]
    return [each for each in of_cells if each is not None]


def exit_code(record: dict | None, found: Sequence[CellRow]) -> int:
    """Return 0 without a regression, 1 with one, 3 where nothing was measured or too little excluded.

    Too little: nothing of what needs intervals was decided, or a cell may be slower by more than the table's limit.
    The project may say otherwise in its record's `undecided`: "pass" where measured rows that stay undecided are no
    reason to fail, "fail" where each is. A row that no process measured is not passed over.

    Args:
        record: of the table, None where there is none.
        found: the rows.
    """
    gate = None if record is None else schema.of(record, Gate)
    undecided = None if gate is None else gate.undecided
    if any(row.verdict in (WORSE, FAILS) for row in found):
        return exit_codes.REGRESSION
    still_open = [row for row in found if row.verdict == UNDECIDED and row.values is not None]
    if undecided == "fail" and still_open:
        return exit_codes.NOTHING
    if undecided == "pass" and still_open and all(row.values for row in still_open):
        return exit_codes.OK
    if any(row.metric == ERROR_RATE and row.values == 0 for row in found):  # interrupted
        return exit_codes.NOTHING
    timed = [row for row in found if row.values is not None] or found
    if not any(row.verdict in (SAME, BETTER, ACCEPTED) for row in timed):
        return exit_codes.NOTHING
    most = bound(found)
    limit = math.inf if gate is None else Thresholds.of(gate.case.margins).limit
    return exit_codes.OK if most is None or most <= limit else exit_codes.NOTHING


def sentences(record: dict, found: Sequence[CellRow]) -> list[str]:
    """Return the sentences above the table: verdicts counted, and how much slower a cell can be."""
    gate, lines = schema.of(record, Gate), []
    for metric, of in itertools.groupby(sorted(found, key=_kind), key=_kind):
        counted = Counter(row.verdict for row in of)
        lines.append(f"{metric}: {', '.join(f'{counted[v]} {v}' for v in VERDICTS if counted[v])}")
    if not gate.case.error_rate_norms:
        lines.append("error rate: not measured (--error-rate measures it)")
    lines += [f"{cells} cells n/a: {reason}" for reason, cells in _shared_reasons(found).items()]
    if unknown := _unknown_metrics(gate):
        lines.append(f"left out, without a package here that knows them or a margin for them: {', '.join(unknown)}")
    return [*lines, *_excluded(gate, found), *_why_nothing_is_decided(found)]


def _unknown_metrics(gate: Gate) -> list[str]:
    """Return the names of counted metrics that no installed package defines, or that have no margin.

    Those of an extension may be such.
    """
    names = {name for counts in gate.samples.counts.values() for name in [*(counts.base or ()), *(counts.head or ())]}
    return sorted(name for name in names if not _is_judged(name, gate))


def _is_judged(metric: str, gate: Gate) -> bool:
    return is_known(metric) and find_metric(metric).kind in gate.case.margins


def said_of_thresholds(gate: Gate) -> str:
    """Return when a time is called worse, and when the same."""
    thresholds = Thresholds.of(gate.case.margins)
    return f"a time is worse above {100 * thresholds.worse:.3g} % and the same within {100 * thresholds.same:.3g} %"


def said_of_threads(gate: Gate) -> str:
    """Return with how many threads it was measured; older records do not say it."""
    return "torch's threads" if gate.case.threads is None else text.counted(gate.case.threads, "thread")


def _why_nothing_is_decided(found: Sequence[CellRow]) -> list[str]:
    """Return the sentence on a table without a verdict, where it has none."""
    if all(row.verdict == NOT_AVAILABLE for row in found):
        return ["nothing was measured"]
    timed = [row for row in found if row.values is not None]
    if timed and all(row.verdict == UNDECIDED for row in timed):
        return ["no time was decided"]
    return []


def _excluded(gate: Gate, found: Sequence[CellRow]) -> list[str]:
    """Return the sentence on what the table excludes, where it has times."""
    most = bound(found)
    if most is None:
        return []
    limit = Thresholds.of(gate.case.margins).limit
    if math.isinf(most):
        without = [each for each in _bounds(found) if math.isinf(each)]
        said = f"{len(without)} cells have no interval, and any slowdown of theirs is possible"
    else:
        others = any(row.metric == TIME and row.verdict in (WORSE, ACCEPTED) for row in found)
        slower = f"more than {percent(most)} slower" if most > 0 else "slower"
        cells = f"{'other ' if others else ''}cell"
        if any(row.metric == TIME and row.verdict in (NOT_AVAILABLE, FAILS) for row in found):
            cells += f" of the {len(_bounds(found))} that both versions have"
        said = f"no {cells} is {slower} ({1 - gate.case.alpha:.0%}, all together)"
    return [said + (f": more than the limit of {percent(limit)}" if most > limit else "")]


def _kind(row: CellRow) -> str:
    return (
        row.metric
        if row.metric in (TIME, MEAN_TIME, ERROR_RATE)
        else "bytes"
        if row.unit == "bytes"
        else "numerical error"
    )


def notable(found: Sequence[CellRow]) -> list[CellRow]:
    """Return the rows to be shown one by one.

    All but those of numbers without noise that are the same, and those that many lack for one reason, which has a
    sentence of its own.
    """
    shared = _shared_reasons(found)
    return [
        row
        for row in found
        if (row.verdict != SAME or row.values is not None)
        and not (row.verdict == NOT_AVAILABLE and row.remark in shared)
    ]


def _shared_reasons(found: Sequence[CellRow]) -> dict[str, int]:
    """Return the reasons for which more than `FEW` cells are not available, and how many are."""
    counted = Counter(row.remark for row in found if row.verdict == NOT_AVAILABLE)
    return {reason: cells for reason, cells in counted.items() if cells > FEW}


def title(record: dict) -> str:
    """Return a gate's title: head against base, each by its name and commit."""
    case = schema.of(record, Gate).case
    return f"{titled(case.head.name, case.head.commit)} against {titled(case.base.name, case.base.commit)}"


def as_dict(record: dict, found: Sequence[CellRow]) -> dict:
    """Return the record and its rows for JSON, with the exit code as `exit_code` gives it."""
    return {
        "title": title(record),
        "exit_code": exit_code(record, found),
        "slower_at_most": bound(found),
        "sentences": sentences(record, found),
        "rows": [{**asdict(row), "slower_at_most": row.bound} for row in found],
        "record": record,
    }


def outcome(code: int) -> str:
    """Return an exit code of a table in words."""
    return {
        exit_codes.OK: "no regression",
        exit_codes.REGRESSION: "regression",
        exit_codes.NOTHING: "too little decided",
    }[code]


def ending(record: dict, found: Sequence[CellRow]) -> str:
    """Return how a table ended, with its exit code, and how many rows are worse or fail, for the last line."""
    code = exit_code(record, found)
    counted = Counter(row.verdict for row in found if row.verdict in (WORSE, FAILS))
    rows_of = ", ".join(f"{counted[verdict]} {verdict}" for verdict in (WORSE, FAILS) if counted[verdict])
    return f"{outcome(code)}{f' ({rows_of})' if rows_of else ''}: exit code {code}"


def headline(record: dict) -> str:
    """Return which two versions were compared, and how it ended."""
    said = outcome(exit_code(record, rows(record)))
    return f"{title(record)}: {'a ' if said == 'regression' else ''}{said}."
