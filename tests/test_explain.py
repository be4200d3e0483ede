"""The document's figures: computed by the standard library here, judged by the package."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normsuite.lesson import document, explain
from normsuite.spec import NORMS

ROWS = [row for spec in NORMS.values() for row in explain.explain(spec)]
FIGURES = [r for r in ROWS if r.printed is not None and r.statistic in ("mean", "std")]


def row(norm, index, statistic):
    return next(r for r in ROWS if (r.norm, r.index, r.statistic) == (norm, index, statistic))


def groups(norm):
    """Return which numbers share a mean, read off the document's own lists."""
    images = [[v for channel in image for line in channel for v in line] for image in document.IMAGES]
    return {
        "BatchNorm": [[v for image in images for v in image[2 * c : 2 * c + 2]] for c in range(4)],
        "LayerNorm": images,
        "GroupNorm": [image[4 * g : 4 * g + 4] for image in images for g in range(2)],
        "InstanceNorm": [image[2 * c : 2 * c + 2] for image in images for c in range(4)],
    }[norm]


def test_all_26_printed_figures_are_there():
    assert len(FIGURES) == 26
    printed = [f for e in document.EXAMPLES for pair in zip(e.mean, e.std, strict=True) for f in pair]
    assert [r.printed for r in FIGURES] == printed


@pytest.mark.parametrize("norm", [example.norm for example in document.EXAMPLES])
def test_computed_figures_are_the_standard_library_s(norm):
    for index, numbers in enumerate(groups(norm), start=1):
        assert row(norm, index, "mean").computed == pytest.approx(statistics.fmean(numbers), rel=1e-14)
        assert row(norm, index, "std").computed == pytest.approx(statistics.pstdev(numbers), rel=1e-14)
        assert row(norm, index, "variance").computed == pytest.approx(statistics.pvariance(numbers), rel=1e-14)
    assert sum(r.norm == norm and r.statistic == "mean" for r in ROWS) == len(groups(norm))


@pytest.mark.parametrize(
    ("norm", "index", "statistic", "verdict", "note"),
    [
        ("BatchNorm", 1, "mean", "exact", ""),
        ("BatchNorm", 1, "std", "wrong", "it is the variance, 0.916667, truncated"),
        ("BatchNorm", 2, "mean", "truncated", ""),
        ("BatchNorm", 2, "std", "rounded", ""),
        ("GroupNorm", 5, "mean", "wrong", "it is none of"),
        ("GroupNorm", 3, "std", "truncated", ""),
        ("LayerNorm", None, "parameters", "wrong", "it is one pair per mean, 6"),
        ("BatchNorm", None, "parameters", "exact", "a weight and a bias per channel"),
        ("BatchNorm", None, "label", "exact", ""),
        ("GroupNorm", None, "label", "wrong", "most figures labelled var are standard deviations"),
        ("InstanceNorm", 12, "mean", "not printed", "our own example"),
    ],
)
def test_verdicts(norm, index, statistic, verdict, note):
    found = row(norm, index, statistic)
    assert found.verdict == verdict and found.note.startswith(note) and bool(found.note) == bool(note)


def test_layer_norm_learns_a_weight_and_a_bias_per_element():
    assert row("LayerNorm", None, "parameters").computed == 16


@given(value=st.floats(0.01, 1e4), decimals=st.integers(0, 4))
def test_a_rounded_figure_is_recognised(value, decimals):
    assert explain.match(f"{value:.{decimals}f}", value) in ("exact", "rounded", "truncated")


@given(value=st.floats(0.01, 1e4), decimals=st.integers(0, 4), off=st.sampled_from([-2, 2]))
def test_two_units_off_is_wrong(value, decimals, off):
    step = 10.0**-decimals
    assert explain.match(f"{round(value, decimals) + off * step:.{decimals}f}", value) is None


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [(".70", 0.7071, "truncated"), (".71", 0.7071, "rounded"), ("0.5", 0.5, "exact"), ("2.5", 2.45, "rounded"),
     ("2.4", 2.45, "truncated"), ("2.3", 2.45, None)],
)  # fmt: skip
def test_match(printed, value, verdict):
    assert explain.match(printed, value) == verdict


def test_a_norm_that_does_not_centre_has_a_mean_square_instead():
    for index, numbers in enumerate(groups("LayerNorm"), start=1):
        square = statistics.fmean(v * v for v in numbers)
        assert row("RMSNorm", index, "mean square").computed == pytest.approx(square, rel=1e-14)
        assert row("RMSNorm", index, "rms").computed == pytest.approx(square**0.5, rel=1e-14)
    assert row("RMSNorm", None, "parameters").computed == 8


@pytest.mark.parametrize("norm", [example.norm for example in document.EXAMPLES])
def test_the_drawing_shows_every_number_with_its_group(norm):
    text = explain.drawing(NORMS[norm])
    for index, numbers in enumerate(groups(norm)):
        assert text.count(chr(ord("A") + index)) == len(numbers)
    assert len({len(line) for line in text.splitlines()}) == 1
