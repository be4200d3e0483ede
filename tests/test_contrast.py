"""What spares asv's step detection: series in which nothing could be a step, and never one in which asv finds some."""

import math

import numpy as np
import pytest

from normsuite.history import adapter, contrast, levels

NOISE = {
    "normal": lambda draw, n: draw.normal(size=n),
    "heavy tails": lambda draw, n: draw.standard_t(3, size=n),
    "skewed": lambda draw, n: draw.lognormal(sigma=0.8, size=n),
    "drifting": lambda draw, n: np.convolve(draw.normal(size=n + 20), 0.6 ** np.arange(21), "valid"),
    "swinging": lambda draw, n: np.convolve(draw.normal(size=n + 20), (-0.5) ** np.arange(21), "valid"),
}


def test_it_is_the_largest_difference_of_neighbouring_means():
    row = np.random.default_rng(0).normal(3.0, 0.1, 50)
    of = {
        k: [abs(row[i : i + k].mean() - row[i - k : i].mean()) * math.sqrt(k / 2) for i in range(k, len(row) - k + 1)]
        for k in (1, 2, 3, 4, 6, 8, 12, 16, 24)
    }
    deviation = 1.4826 * min(np.median(of[k]) for k in (1, 2, 3, 4))
    assert contrast.contrasts(row[None])[0] == pytest.approx(max(map(max, of.values())) / deviation)


def test_equal_values_are_flat_and_one_that_differs_is_not():
    equal = np.full(40, 0.3)
    other = equal.copy()
    other[20:] = 0.3001
    assert contrast.contrasts(np.array([equal, other])).tolist() == [0.0, math.inf]


def test_most_series_of_noise_are_flat_and_short_ones_are_not_judged():
    draw = np.random.default_rng(1)
    lengths = [256, 100] * 200 + [contrast.LEAST_VALUES - 1] * 10
    found = contrast.flat([draw.normal(5.0, 0.2, length) for length in lengths])
    assert np.mean(found[:400]) > 0.8 and not any(found[400:])


@pytest.mark.parametrize("kind", NOISE)
def test_where_asv_finds_a_step_nothing_is_flat(kind):
    draw, steps = np.random.default_rng(2), 0
    for _ in range(60):
        n = int(draw.integers(contrast.LEAST_VALUES, levels.WINDOW))
        row = NOISE[kind](draw, n)
        for _ in range(draw.integers(1, 4)):
            row[draw.integers(n) :] += draw.normal(0, 2)
        row = 20 + row - row.min()
        found = adapter.levels(row.tolist())
        steps += len(found) > 1
        assert len(found) == 1 or contrast.flat([row]) == [False]
    assert steps >= 4, "asv was put to the question"


def test_a_flat_series_is_the_level_that_asv_finds(own_cache, monkeypatch):
    row = np.random.default_rng(3).normal(5.0, 0.1, 120).tolist()
    series = [row, [None, None, *row, math.nan], [*row[:60], None, *row[60:], None]]
    expected = [adapter.levels(of) for of in series]
    monkeypatch.setattr(adapter, "levels", lambda part: pytest.fail("asked for a flat series"))
    assert levels.detect(series) == expected and all(len(of) == 1 for of in expected)


@pytest.mark.parametrize("kind", NOISE)
def test_where_asv_finds_a_step_among_the_last_values_they_do_not_go_on(kind):
    draw, steps = np.random.default_rng(4), 0
    for _ in range(150):
        n, tail = int(draw.integers(levels.OVERLAP, levels.WINDOW)), int(draw.integers(1, levels.EVERY))
        row = NOISE[kind](draw, n)
        row[-tail:] += draw.normal(0, 40 / tail)
        row = 1000 + row
        found = adapter.levels(row.tolist())
        if len(found) > 1 and found[-1][0] >= n - tail:
            steps += 1
            assert not contrast.goes_on(row[:-tail], row[-tail:])
    assert steps >= 10, "asv was put to the question"


def test_values_of_a_level_go_on_and_a_short_level_is_not_judged():
    draw = np.random.default_rng(5)
    found = [contrast.goes_on(row[:-7], row[-7:]) for row in draw.normal(5.0, 0.2, (400, 100))]
    assert np.mean(found) > 0.99
    row = draw.normal(5.0, 0.2, 100)
    assert not contrast.goes_on(row[: contrast.LEAST_VALUES - 1], row[-7:])
    assert not contrast.goes_on(row[:-7], row[-7:] + 0.8), "four deviations, seven times"
    equal = np.full(100, 0.3)
    assert contrast.goes_on(equal[:-3], equal[-3:]) and not contrast.goes_on(equal[:-3], equal[-3:] + 1e-9)
    assert contrast.goes_on(equal, equal[:0])
