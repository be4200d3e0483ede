"""Intervals against scipy's own tests, their coverage by simulation, and the rules of the verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normsuite import claims, document
from normsuite.spec import NORMS
from normsuite.statistics import compare, mean_interval, median_interval

SAMPLES = st.lists(st.floats(-100, 100), min_size=3, max_size=12).filter(lambda x: np.std(x) > 1e-3)


@given(SAMPLES)
def test_mean_interval_is_the_t_test_s(samples):
    found = mean_interval(samples)
    expected = stats.ttest_1samp(samples, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


def test_intervals_hold_what_they_promise():
    draw = np.random.default_rng(0)
    samples = draw.normal(size=(2000, 6))
    held = np.mean([i.low <= 0 <= i.high for i in map(mean_interval, samples)])
    assert abs(held - 0.95) < 0.02
    held = np.mean([i.low <= 0 <= i.high for i in map(median_interval, draw.normal(size=(400, 15)))])
    assert held >= 0.95


def test_one_sample_gives_no_interval():
    assert math.isnan(mean_interval([1.0]).low) and math.isnan(median_interval([1.0, 2.0]).low)
    assert math.isnan(mean_interval([1.0, math.inf]).low)
    assert mean_interval([2.0, 2.0]).low == 2.0


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [([1.0, 1.1, 0.9], "higher"), ([-1.0, -1.1, -0.9], "lower"), ([0.01, -0.01, 0.0], "similar"),
     ([2.0, -2.0, 0.5], "undecided"), ([math.inf, 1.0, 1.0], "undecided")],
)  # fmt: skip
def test_verdicts(difference, verdict):
    assert compare(difference, [0.0] * 3, margin=0.5).verdict == verdict


def test_more_comparisons_need_more_evidence():
    left, right = [1.0, 1.4, 0.8], [0.0, 0.0, 0.0]
    assert compare(left, right, margin=0.1).verdict == "higher"
    assert compare(left, right, margin=0.1, comparisons=20).verdict == "undecided"
    assert compare(left, right, margin=0.1, comparisons=20).confidence == pytest.approx(0.9975)


def study(**final):
    """Records of 6 seeds whose last epoch has those test losses, with a little spread."""
    return [
        {
            "case": {"norm": norm, "seed": seed},
            "samples": {
                "epochs": [
                    {"train_loss": loss, "test_loss": loss + 1e-4 * seed, "train_accuracy": 1 - loss,
                     "test_accuracy": 1 - loss}
                ]
            },
        }
        for norm, loss in final.items()
        for seed in range(6)
    ]  # fmt: skip


def verdicts(records):
    return {j.claim.key: j.verdict for j in claims.judge(records)}


def test_a_study_as_the_document_tells_it_supports_the_document():
    found = verdicts(study(none=0.5, BatchNorm=0.1, GroupNorm=0.105, LayerNorm=0.2, InstanceNorm=0.1))
    assert found["training loss"] == found["convergence"] == "supported"
    assert found["covariate shift"] == "not measured"
    # 0.005 between GroupNorm and BatchNorm is similar, and the document says higher
    assert found["test loss"] == "contradicted"
    found = verdicts(study(none=0.5, BatchNorm=0.1, GroupNorm=0.15, LayerNorm=0.2, InstanceNorm=0.1))
    assert found["test loss"] == found["test accuracy"] == found["overall"] == "supported"
    assert found["training loss"] == "contradicted"


def test_missing_norms_are_not_measured():
    assert set(verdicts(study(BatchNorm=0.1)).values()) == {"not measured"}
    assert set(verdicts([]).values()) == {"not measured"}


def test_every_claim_is_about_known_metrics_and_norms():
    for claim in document.CLAIMS:
        assert bool(claim.relations) != bool(claim.missing)
        for relation in claim.relations:
            assert relation.metric in claims.METRICS and relation.expected in ("higher", "lower", "similar")
            assert {relation.left, relation.right} <= {*NORMS, "none", "any norm"}
