"""The document's worked example computed again: which elements share a mean, and whether each printed figure holds."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from math import prod, sqrt

import numpy as np

from .. import oracle
from ..presentation.table import BAD, GOOD, WARNING
from ..spec import NormSpec
from . import document

VERDICTS = EXACT, ROUNDED, TRUNCATED, WRONG, NOT_PRINTED = "exact", "rounded", "truncated", "wrong", "not printed"
"""Verdicts on a printed figure: the first that holds, or the last where there is no figure."""

TONES = {EXACT: GOOD, ROUNDED: GOOD, TRUNCATED: WARNING, WRONG: BAD}


@dataclass(frozen=True)
class Figure:
    """One figure, label or count of the document beside what it should be.

    Attributes:
        norm: the norm's name.
        index: the group it belongs to, from 1 in reading order; None for what concerns the norm as a whole.
        statistic: "mean", "std" and "variance" ("rms" and "mean square" for a norm that does not centre), "label" or
            "parameters".
        printed: as the document has it, or None.
        computed: what it is.
        verdict: one of `VERDICTS`.
        note: for "wrong" what the printed figure really is, where it is something; whose example it is.
    """

    norm: str
    index: int | None
    statistic: str
    printed: str | None
    computed: float | int | str
    verdict: str
    note: str = ""


def values() -> np.ndarray:
    """Return the worked example, (3, 4, 1, 2) in float64."""
    return np.array(document.IMAGES, dtype=np.float64)


def letter(index: int) -> str:
    """Return what a group is called in drawings and tables: A for the first, whose index is 1."""
    return chr(ord("A") + index - 1)


def num_groups(spec: NormSpec) -> int | None:
    """Return how many groups the worked example uses for that norm, where the norm asks."""
    if spec.groups != "given":
        return None
    return document.example(spec.name).num_groups or document.DEFAULT_GROUPS


def labels(spec: NormSpec) -> np.ndarray:
    """Return which group each element of the worked example belongs to."""
    return oracle.group_labels(spec, values().shape, num_groups(spec))


def match(printed: str, computed: float) -> str | None:
    """Return how a printed figure comes from a computed one: "exact", "rounded", "truncated", or None if it does not.

    The first that holds. Rounding and truncation are taken at the number of decimals printed. The computed value is
    known to about 15 digits, so 12 decimals decide what is exact.
    """
    shown = Decimal(printed)
    value = Decimal(repr(float(computed))).quantize(Decimal("1e-12"))
    if shown == value:
        return EXACT
    if shown == value.quantize(shown, ROUND_HALF_UP):
        return ROUNDED
    if shown == value.quantize(shown, ROUND_DOWN):
        return TRUNCATED
    return None


def judge(printed: str | None, computed: float, others: dict[str, float]) -> tuple[str, str]:
    """Return the verdict on one printed figure, and for a wrong one which of `others` it is.

    Args:
        printed: as printed, or None.
        computed: the true value.
        others: what a figure could be mistaken for, by name; the first that fits is named.
    """
    if printed is None:
        return NOT_PRINTED, ""
    verdict = match(printed, computed)
    if verdict is not None:
        return verdict, ""
    for name, other in others.items():
        how = match(printed, other)
        if how is not None:
            return WRONG, f"it is {name}, {other:.6g}{'' if how == EXACT else f', {how}'}"
    return WRONG, f"it is none of {', '.join(others)}"


def explain(spec: NormSpec) -> list[Figure]:
    """Return every figure of the worked example for one norm, in reading order.

    Behind them come its label, where the document has one, and its parameter count.
    """
    printed = document.example(spec.name)
    ours = "" if printed.mean else "our own example: the lesson has none of this norm"
    figures = {"mean": printed.mean, "std": printed.std}
    x, label = values(), labels(spec)
    groups = int(label.max()) + 1
    rows: list[Figure] = []
    for group in range(groups):
        known = _statistics(x[label == group])
        for statistic in ("mean", "std", "variance") if spec.centred else ("rms", "mean square"):
            figure = figures[statistic][group] if figures.get(statistic) else None
            others = {f"the {_SHORT.get(other, other)}": value for other, value in known.items() if other != statistic}
            verdict, note = judge(figure, known[statistic], others)
            rows.append(Figure(spec.name, group + 1, statistic, figure, known[statistic], verdict, note or ours))
    if printed.std_label is not None:
        rows.append(_label_row(printed, rows))
    rows.append(_parameter_row(spec, printed, groups))
    return rows


_SHORT = {
    "std": "standard deviation",
    "unbiased std": "unbiased standard deviation",
    "rms": "root mean square",
}
"""Statistics whose names are short, in words."""


def _statistics(numbers: np.ndarray) -> dict[str, float]:
    n = numbers.size
    (mean,), (variance,) = oracle.statistics(numbers, np.zeros(n, dtype=int))
    square = float((numbers**2).mean())
    return {
        "mean": float(mean),
        "std": sqrt(variance),
        "variance": float(variance),
        "unbiased std": sqrt(variance * n / (n - 1)),
        "unbiased variance": float(variance * n / (n - 1)),
        "rms": sqrt(square),
        "mean square": square,
        "median": float(np.median(numbers)),
    }


def _label_row(printed: document.Example, rows: list[Figure]) -> Figure:
    """Return what the second row of figures is called, against what most of its figures are."""
    label = "std" if sum(r.verdict != WRONG for r in rows if r.statistic == "std") * 2 > len(printed.std) else "var"
    right = printed.std_label == label
    note = "" if right else f"most figures labelled {printed.std_label} are standard deviations"
    return Figure(printed.norm, None, "label", printed.std_label, label, EXACT if right else WRONG, note)


def _parameter_row(spec: NormSpec, printed: document.Example, groups: int) -> Figure:
    """Return how many weights and biases the norm learns on the worked example."""
    _, channels, *spatial = values().shape
    kinds = 2 if spec.centred else 1
    per_channel, per_element = kinds * channels, kinds * channels * prod(spatial)
    meaning = f"a weight{' and a bias' if spec.centred else ''} per {spec.affine}"
    count = per_element if spec.affine == "element" else per_channel
    others = {
        "one pair per channel": per_channel,
        "one pair per element": per_element,
        "one pair per mean": 2 * groups,
    }
    verdict, note = judge(printed.parameters, count, {k: v for k, v in others.items() if v != count})
    if verdict != WRONG and not note:
        note = meaning + ("" if spec.affine_by_default else ", off unless asked for")
    return Figure(spec.name, None, "parameters", printed.parameters, count, verdict, note)


def drawing(spec: NormSpec) -> str:
    """Return the worked example as text, every element followed by the letter of the group whose mean it shares."""
    x, label = values(), labels(spec)
    rows = [[f"channel {c + 1}" for c in range(x.shape[1])]]
    for image, groups in zip(x, label, strict=True):
        rows.append(
            [
                " ".join(f"{v:2g}{letter(g + 1)}" for v, g in zip(channel.flat, group.flat, strict=True))
                for channel, group in zip(image, groups, strict=True)
            ]
        )
    width = max(len(cell) for row in rows for cell in row)
    names = ["", *(f"image{n + 1}" for n in range(len(x)))]
    return "\n".join(
        f"{name:6} │ " + " │ ".join(cell.ljust(width) for cell in row) + " │"
        for name, row in zip(names, rows, strict=True)
    )
