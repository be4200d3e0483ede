"""A study's outcome as tables for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from .. import claims, comparisons
from ..statistics import Interval
from .summary import best, cells

SHOWN = ("test accuracy", "covariate shift")
"""Metrics whose pairs are shown here; --json and the report have all."""


def percent(interval: Interval) -> str:
    if interval.low != interval.low:
        return f"{interval.value:.2%}"
    return f"{interval.value:.2%} [{interval.low:.2%}, {interval.high:.2%}]"


def tables(records: Sequence[dict]) -> list[Table]:
    """Of one comparison: accuracies, pairs, epochs to a target, claims. Of several settings: the accuracies in each."""
    names, of_all = cells(records)
    if names:
        return [_settings(names, of_all)]
    return [_accuracies(of_all), *(_pairs(records, metric) for metric in SHOWN), _reaching(records), _claims(records)]


def _settings(names: list[str], of_all) -> Table:
    settings = list(dict.fromkeys(cell.setting for cell in of_all))
    heads = [", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in s) for s in settings]
    table = Table("norm", *heads, "best", title=f"Test accuracy by {', '.join(names)}: mean over the seeds [95 %]")
    for norm, winner in best(of_all).items():
        own = {cell.setting: percent(cell.accuracy) for cell in of_all if cell.norm == norm}
        table.add_row(norm, *(own.get(setting, "–") for setting in settings), heads[settings.index(winner.setting)])
    return table


def _accuracies(of_all) -> Table:
    table = Table(
        "norm", "seeds", "test accuracy", "test loss", title="After the last epoch: mean over the seeds [95 %]"
    )
    for cell in of_all:
        loss = f"{cell.loss.value:.4f} [{cell.loss.low:.4f}, {cell.loss.high:.4f}]"
        table.add_row(cell.norm, str(cell.seeds), percent(cell.accuracy), loss)
    return table


def _pairs(records: Sequence[dict], metric: str) -> Table:
    found = [pair for pair in comparisons.pairs(records) if pair.metric == metric]
    margin = f"{claims.METRICS[metric].margin:g}"
    table = Table(
        "left", "right", "left − right [95 %]", "effect", "p, Holm", "p, equivalence", "left is",
        title=f"{metric}, paired by seed; p: the largest of the tests that must agree; equivalent: within ± {margin}",
    )  # fmt: skip
    for pair in found:
        d = pair.found.difference
        table.add_row(
            pair.left,
            pair.right,
            f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]",
            f"{pair.found.effect:+.2f}",
            f"{pair.p:.3g}",
            f"{pair.p_equivalent:.3g}",
            pair.verdict,
        )
    return table


def _reaching(records: Sequence[dict]) -> Table:
    table = Table(
        "norm", "test accuracy", "runs", "median epoch", "p against none, Holm", title="Epochs to an accuracy"
    )
    for row in comparisons.reaching(records):
        runs = f"{row.reached.count} of {len(row.reached.epochs)}"
        median = "not reached" if row.reached.median is None else f"{row.reached.median:g}"
        table.add_row(row.norm, f"{row.target:.0%}", runs, median, "–" if row.p != row.p else f"{row.p:.3g}")
    return table


def _claims(records: Sequence[dict]) -> Table:
    table = Table("claim of the document", "verdict", title="What these runs say")
    for judged in claims.judge(records):
        table.add_row(judged.claim.text, judged.verdict)
    return table
