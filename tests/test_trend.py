"""The report's trend: steps with their size, segments apart."""

import math
import re

import numpy as np
import pytest

from normsuite import history
from normsuite.errors import ArgumentError
from normsuite.history import AsvResult
from normsuite.history import charts as trend
from normsuite.history import sparklines as small

pytestmark = pytest.mark.usefixtures("own_cache")

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_noise():
    """Give a test the same noise in whichever order tests run."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def measured(norm, value, commit, *, torch="2.14.1"):
    parameters = {"norm": norm, "backend": "torch", "case": "tiny", "device": "cpu"}
    noisy = float(value * np.exp(0.01 * RNG.normal()))
    day = 86_400.0 * commit
    return AsvResult(
        "latency.Latency.track_training_step", [parameters], "seconds", f"{commit:08x}" + 32 * "0", day,
        1000 * day + (torch != "2.14.1"), "A processor, 2 cores", torch, (noisy,), ((),), (math.nan,), (math.nan,),
    )  # fmt: skip


def trends(results):
    return history.trends(history.segments(results))


def test_a_step_is_marked_and_said():
    found = [measured("BatchNorm", 1e-3 if i < 10 else 1.5e-3, i) for i in range(20)]
    found += [measured("GroupNorm", 1e-3, i) for i in range(20)]
    (chart,) = trend.charts(trends(found))
    said = dict(part.split(" from ", 1) for part in chart.alternative.partition(": ")[2].split("; "))
    assert re.search(r"regression of \+\d.* at 0000000a$", said["BatchNorm"]) and "regression" not in said["GroupNorm"]
    assert len(re.findall(r">\+\d\d %<", chart.svg)) == 1
    assert "torch 2.14.1" not in chart.svg, "one segment needs no name"


def test_another_torch_is_drawn_apart():
    found = [measured("BatchNorm", 1e-3, i) for i in range(6)]
    found += [measured("BatchNorm", 2e-3, i, torch="2.15.0") for i in range(3, 8)]
    (chart,) = trend.charts(trends(found))
    assert chart.svg.index("torch 2.14.1") < chart.svg.index("torch 2.15.0")
    assert "over 8 commits" in chart.alternative and "regression" not in chart.alternative
    old, new = "torch 2.14.1", "torch 2.15.0"
    places = trend._places(trends(found))
    of = {versions: [x for (v, _), x in places.items() if v == versions] for versions in (old, new)}
    assert of == {old: [0, 1, 2, 3, 4, 5], new: [7, 8, 9, 10, 11]}


def test_nothing_measured_is_no_chart():
    assert trend.charts([]) == []


def test_series_are_drawn_on_demand():
    found = [measured(norm, 1e-3, i) for norm in ("BatchNorm", "GroupNorm") for i in range(6)]
    (chart,) = trend.charts(trends(found), "GroupNorm torch")
    assert "BatchNorm from" in chart.alternative and "GroupNorm from" in chart.alternative, "a chart has all norms"
    with pytest.raises(ArgumentError, match="series = 'memory': matches no series; benchmarks are latency"):
        trend.charts(trends(found), "memory")
    with pytest.raises(ArgumentError, match=r"series = '\(': is no regular expression"):
        trend.charts(trends(found), "(")


def test_a_picture_keeps_the_extremes_of_a_long_series():
    values = RNG.normal(size=1003).tolist()
    values[333], values[500], values[777], values[1002] = 9.0, math.inf, -9.0, math.nan
    kept = small._thinned(values)
    places = [place for place, _ in kept]
    assert places == sorted(set(places)) and 60 < len(kept) <= 120
    assert (333, 9.0) in kept and (777, -9.0) in kept and all(math.isfinite(value) for _, value in kept)
    assert small._thinned([3.0, 1.0, 2.0]) == [(0, 3.0), (1, 1.0), (2, 2.0)]
    assert small._thinned([1.0, 2.0] * 60) == list(enumerate([1.0, 2.0] * 60)), "as many as fit are all there"
