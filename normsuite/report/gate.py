"""What the gate found, as sentences and a table."""

from ..gate import rates, summary
from ..gate.decide import Thresholds
from .collect import GATE_COMMAND, SELF_CHECK_COMMAND
from .tables import Table, data_size, percent, relative, seconds

_SHOWS = {"s": seconds, "bytes": data_size, "share": percent, "": relative}


def headline(record: dict) -> str:
    """Which two versions, and what came of it."""
    code = summary.exit_code(record, summary.rows(record))
    said = {
        summary.NO_REGRESSION: "no regression",
        summary.REGRESSION: "a regression",
        summary.NOTHING_DECIDED: "too little decided",
    }[code]
    return f"{summary.title(record)}: {said}."


def sentences(record: dict) -> list[str]:
    """Verdicts counted, and what was noted on the way."""
    return [*summary.sentences(record, summary.rows(record)), *record.get("notes", [])]


def table(record: dict) -> Table:
    """Every row, the worst verdicts first."""
    case = record["case"]
    thresholds = Thresholds.of(case["margins"])
    return Table(
        caption=f"{summary.title(record)}. Intervals hold together with {1 - case['alpha']:.0%} probability, over all "
        f"cells and looks; a time is worse above {thresholds.worse:.2%} and "
        f"the same within {thresholds.same:.0%}. Counted bytes and errors have no "
        "interval",
        columns=("cell", "metric", "base", "head", "head against base", "verdict", "note"),
        rows=[
            (
                row.cell,
                row.metric,
                *("–" if value is None else _SHOWS[row.unit](value) for value in (row.base, row.head)),
                row.comparison or "–",
                row.verdict,
                row.remark,
            )
            for row in summary.rows(record)
        ],
        command=GATE_COMMAND,
    )


def error_rates(records: list[dict]) -> Table:
    """How often the gate is wrong, of tables that were made to find out."""
    of = rates.found(records)
    asked = [
        ("equal", "tables with a false alarm", of.false_alarms),
        ("equal", "tables with something called better", of.false_praise),
        ("equal", "cells called the same", of.settled),
        ("not slower", "cells called worse", of.false_cells),
        ("not slower", "cells undecided", of.undecided),
        *((f"slower by {share:.0%}", "cells called worse", rate) for share, rate in of.planted.items()),
        *((f"measured {size} slower", "cells called worse", rate) for size, rate in rates.by_size(records).items()),
    ]
    environment = records[-1]["environment"]
    typical, longest = map(seconds, of.seconds)
    return Table(
        caption=f"The gate's own error rates, from {len(records)} tables on {environment['cpu']}, "
        f"{environment['cores']} cores. Bounds: one-sided, 95 %, Clopper and Pearson; they take tables to be "
        "independent, and cells of one table too, which they are not: read those over cells as of a third as many. A "
        f"table took {typical} in the median, {longest} at most",
        columns=("versions", "counted", "found", "of", "at least", "at most"),
        rows=[
            (versions, counted, str(rate.k), str(rate.n), f"{rate.at_least:.3g}", f"{rate.at_most:.3g}")
            for versions, counted, rate in asked
            if rate.n
        ],
        command=SELF_CHECK_COMMAND,
    )


def method(record: dict) -> Table:
    """Where and how it was measured."""
    environment, case = record["environment"], record["case"]
    rows = [
        ("processor", environment["cpu"]),
        ("cores", str(environment["cores"])),
        ("threads", str(case["threads"])),
        *environment["packages"].items(),
        ("base", f"{case['base']['commit']} {case['base'].get('subject', '')}".strip()),
        ("head", f"{case['head']['commit']} {case['head'].get('subject', '')}".strip()),
        ("time spent", seconds(record["spent_s"]) if "spent_s" in record else "unknown"),
    ]
    return Table("The gate", ("what", "value"), rows, GATE_COMMAND)
