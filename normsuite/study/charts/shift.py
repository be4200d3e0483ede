"""Charts of covariate shift while training, in both senses of `study.shift`."""

from ...lesson.claims import over_layers
from ...presentation.charts import Chart
from ..line_charts import lines_of
from ..summary import Study

SECTION = "shift"


def charts(study: Study) -> list[Chart]:
    """Return covariate shift in both senses; no chart where the runs did not record it."""
    if not all(run["samples"].get("shift") for run in study.records):
        return []
    return [
        _watched(
            study,
            "shift",
            "covariate shift",
            "How far means and deviations of a layer's inputs have moved since half an epoch before, in deviations: "
            "median over the layers that still vary, mean over the seeds, band from the lowest seed to the highest.",
        ),
        _watched(
            study,
            "gradient_change",
            "gradient change",
            "How much a layer's gradient changes when the layers before it take one step, relative to its size "
            "(Santurkar et al. 2018): median over the layers that still have one, mean over the seeds, band from the "
            "lowest seed to the highest.",
        ),
    ]


def _watched(study: Study, key: str, name: str, caption: str) -> Chart:
    def lines(norm: str):
        of_norm = study.runs(norm)
        runs = [[over_layers(of["layers"], key) for of in run["samples"]["shift"]] for run in of_norm]
        looks = len(runs[0]) / len(of_norm[0]["samples"]["epochs"])  # an epoch
        places = [place for place in range(len(runs[0])) if all((run[place] or 0) > 0 for run in runs)]  # a logarithm
        return [place / looks for place in places], [[run[place] for place in places] for run in runs]

    return lines_of(
        study,
        f"learning-{key}",
        lines,
        along="epochs done",
        up=f"{name} (logarithmic)",
        caption=caption,
        said=f"{name.capitalize()} at the last place where no run has collapsed",
        unit="",
        logarithmic=True,
    )
