"""The document's figures, label and parameter counts beside the computed ones, as tables."""

from ..presentation import text
from ..presentation.table import Column, Table
from ..spec import NormSpec
from . import explain

COMMAND = "normsuite explain"


def worked_example(spec: NormSpec) -> list[Table]:
    """Return a table with a row for each group that shares a mean, and one of the label and the parameter count."""
    x, labels = explain.values(), explain.labels(spec)
    by_group: dict[int | None, list[explain.Figure]] = {}
    for row in explain.explain(spec):
        by_group.setdefault(row.index, []).append(row)
    rows = []
    for index, (*printable, derived) in ((i, of_group) for i, of_group in by_group.items() if i is not None):
        notes = [f"{r.statistic}: {r.note}" for r in printable if r.verdict == explain.WRONG]
        rows.append(
            (
                explain.letter(index),
                ", ".join(f"{v:g}" for v in x[labels == index - 1]),
                *(cell for r in printable for cell in (r.printed or text.ABSENT, f"{r.computed:.6g}", r.verdict)),
                f"{derived.computed:.6g}",
                "; ".join(notes) or derived.note,
            )
        )
    command = f"{COMMAND} {spec.name}"
    figures = Table(
        f"{spec.name}: the document's figures, and what they are",
        ("group", "numbers", *(c for r in printable for c in _judged(f"{r.statistic}: ")), derived.statistic, "note"),
        rows,
        command,
    )
    names = {"label": "the std row's label", "parameters": "learnable parameters"}
    others = Table(
        f"{spec.name}: what else the document prints",
        ("what", *_judged(), "note"),
        [
            (names[row.statistic], row.printed or text.ABSENT, str(row.computed), row.verdict, row.note)
            for row in by_group[None]
        ],
        command,
    )
    return [table for table in (figures, others) if table.rows]


def _judged(statistic: str = "") -> tuple[str | Column, ...]:
    """Return the columns of a figure: as printed, as computed, and the verdict."""
    return f"{statistic}printed", f"{statistic}computed", Column(f"{statistic}verdict", tones=explain.TONES)


def figures(rows: list[explain.Figure]) -> Table:
    """Return a row for each figure, as a terminal has room for."""
    return Table(
        "",
        ("", "statistic", *_judged(), "note"),
        [
            (
                "" if row.index is None else explain.letter(row.index),
                row.statistic,
                row.printed or text.ABSENT,
                f"{row.computed:.6g}" if isinstance(row.computed, float) else str(row.computed),
                row.verdict,
                row.note,
            )
            for row in rows
        ],
        COMMAND,
    )
