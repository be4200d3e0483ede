"""Steps and regressions in a history that asv's own writer wrote; the command that shows them."""

import inspect
import itertools
import math

import numpy as np
import pytest
from asv import step_detect
from asv_series import write
from typer.testing import CliRunner

from normsuite import history
from normsuite.cli import app
from normsuite.history import adapter, contrast, files, levels, tables
from normsuite.history.steps import IMPROVEMENT, REGRESSION, UNDECIDED, WITHIN_NOISE
from normsuite.history.summary import change, percent_of, size
from normsuite.machine.helpers import ALONE, Helpers
from normsuite.statistics import Interval

pytestmark = pytest.mark.usefixtures("own_cache")
RNG = np.random.default_rng(0)
BEFORE, AFTER = 15, 15


@pytest.fixture(autouse=True)
def _same_noise():
    """Give a test the same noise in whichever order tests run."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def noisy(*levels, noise=0.01):
    """Values about each of (level, how many)."""
    return [float(level * np.exp(noise * e)) for level, n in levels for e in RNG.normal(size=n)]


def only(folder):
    (trend,) = history.trends(history.segments(history.read(folder).results))
    return trend


def test_asv_step_detection_is_what_the_adapter_takes_it_to_be():
    assert list(inspect.signature(step_detect.detect_steps).parameters) == ["y", "w"]
    ((first, behind, value, least, error), second) = step_detect.detect_steps([1.0, 1.1, 1.0, 1.1, 5.0, 5.1, 5.0, 5.1])
    assert (first, behind, second[:2]) == (0, 4, (4, 8)) and least == 1.0 and 1.0 <= value <= 1.1 and error < 0.1
    assert adapter.levels([1.0, 1.1, 1.0, 1.1, 5.0, 5.1, 5.0, 5.1]) == [(0, 4), (4, 8)]
    assert adapter.levels([1.0]) == [(0, 1)] and adapter.levels([]) == []


def test_a_regression_has_its_commit_size_and_interval(tmp_path):
    trend = only(write(tmp_path, {"BatchNorm": noisy((1e-3, BEFORE), (1.2e-3, AFTER))}))
    (step,) = trend.steps
    assert step.verdict == REGRESSION and step.counts
    assert int(step.commit[:8], 16) == BEFORE + 1 and int(step.before_commit[:8], 16) == BEFORE
    assert 1.15 < step.ratio.low < 1.2 < step.ratio.high < 1.25
    assert 1.01 < trend.floor < 1.06, "two neighbours with 1 % of noise each: 1.96 · √2 · 1 %"
    assert change(step).startswith("+") and "[+" in change(step)


def test_the_noise_floor_is_that_of_measurements_of_one_commit_where_there_are_any(tmp_path):
    """Commits differ by 1 %, measurements of one commit by a tenth of that; three of them are enough."""
    values = noisy((1e-3, 12))
    again = [value * factor for value, factor in zip(values, (1.001, 0.999, 1.0015), strict=False)]
    write(tmp_path, {"BatchNorm": values})
    apart = only(tmp_path)
    write(tmp_path, {"BatchNorm": again[:2]}, host="second", first_day=100)
    assert only(tmp_path).floor > 1.01 and only(tmp_path).repeats == 0, "two are too few"
    write(tmp_path, {"BatchNorm": again}, host="second", first_day=100)
    trend = only(tmp_path)
    assert trend.repeats == 3 and apart.repeats == 0 and apart.floor > 1.01
    assert trend.floor == pytest.approx(np.exp(1.96 * 1.4826 * 1e-3), rel=1e-4)
    assert trend.segment.values == [*again, *values[3:]], "what was measured last counts"
    found = CliRunner().invoke(app, ["history", "--from", str(tmp_path)], terminal_width=200)
    assert "(repeats)" in found.output


def test_a_faster_commit_is_an_improvement(tmp_path):
    (step,) = only(write(tmp_path, {"BatchNorm": noisy((1.2e-3, BEFORE), (1e-3, AFTER))})).steps
    assert step.verdict == IMPROVEMENT and not step.counts and step.ratio.high < 0.9


def test_lower_accuracy_is_worse(tmp_path):
    (step,) = only(write(tmp_path, {"BatchNorm": noisy((0.99, BEFORE), (0.8, AFTER))}, unit="accuracy")).steps
    assert step.verdict == REGRESSION and step.ratio.high < 1
    (step,) = only(write(tmp_path / "up", {"BatchNorm": noisy((0.8, BEFORE), (0.99, AFTER))}, unit="accuracy")).steps
    assert step.verdict == IMPROVEMENT


def test_a_step_that_was_recovered_no_longer_counts(tmp_path):
    trend = only(write(tmp_path, {"BatchNorm": noisy((1e-3, 10), (1.3e-3, 10), (1e-3, 10))}))
    worse, better = trend.steps
    assert worse.verdict == REGRESSION and worse.recovered and not worse.counts
    assert better.verdict == IMPROVEMENT and not better.recovered
    rows = {row[1]: row[4] for row in tables.beyond_noise([trend]).rows}
    assert rows == {REGRESSION: "no, recovered", IMPROVEMENT: "–"}, "whether an improvement lasted is not known"


def test_a_last_commit_that_nothing_confirms_makes_up_for_nothing(tmp_path):
    values = [*noisy((1e-3, 10), (1.3e-3, 10)), 1e-3]
    worse, *_ = only(write(tmp_path / "one", {"BatchNorm": values})).steps
    assert worse.verdict == REGRESSION and worse.counts
    worse, *_ = only(write(tmp_path / "two", {"BatchNorm": [*values, 1e-3]})).steps
    assert worse.recovered


def test_bytes_need_no_second_commit_and_have_no_noise(tmp_path):
    trend = only(write(tmp_path, {"BatchNorm": [1000.0, 1500.0]}, unit="bytes"))
    (step,) = trend.steps
    assert step.verdict == REGRESSION and step.ratio == Interval(1.5, 1.5, 1.5)
    assert trend.floor == 1 and change(step) == "+50 %"


@pytest.mark.parametrize(
    ("factor", "said", "short"),
    [(2, "+100 %", "+100 %"), (13.4, "+1,240 %", "+1,200 %"), (1e7, "+1e+09 %", "+1e+09 %")],
)
def test_a_large_step_has_no_exponent_while_it_is_readable(tmp_path, factor, said, short):
    (step,) = only(write(tmp_path, {"BatchNorm": [1000.0, 1000.0 * factor]}, unit="bytes")).steps
    assert (change(step), size(step)) == (said, short)
    assert percent_of(3.0) == "200 %" and percent_of(1.012) == "1.2 %"


def test_bytes_that_grow_by_less_than_the_margin_are_no_regression(tmp_path):
    (step,) = only(write(tmp_path, {"BatchNorm": [1000.0] * 4 + [1005.0] * 4}, unit="bytes")).steps
    assert step.verdict == WITHIN_NOISE


def test_a_commit_that_stands_alone_is_set_aside(tmp_path):
    values = noisy((1e-3, 10))
    values[5] = 5e-3
    trend = only(write(tmp_path, {"BatchNorm": values}))
    assert trend.set_aside == (5,)
    assert not any(s.verdict in (REGRESSION, IMPROVEMENT) for s in trend.steps)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_short_history_has_no_steps_to_speak_of(tmp_path, length):
    trend = only(write(tmp_path, {"BatchNorm": noisy((1e-3, length))}))
    assert not any(s.verdict != UNDECIDED for s in trend.steps)


def test_a_step_in_a_history_too_short_for_a_noise_floor_is_undecided(tmp_path):
    """It was called within the noise, of which nothing is known."""
    trend = only(write(tmp_path, {"BatchNorm": [1.00e-3, 1.01e-3, 2.00e-3, 2.02e-3]}))
    (step,) = trend.steps
    assert math.isnan(trend.floor) and step.ratio.low > 1.8 and step.verdict == UNDECIDED and not step.counts


def test_a_step_at_the_last_commit_is_undecided(tmp_path):
    (step,) = only(write(tmp_path, {"BatchNorm": [*noisy((1e-3, 10)), 5e-3]})).steps
    assert step.verdict == UNDECIDED and math.isnan(step.ratio.low) and step.ratio.value > 4


def test_an_upgrade_of_torch_and_another_processor_start_segments(tmp_path):
    values = noisy((1e-3, 6))
    write(tmp_path, {"BatchNorm": values})
    write(tmp_path, {"BatchNorm": [2 * v for v in values]}, torch="2.15.0", first_day=10)
    write(tmp_path, {"BatchNorm": [4 * v for v in values]}, cpu="Another")
    found = history.trends(history.segments(history.read(tmp_path).results))
    assert [t.steps for t in found] == [(), (), ()], "nothing is compared across them"
    newest = {(t.segment.machine, t.segment.versions): t.segment.newest for t in found}
    assert newest == {
        ("A processor, 2 cores", "torch 2.14.1"): False,
        ("A processor, 2 cores", "torch 2.15.0"): True,
        ("Another, 2 cores", "torch 2.14.1"): True,
    }


def test_series_stand_in_the_order_of_their_parameters_whenever_they_were_first_measured(tmp_path):
    write(tmp_path, {"A": [None, math.nan, 1.0, 1.1], "B": [1.0, 2.0, None, 3.0], "C": [None] * 4}, unit="seconds")
    found = history.segments(history.read(tmp_path).results)
    assert [(of.series.split()[-1], of.values) for of in found] == [("A", [1.0, 1.1]), ("B", [1.0, 2.0, 3.0])]
    assert [len({m.result.commit for m in of.measurements}) for of in found] == [2, 3]
    assert [[m.value for m in of.measurements] == of.values for of in found] == [True, True]


def test_noise_is_not_taken_for_steps(tmp_path):
    """400 series in 20 tables; 5 % of the tables may have a false step, and 5 of 20 are most unlikely."""
    tables = [write(tmp_path / str(i), {f"N{k}": noisy((1e-3, 12), noise=0.05) for k in range(20)}) for i in range(20)]
    false = [
        any(
            s.verdict in (REGRESSION, IMPROVEMENT)
            for t in history.trends(history.segments(history.read(table).results))
            for s in t.steps
        )
        for table in tables
    ]
    assert sum(false) < 5


def test_error_rates_of_zero_are_judged_by_their_difference(tmp_path):
    trend = only(write(tmp_path, {"BatchNorm": [0.0] * 6 + [0.5] * 6}, unit="error rate"))
    (step,) = trend.steps
    assert step.verdict == REGRESSION and step.difference == Interval(0.5, 0.5, 0.5)
    assert change(step) == "+0.5 error rate" and not trend.relative


# ---- long series ----


def test_a_long_series_has_the_steps_that_asv_finds_in_it(own_cache):
    """Wherever they lie: in the middle of a window, where two meet, and near the ends."""
    places = [20, 100, 224, 300, 416, 417 + 30, 600, 730]
    values = noisy(*[(1.0 + place % 2, b - a) for place, (a, b) in enumerate(itertools.pairwise([0, *places, 800]))])
    assert len(levels.windows(len(values))) > 3
    (found,) = levels.detect([values])
    assert found == adapter.levels(values) and [first for first, _ in found] == [0, *places]


def test_windows_cover_a_series_and_overlap():
    for length in (1, 256, 257, 448, 449, 1000):
        cut = levels.windows(length)
        assert cut[0][0] == 0 and cut[-1][1] == length and all(b - a <= levels.WINDOW for a, b in cut)
        assert all(after[0] == before[1] - levels.OVERLAP for before, after in itertools.pairwise(cut))


def test_values_that_are_missing_are_in_no_level_s_end(own_cache):
    values = [None, *noisy((1.0, 299)), None, None, *noisy((2.0, 300)), None]
    (found,) = levels.detect([values])
    assert found == [(1, 300), (302, 602)] == adapter.levels(values)
    assert levels.detect([[None] * 300, []]) == [[], []]


def test_what_is_remembered_changes_nothing(own_cache, monkeypatch):
    """Not for any of sixteen more commits, of which the first four go on and a later one begins a level."""
    series = [noisy((1.0, 280), (1.5, 60)) for _ in range(3)]
    later = [noisy((1.5, 4), (1.9, 12)) for _ in series]
    fresh = [levels.detect([values + more[:n] for values, more in zip(series, later, strict=True)]) for n in range(17)]
    asked = []
    monkeypatch.setattr(adapter, "levels", lambda part, whole=adapter.levels: asked.append(len(part)) or whole(part))
    looked_at = []
    flat = contrast.flat
    monkeypatch.setattr(contrast, "flat", lambda parts: looked_at.extend(map(len, parts)) or flat(parts))
    assert levels.detect(series) == fresh[0] and asked == looked_at == []
    (file,) = own_cache.rglob("levels-*.json")
    for number in reversed(range(17)):
        file.unlink()
        more = [values + of[:number] for values, of in zip(series, later, strict=True)]
        found = levels.detect(more)
        assert found == fresh[number] and asked, "from nothing"
        for damaged in ("{", "[]", '{"a": 1'):
            file.write_text(damaged)
            assert levels.detect(more) == found


def test_a_last_window_is_asked_about_for_every_eighth_commit_and_where_one_stands_out(own_cache, monkeypatch):
    start = levels.WINDOW - levels.OVERLAP
    values = noisy((1.0, start + 40), (1.5, 60))
    levels.detect([values[: len(values) - len(values[start:]) % levels.EVERY]])
    asked = []
    monkeypatch.setattr(adapter, "levels", lambda part, whole=adapter.levels: asked.append(len(part)) or whole(part))
    for number in range(1, 25):
        values.append(1.5 * 1.01 ** ((-1) ** number))
        before = len(asked)
        (found,) = levels.detect([values])
        last = len(values) - start
        assert found[-1] == (start + 40, len(values)) and asked[before:] == [last] * (last % levels.EVERY == 0)
    asked.clear()
    for _ in range(4):
        values.append(3.0)
        (found,) = levels.detect([values])
    assert len(asked) == 4 and found[-1] == (len(values) - 4, len(values)), "seen as soon as asv sees it"


def test_files_that_did_not_change_are_not_read_again(own_cache, tmp_path, monkeypatch):
    folder = write(tmp_path / "results", {"BatchNorm": noisy((1.0, 5))})
    first = history.read(folder)
    loaded = []
    load = files.read
    monkeypatch.setattr(files, "read", lambda path, *of: loaded.append(path.name) or load(path, *of))
    assert repr(history.read(folder)) == repr(first) and loaded == []
    changed = sorted(folder.rglob("0*.json"))[2]
    changed.write_text(changed.read_text().replace('"date": ', '"date": 1'))
    again = history.read(folder)
    assert loaded == [changed.name] and len(again.results) == 5 and again != first
    for part in own_cache.rglob("history/read/*/?"):
        part.write_bytes(b"damaged")
    assert repr(history.read(folder)) == repr(again) and len(loaded) == 6


def test_a_file_that_could_not_be_read_is_read_again(own_cache, tmp_path, monkeypatch):
    folder = write(tmp_path / "results", {"BatchNorm": noisy((1.0, 5))})
    whole, denied = files.read_json, sorted(folder.rglob("0*.json"))[2]

    def failing(path):
        if path == denied:
            raise files.Unreadable(path.name, "cannot be read (Permission denied)", damaged=False)
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_json", failing)
        without = history.read(folder)
    assert len(history.read(folder).results) == 5 > len(without.results)


def test_many_windows_are_shared_with_helpers(own_cache, monkeypatch):
    parts = [noisy((1.0, 20), (2.0, 20), (1.0 + i / 20, 20)) for i in range(levels._WORTH_HELPERS)]
    alone = levels._asked(parts, ALONE)
    assert len(alone[0]) > 1 and alone == [adapter.levels(part) for part in parts]
    with Helpers(count=1) as helpers:
        assert levels._asked(parts[1:], helpers) == alone[1:] and helpers._pool is None, "too few"
        assert levels._asked(parts, helpers) == alone and helpers._pool is not None
