"""The digits that the study's networks got wrong: which for which, the worst of each norm, and where norms disagree."""

import math

import numpy as np

from ..presentation.charts import Chart, figure
from ..presentation.table import Column, Table
from ..records import kinds
from ..spec import NO_NORM
from . import mnist
from .summary import Study

GALLERY = 25
"""Digits shown of each norm."""

_ACROSS = 5


def _mistakes(study: Study, norm: str) -> dict[int, list[dict]]:
    """Return for each digit what the runs of that norm took it for."""
    found: dict[int, list[dict]] = {}
    for run in study.runs(norm):
        for mistake in run["samples"]["mistakes"]:
            found.setdefault(mistake["digit"], []).append(mistake)
    return found


def _recorded(study: Study) -> bool:
    """Return whether the runs say which of this package's digits they got wrong."""
    own = mnist.checksum(list(mnist.FILES.values()))
    return bool(study.records) and all(
        "mistakes" in run["samples"] and run.get("depends", {}).get("data") == own and not run["case"].get("hold_out")
        for run in study.records
    )


def confusion(study: Study) -> list[Chart]:
    """Return a matrix for each norm: which digits were taken for which, a run."""
    if not all({"mistakes", "tested"} <= run["samples"].keys() for run in study.records):
        return []
    return [_confusion(study, norm) for norm in study.norms]


def _confusion(study: Study, norm: str) -> Chart:
    runs = study.runs(norm)
    labels = len(runs[0]["samples"]["tested"])
    wrong = np.zeros((labels, labels))
    for run in runs:
        for mistake in run["samples"]["mistakes"]:
            wrong[mistake["label"], mistake["taken_for"]] += 1 / len(runs)
    worst = sorted(((wrong[i, j], i, j) for i, j in np.argwhere(wrong > 0)), reverse=True)[:3]
    said = "; ".join(f"{i} taken for {j} {count:.1f} times" for count, i, j in worst) or "no mistakes"
    return Chart(
        _matrix,
        (norm, wrong.tolist()),
        f"{norm}: {wrong.sum():.1f} mistakes a run, most often {said}",
        f"{norm}: mistakes of a run after the last epoch, mean over {len(runs)} seeds. What is right is left out.",
        kinds.STUDY.command,
    )


def _matrix(norm: str, mistakes: list[list[float]]) -> str:
    """Draw the mistakes in a run, by the digit and the one that it was taken for."""
    wrong = np.array(mistakes)
    labels = len(wrong)
    with figure(f"confusion-{norm}", 3.6, 3.4) as (finish, (axis,)):
        shown = axis.pcolormesh(wrong, cmap="Blues", vmin=0, edgecolors="none", rasterized=False)
        for label, taken in np.argwhere(wrong >= 0.05):
            dark = wrong[label, taken] > 0.6 * wrong.max()
            shown_as = f"{wrong[label, taken]:.{0 if wrong[label, taken] >= 9.95 else 1}f}"  # no wider than its cell
            axis.text(
                taken + 0.5, label + 0.5, shown_as, ha="center", va="center", fontsize=9,
                color="#ffffff" if dark else "#1c1f23",
            )  # fmt: skip
        shown.set_clim(0, max(wrong.max(), 1e-9))
        axis.set_xticks(np.arange(labels) + 0.5, range(labels))
        axis.set_yticks(np.arange(labels) + 0.5, range(labels))
        axis.invert_yaxis()
        axis.set_aspect("equal")
        axis.set_xlabel("taken for")
        axis.set_ylabel("digit")
        axis.set_title(norm)
        return finish()


def gallery(study: Study) -> list[Chart]:
    """Return a chart for each norm: the test digits that it took for others most confidently.

    There is none where the records have no such digits.
    """
    if not _recorded(study):
        return []
    return [_gallery(study, norm) for norm in study.norms]


def _gallery(study: Study, norm: str) -> Chart:
    runs, found = len(study.runs(norm)), _mistakes(study, norm)

    def confidence(digit: int) -> float:
        """Return the mean confidence in the wrong answer over all runs; a run that was right counts as 0."""
        of_runs = (float(mistake["confidence"]) for mistake in found[digit])
        return sum(of_run for of_run in of_runs if math.isfinite(of_run)) / runs  # a run that diverged has none

    worst = sorted(found, key=lambda digit: (-confidence(digit), digit))[:GALLERY]
    texts = []
    for digit in worst:
        said = [mistake["taken_for"] for mistake in found[digit]]
        taken = max(sorted(set(said)), key=said.count)
        texts.append(f"{found[digit][0]['label']} for {taken}, {confidence(digit):.0%}")
    return Chart(
        _mosaic,
        (f"gallery-{norm}", _pictures(worst), texts),
        f"{norm}, digits taken for others, with their place among the test digits: "
        + "; ".join(f"number {digit}, a {text}" for digit, text in zip(worst, texts, strict=True)),
        f"{norm}: the {len(worst)} digits that it got wrong most confidently. What each is and what it was taken for "
        "most often, with the confidence in wrong answers, mean over the seeds.",
        kinds.STUDY.command,
    )


def _pictures(places: list[int]) -> list:
    """Return pictures of the test digits, dark on light."""
    return [(255 - mnist.test_pictures()[place]).tolist() for place in places]


def _mosaic(name: str, pictures: list, texts: list[str]) -> str:
    down = max(1, -(-len(pictures) // _ACROSS))
    with figure(name, 4.3, 0.95 * down + 0.1) as (finish, (axis,)):
        for number, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
            row, column = divmod(number, _ACROSS)
            extent = (column, column + 0.8, -row - 0.8, -row)
            # The pixels as they are: drawn at the figure's size they take five times as many bytes.
            pixels = np.array(picture, dtype=np.uint8)
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none")
            axis.text(column + 0.4, -row - 0.84, text, ha="center", va="top", fontsize=9)
        axis.set_xlim(-0.1, _ACROSS - 0.1)
        axis.set_ylim(-down, 0.05)
        axis.set_axis_off()
        return finish()


def disagreements(study: Study, count: int = 15) -> tuple[Chart, Table] | None:
    """Return the digits that some norms get right and others do not."""
    norms = [norm for norm in study.norms if norm != NO_NORM]
    if not _recorded(study) or len(norms) < 2:
        return None
    wrong = {norm: _mistakes(study, norm) for norm in norms}
    share = {
        digit: [len(wrong[norm].get(digit, ())) / len(study.runs(norm)) for norm in norms]
        for digit in sorted({digit for of_norm in wrong.values() for digit in of_norm})
    }
    spread = {digit: max(shares) - min(shares) for digit, shares in share.items() if len(set(shares)) > 1}
    if not spread:
        return None
    most = sorted(spread, key=lambda digit: (-spread[digit], digit))[:count]
    labels = {d: next(m[0]["label"] for of_norm in wrong.values() if (m := of_norm.get(d))) for d in most}
    chart = Chart(
        _mosaic,
        ("disagreements", _pictures(most), [f"no. {digit}: {labels[digit]}" for digit in most]),
        "Digits that the norms disagree on, by their place among the test digits: "
        + ", ".join(f"number {digit}, a {labels[digit]}" for digit in most),
        "The digits whose share of wrong runs differs most between the norms, with their place among the test digits "
        "and what they are.",
        kinds.STUDY.command,
    )
    table = Table(
        "The same digits: share of runs that got each wrong",
        ("number", "digit", *(Column(norm, is_number=True) for norm in norms)),
        [(str(digit), str(labels[digit]), *(f"{part:.0%}" for part in share[digit])) for digit in most],
        kinds.STUDY.command,
    )
    return chart, table
