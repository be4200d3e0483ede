"""The kept outcomes of simulations, from which the tables of docs/ are made: a JSON line for each row of a table.

`--out FILE` of each `tools.simulate_…` adds its rows to that file; of equal rows the latest counts.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from normsuite.gate.self_check_rates import Rate

KEPT = Path(__file__).parent.parent / "reports" / "reference" / "simulations.jsonl"


def kept_in(file: Path | None, row: dict) -> dict:
    """Add a row to a file, if there is one, and return it."""
    if file is not None:
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
    return row


def kept(what: str, keys: Iterable[str], file: Path = KEPT) -> list[dict]:
    """Return the rows of one simulation, of those that agree in all of `keys` the latest, in the order of the first."""
    found: dict[tuple, dict] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["what"] == what:
            found[tuple(row[key] for key in keys)] = row
    return list(found.values())


def at_most(k: int, n: int) -> str:
    """Return a count with the upper bound of its rate (one-sided, 95 %)."""
    return f"{k} of {n} (≤ {Rate(k, n).at_most:.1%})"
