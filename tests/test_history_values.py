"""Values of any kind: zero, negative, counted, missing, infinite; nothing is ever shown as "nan"."""

import json
import math

import pytest
from asv_folder import DAY, NAME, START, Folder, commit_of
from typer.testing import CliRunner

from normsuite import history, report
from normsuite.cli import app
from normsuite.history.steps import IMPROVEMENT, REGRESSION, UNDECIDED, WITHIN_NOISE
from normsuite.history.summary import change

pytestmark = pytest.mark.usefixtures("own_cache")


def write(path, values, unit="calls", **of):
    folder = Folder(path).list({NAME: {"unit": unit, **of}})
    for n, value in enumerate(values):
        folder.add(commit_of(n), START + DAY * n, {NAME: [value]})
    return path


def trend_of(path):
    (trend,) = history.trends(history.segments(history.read(path).results))
    return trend


STEPPED = {
    "0 to 5": ([0] * 20 + [5] * 20, REGRESSION, "+5 calls"),
    "5 to 0": ([5] * 20 + [0] * 20, IMPROVEMENT, "-5 calls"),
    "doubled": ([3] * 20 + [6] * 20, REGRESSION, "+100 %"),
    "a 0 among them": ([3] * 9 + [0] + [3] * 10 + [6] * 20, REGRESSION, "+3 calls"),
    "below 0": ([-5] * 20 + [-2] * 20, REGRESSION, "+3 calls"),
    "from below 0 to above": ([-1] * 20 + [1] * 20, REGRESSION, "+2 calls"),
    "to infinity": ([1.0, 1.01, 0.99, 1.02] * 5 + [math.inf] * 10, REGRESSION, "infinite"),
    "from infinity": ([math.inf] * 10 + [1.0, 1.01, 0.99, 1.02] * 5, IMPROVEMENT, ""),
    "a little": ([1000] * 20 + [1005] * 20, WITHIN_NOISE, "+0.5 %"),
}


@pytest.mark.parametrize("unit", ["calls", "bytes"])
@pytest.mark.parametrize(("values", "verdict", "size"), STEPPED.values(), ids=STEPPED)
def test_a_step_of_any_values_is_judged(tmp_path, values, verdict, size, unit):
    trend = trend_of(write(tmp_path, values, unit))
    found = [step for step in trend.steps if step.verdict == verdict]
    assert found and change(found[-1]).startswith(size.replace("calls", unit))
    assert "nan" not in change(found[-1])


def test_noise_about_0_is_judged_by_differences(tmp_path):
    draw = [math.sin(37 * n) for n in range(40)]
    quiet = trend_of(write(tmp_path / "quiet", draw))
    assert not any(s.verdict in (REGRESSION, IMPROVEMENT) for s in quiet.steps) and not quiet.relative
    moved = trend_of(write(tmp_path / "moved", [value + (20 if n >= 20 else 0) for n, value in enumerate(draw)]))
    (step,) = moved.steps
    assert step.verdict == REGRESSION and 18 < step.difference.low < 20 < step.difference.high < 22
    assert math.isnan(step.ratio.value) and 0 < moved.floor < 5


def test_bytes_with_noise_are_not_called_exact(tmp_path):
    """A process's peak memory has bytes for its unit, and swings."""
    values = [1e8 * (1 + 0.02 * math.sin(37 * n)) for n in range(30)]
    trend = trend_of(write(tmp_path, values, "bytes", type="peakmem"))
    assert not trend.segment.exact and not any(s.verdict in (REGRESSION, IMPROVEMENT) for s in trend.steps)


def test_a_count_that_swings_between_two_values_is_not_called_exact(tmp_path):
    trend = trend_of(write(tmp_path, [3, 3, 3, 3, 4, 4, 4, 4] * 5))
    assert not trend.segment.exact


def test_measurements_of_one_commit_that_differ_are_noise(tmp_path):
    write(tmp_path, [4] * 10)
    again = Folder(tmp_path, "again")
    again.add(commit_of(3), START + 3 * DAY, {NAME: [5]}, started=START + 50 * DAY)
    assert not trend_of(tmp_path).segment.exact


def test_a_value_that_vanishes_is_said(tmp_path):
    values = [1.0, 1.01, 0.99, 1.0, 1.01, math.nan, None]
    write(tmp_path, values, "seconds")
    done = CliRunner().invoke(app, ["history", "--from", str(tmp_path)])
    assert (
        f"1 series have no value at the newest commits (failed or n/a): earlier ones count ({NAME} since 00000006)"
        in (" ".join(done.output.split()))
    )


@pytest.mark.parametrize("values", [of[0] for of in STEPPED.values()], ids=STEPPED)
def test_nothing_shows_nan(tmp_path, values):
    folder = write(tmp_path / "reports" / "asv" / "results", values)
    done = CliRunner().invoke(app, ["history", "--from", str(folder)])
    assert done.exit_code in (0, 1) and "nan" not in done.output.lower()
    found = CliRunner().invoke(app, ["history", "--from", str(folder), "--json", "-"])
    json.loads(found.output)
    page, _ = report.write(tmp_path / "reports", tmp_path / "html", series="track")
    for name in page.parent.glob("*.html"):
        assert ">nan" not in name.read_text().lower() and "nan %" not in name.read_text().lower(), name


def test_a_last_count_is_confirmed_by_a_second(tmp_path):
    trend = trend_of(write(tmp_path, [1.0, 1.2, 0.9, 1.1, 1.0, 1.05, 5.0]))
    assert [step.verdict for step in trend.steps] in ([], [UNDECIDED])
