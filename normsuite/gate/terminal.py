"""A gate's rows as a table in the terminal."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from .decide import ACCEPTED, BETTER, FAILS, UNDECIDED, WORSE
from .summary import Row, notable, title

_STYLES = {WORSE: "red", FAILS: "red", ACCEPTED: "yellow", BETTER: "green", UNDECIDED: "yellow"}


def table(record: dict, found: Sequence[Row]) -> Table:
    """What is not simply the same, and everything that has an interval."""
    case = record["case"]
    shown = Table(
        "cell",
        "metric",
        "head against base",
        "of",
        "verdict",
        "",
        title=f"{escape(title(record))}: intervals hold together with {1 - case['alpha']:.0%} probability",
    )
    for row in notable(found):
        of = "" if row.values is None else str(row.values)
        style = _STYLES.get(row.verdict, "")
        shown.add_row(row.cell, row.metric, row.comparison, of, row.verdict, escape(row.remark), style=style)
    return shown
