"""Intervals against scipy's own tests, their coverage by simulation, and the rules of the verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given
from scipy import stats
from strategies import SAMPLES

from normsuite.lesson import claims, document
from normsuite.spec import NORMS
from normsuite.statistics import (
    Interval,
    exponential,
    geometric_mean_interval,
    mean_interval,
    paired,
    paired_log_ratio,
    ratio_interval,
)


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


def test_one_sample_gives_no_interval():
    assert math.isnan(mean_interval([1.0]).low)
    assert math.isnan(mean_interval([1.0, math.inf]).low)
    assert math.isnan(mean_interval([2.0, 2.0]).low)  # equal values show how coarse the scale is


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ([1.0, 1.1, 0.9], 1),
        ([-1.0, -1.1, -0.9], -1),
        ([0.01, -0.01, 0.0], 0),
        ([0.2, 0.21, 0.19], 1),
        ([2.0, -2.0, 0.5], 0),
        ([math.inf, 1.0, 1.0], 0),
        ([1.0, 1.0, 1.0], 0),
    ],
)
def test_on_which_side_of_zero_a_difference_lies(difference, said):
    found = paired(difference, [0.0] * 3, margin=0.5).difference
    assert (found.low > 0) - (found.high < 0) == said


@given(SAMPLES)
def test_a_ratio_s_interval_is_the_t_test_s_of_its_logarithms(logs):
    found = ratio_interval([v / 100 for v in logs], comparisons=3)
    expected = stats.ttest_1samp(np.divide(logs, 100), 0).confidence_interval(1 - 0.05 / 3)
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(expected)), rel=1e-9)
    assert found.value == pytest.approx(stats.gmean(np.exp(np.divide(logs, 100))))


def test_an_interval_wider_than_any_number_ends_at_infinity():
    found = exponential(Interval(0.5, -1000.0, 1000.0))
    assert found == Interval(pytest.approx(math.exp(0.5)), 0.0, math.inf)


def test_one_process_gives_a_ratio_and_no_interval():
    found = ratio_interval([math.log(2)])
    assert found.value == pytest.approx(2) and math.isnan(found.low) and math.isnan(found.high)


def test_a_paired_ratio_survives_drift_and_a_disturbed_round():
    drift = [1.0, 1.5, 2.0, 4.0, 3.0]
    candidate = [1.1 * t for t in drift]
    assert paired_log_ratio(candidate, drift) == pytest.approx(math.log(1.1))
    assert paired_log_ratio([100.0, *candidate[1:]], drift) == pytest.approx(math.log(1.1))
    assert paired_log_ratio([None, 2.0, None, 8.0, None], drift) == pytest.approx(
        (math.log(2 / 1.5) + math.log(8 / 4)) / 2
    )
    assert math.isnan(paired_log_ratio([None], [1.0])) and math.isnan(paired_log_ratio([], []))


def test_a_geometric_mean_over_tasks_is_of_each_process_first():
    logs = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]  # what the tasks differ by cancels within each process
    found = geometric_mean_interval(logs)
    assert found.value == pytest.approx(math.exp(0.2)) and math.isnan(found.low)
    moved = geometric_mean_interval([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    assert moved.value == pytest.approx(math.exp(0.2)) and moved.low < math.exp(0.2) < moved.high


def test_corrected_ratios_of_equals_hold_1_all_together():
    draw = np.random.default_rng(0)
    false = 0
    for _ in range(400):
        table = [ratio_interval(draw.normal(scale=0.02, size=5), comparisons=20) for _ in range(20)]
        false += any(i.low > 1 or i.high < 1 for i in table)
    assert stats.binomtest(false, 400, 0.05, alternative="greater").pvalue > 0.001


def test_more_comparisons_need_more_evidence():
    left, right = [1.0, 1.4, 0.8], [0.0, 0.0, 0.0]
    assert paired(left, right, margin=0.1).difference.low > 0
    corrected = paired(left, right, margin=0.1, confidence=1 - 0.05 / 20)
    assert not corrected.difference.low > 0 and corrected.confidence == pytest.approx(0.9975)


def test_equal_norms_are_rarely_called_different():
    """The promise of the whole table: 17 comparisons of equal norms, any false verdict in at most 5 % of the tables."""
    draw = np.random.default_rng(0)
    false = 0
    for _ in range(400):
        table = [mean_interval(np.subtract(*draw.normal(size=(2, 5))).tolist(), 1 - 0.05 / 17) for _ in range(17)]
        false += any(c.low > 0 or c.high < 0 for c in table)
    assert stats.binomtest(false, 400, 0.05, alternative="greater").pvalue > 0.001


def study(seeds=6, noise=1e-3, **final):
    """Records whose last epoch has those test losses, with noise of each run's own."""
    draw = np.random.default_rng(0)
    records = []
    for norm, loss in final.items():
        for seed in range(seeds):
            value = loss + noise * draw.normal()
            epoch = {"train_loss": value, "test_loss": value, "train_accuracy": 1 - value, "test_accuracy": 1 - value}
            records.append({"case": {"norm": norm, "seed": seed}, "samples": {"epochs": [epoch]}})
    return records


def verdicts(records):
    return {j.claim.key: j.verdict for j in claims.judge(records)}


AS_THE_DOCUMENT_SAYS = {"none": 0.5, "BatchNorm": 0.1, "GroupNorm": 0.105, "LayerNorm": 0.2, "InstanceNorm": 0.1}


def test_a_study_as_the_document_tells_it_supports_the_document():
    found = verdicts(study(**AS_THE_DOCUMENT_SAYS))
    assert found.pop("covariate shift") == "not measured"
    assert set(found.values()) == {"supported"}


def test_a_study_that_tells_the_opposite_contradicts_it():
    turned = {**AS_THE_DOCUMENT_SAYS, "LayerNorm": 0.05, "none": 0.01, "GroupNorm": 0.08}
    found = verdicts(study(**turned))
    assert found.pop("covariate shift") == "not measured"
    assert set(found.values()) == {"contradicted"}


def test_noise_leaves_it_undecided():
    found = verdicts(study(seeds=3, noise=0.1, **AS_THE_DOCUMENT_SAYS))
    assert found["test loss"] == found["training loss"] == "undecided"


def test_relations_that_one_comparison_decides_count_once():
    """The document states 21 relations, 19 of them different comparisons."""
    (found,) = {len({claims._same(f.relation) for j in claims.judge([]) for f in j.findings})}
    assert found == 19 < len({f.relation for j in claims.judge([]) for f in j.findings})


@pytest.mark.parametrize("seeds", [6, 20, 60])
def test_more_seeds_do_not_turn_a_small_difference_around(seeds):
    """GroupNorm lies 0.005 above BatchNorm, within the margin of similarity: it is still higher."""
    found = verdicts(study(seeds=seeds, **AS_THE_DOCUMENT_SAYS))
    assert found["test loss"] == found["training loss"] == "supported"


def test_missing_norms_are_not_measured():
    assert set(verdicts(study(BatchNorm=0.1)).values()) == {"not measured"}
    assert set(verdicts([]).values()) == {"not measured"}


def test_every_claim_is_about_known_metrics_and_norms():
    for claim in document.CLAIMS:
        assert claim.relations
        for relation in claim.relations:
            assert relation.metric in claims.METRICS and relation.expected in ("higher", "lower", "similar")
            assert {relation.left, relation.right} <= {*NORMS, "none", "any norm"}
