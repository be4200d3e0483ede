"""A gate's table as a comment on a pull request, in Markdown. Imports no torch."""

from collections.abc import Sequence

from ..presentation import markdown
from ..presentation.table import Column, Table
from ..records import schema
from ..records.schema.gate import Gate
from .decide import ACCEPTED, BETTER, FAILS, NOT_AVAILABLE, SAME, UNDECIDED, WORSE
from .row import CellRow
from .summary import exit_code, notable, outcome, said_of_threads, said_of_thresholds, sentences, title

_SIGNS = {WORSE: "❌", FAILS: "❌", ACCEPTED: "⚠️", BETTER: "🚀", UNDECIDED: "❔", SAME: "✅", NOT_AVAILABLE: "–"}


def comment(record: dict, found: Sequence[CellRow]) -> str:
    """Return a comment: the rows that matter in a table, the rest folded away.

    Args:
        record: of the gate.
        found: its rows.
    """
    worth = [row for row in found if row.verdict not in (SAME, UNDECIDED, NOT_AVAILABLE)]
    rest = [row for row in notable(found) if row not in worth]
    said = outcome(exit_code(record, found))
    lines = [f"### normsuite gate: {said}", "", markdown.escaped(title(record)), ""]
    lines += [f"- {markdown.escaped(line)}" for line in [*sentences(record, found), *record.get("notes", [])]]
    if worth:
        lines += ["", *_table(worth)]
    if rest:
        lines += ["", f"<details><summary>{len(rest)} more</summary>", "", *_table(rest), "", "</details>"]
    return "\n".join([*lines, "", f"<sub>{_circumstances(record)}</sub>"]) + "\n"


def nothing_compared(said: str) -> str:
    """Return the comment on a gate that had nothing to compare, with the reason."""
    return f"### normsuite gate: no regression\n\n{markdown.escaped(said)}\n"


def _table(found: Sequence[CellRow]) -> list[str]:
    columns = ("", "cell", "metric", Column("head against base", is_number=True), "verdict", "note")
    rows = [(_SIGNS[row.verdict], row.cell, row.metric, row.comparison, row.verdict, row.remark) for row in found]
    return markdown.table(Table("", columns, rows))


def _circumstances(record: dict) -> str:
    """Return the machine, the time spent and the thresholds."""
    gate = schema.of(record, Gate)
    case, environment = gate.case, gate.environment
    torch = environment.packages.get("torch")
    of_base = torch if environment.base is None else (environment.base.packages or {}).get("torch", torch)
    if of_base != torch:
        torch = f"{torch} (base: {of_base})"
    return (
        f"{markdown.escaped(environment.cpu)}, {said_of_threads(gate)}, torch {torch}; {gate.spent_s:.0f} s; intervals "
        f"hold together with {1 - case.alpha:.0%} probability; {said_of_thresholds(gate)}."
    )
