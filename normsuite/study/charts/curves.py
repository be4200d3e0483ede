"""Charts of loss and accuracy by epoch, and of accuracy against time."""

import numpy as np

from ...presentation.charts import Chart
from ..line_charts import STRETCHED, lines_of
from ..summary import Study

SECTION = "results"


def charts(study: Study) -> list[Chart]:
    """Return the document's four charts, and accuracy against time where runs were timed alike.

    Each has a line for each norm, the mean over the seeds, in a band from lowest to highest.
    """
    found = [
        _epochs(study, "train_loss", "training loss", "nats", 1.0, True),
        _epochs(study, "test_loss", "test loss", "nats", 1.0, True),
        _epochs(study, "train_accuracy", "training accuracy", "%", 100.0, False),
        _epochs(study, "test_accuracy", "test accuracy", "%", 100.0, False),
    ]
    return [*found, *([_against_seconds(study)] if study.is_timed_alike else [])]


def _epochs(study: Study, key: str, name: str, unit: str, scale: float, logarithmic: bool) -> Chart:
    def lines(norm: str):
        rows = [[float(e[key]) * scale for e in run["samples"]["epochs"]] for run in study.runs(norm)]
        return list(range(1, len(rows[0]) + 1)), rows

    return lines_of(
        study,
        f"learning-{key}",
        lines,
        along="epoch",
        up=f"{name} ({unit}{', logarithmic' if logarithmic else ''})",
        caption=f"{name.capitalize()}: mean over {len(study.seeds)} seeds, band from the lowest seed to the "
        f"highest.{'' if logarithmic else STRETCHED}",
        said=f"{name.capitalize()} after the last epoch",
        unit=unit,
        logarithmic=logarithmic,
    )


def _against_seconds(study: Study) -> Chart:
    def lines(norm: str):
        runs = [run["samples"]["epochs"] for run in study.runs(norm)]
        spent = np.cumsum([[epoch["seconds"] for epoch in epochs] for epochs in runs], axis=1).mean(axis=0)
        return list(spent), [[100 * epoch["test_accuracy"] for epoch in epochs] for epochs in runs]

    return lines_of(
        study,
        "learning-seconds",
        lines,
        along="seconds of training on one thread",
        up="test accuracy (%)",
        caption="Test accuracy against time: a point for each epoch, mean over the seeds, band from the lowest seed to "
        "the highest. Runs shared the machine: the seconds are this machine's, and only roughly comparable."
        f"{STRETCHED}",
        said="Test accuracy after the last epoch",
        unit="%",
        logarithmic=False,
        whole=False,
    )
