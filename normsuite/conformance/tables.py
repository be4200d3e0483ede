"""Tables of checks: one target's results, and all recorded targets side by side. Imports no torch."""

from collections.abc import Sequence

from ..presentation.table import BAD, GOOD, WARNING, Column, Table
from ..records import kinds
from .result import DIFFERS, FAILS, NOT_APPLICABLE, OK, UNSUPPORTED, Report, Result, figures

TONES = {OK: GOOD, DIFFERS: WARNING, UNSUPPORTED: WARNING, FAILS: BAD}


def results(report: Report, *, everything: bool = True) -> Table:
    """Return the results of one target.

    Args:
        report: of the target.
        everything: with the checks that are ok and have nothing to say.
    """
    shown = [result for result in report.shown if everything or result.status != OK or _remarks(result)]
    columns = (
        "check",
        Column("result", tones=TONES),
        Column("figure", is_number=True),
        Column("torch", is_number=True),
        "remark",
    )
    rows = [(result.check, result.status, *figures(result.finding), result.line()) for result in shown]
    return Table(report.sentence(), columns, rows, kinds.CONFORMANCE.command)


def _remarks(result: Result) -> bool:
    """Return whether a check that is ok says something that is not about its figure, or was expected to fail."""
    return result.passes_unexpectedly or (bool(result.finding.text) and result.finding.figure is None)


def side_by_side(records: Sequence[dict]) -> dict[str, Table]:
    """Return a table for each norm that targets are like, by its name: a row for each check, a column for each target.

    Args:
        records: of checks, one a target.
    """
    by_norm: dict[str, list[dict]] = {}
    for record in records:
        by_norm.setdefault(record["case"]["like"] or "no norm", []).append(record)
    return {norm: _side_by_side(norm, alike) for norm, alike in by_norm.items()}


def _side_by_side(norm: str, records: Sequence[dict]) -> Table:
    found = [{of["check"]: Result.from_dict(of) for of in record["samples"]["results"]} for record in records]
    sentences = {check: result.sentence for of_target in found for check, result in of_target.items()}
    applies = [
        check for check in sentences if any(of.get(check) and of[check].status != NOT_APPLICABLE for of in found)
    ]
    rows = [(check, *(_cell(of.get(check)) for of in found), sentences[check]) for check in applies]
    return Table(
        f"Checks of targets that are like {norm}",
        ("check", *(Column(_title(record["case"]), tones=TONES) for record in records), "what it looks at"),
        rows,
        kinds.CONFORMANCE.command,
    )


def _title(case: dict) -> str:
    """Return a target's name, with the backend where it was asked for."""
    backend = case["kwargs"].get("backend")
    return case["target"] if backend is None else f"{case['target']}, backend {backend.strip(chr(39))}"


def _cell(result: Result | None) -> str:
    """Return a result's word, and behind it its figure with torch's beside it, or the reason."""
    if result is None:
        return "not checked"
    finding = result.finding
    own, torchs = figures(finding)
    figure = f"{own} (torch {torchs})" if own and torchs else own
    said = figure or finding.text if finding.status in (OK, DIFFERS) else finding.text or figure
    expected = f"; expected: {result.expected}" if result.expected else ""
    return f"{finding.status}{f': {said}' if said else ''}{expected}"


def sentence(record: dict) -> str:
    """Return how many checks of a record ended how."""
    case, samples = record["case"], record["samples"]
    results_of = tuple(Result.from_dict(of) for of in samples["results"])
    return Report(_title(case), case["like"], results_of, tuple(samples["notes"])).sentence() + "."
