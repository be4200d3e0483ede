"""Pairs of norms, epochs to an accuracy, and what a number of seeds can detect."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normsuite.statistics import decisive, detectable_effect, holm, mean_interval, p_values, paired, survival
from normsuite.study import comparisons, learning_rates, summary, tables
from normsuite.study.comparisons import HIGHER, LOWER
from normsuite.study.summary import Study


def records(seeds=8, noise=1e-4, epochs=3, **accuracy):
    draw = np.random.default_rng(0)
    found = []
    for norm, value in accuracy.items():
        for seed in range(seeds):
            reached = value + noise * draw.normal(size=epochs)
            found.append(
                {
                    "case": {"norm": norm, "seed": seed, "learning_rate": 0.1},
                    "samples": {
                        "epochs": [
                            {"train_loss": 1 - a, "test_loss": 1 - a, "train_accuracy": a, "test_accuracy": a}
                            for a in reached
                        ]
                    },
                }
            )
    return found


def test_norms_that_are_not_known_here_are_shown_behind_the_others():
    """The study has a norm of a folder that the report was not told."""
    found = records(seeds=3, PlaneNorm=0.9, LayerNorm=0.91, none=0.8)
    assert comparisons.norms_of(found) == ["none", "LayerNorm", "PlaneNorm"]
    assert {pair.right for pair in comparisons.pairs(found)} == {"LayerNorm", "PlaneNorm"}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_the_step_down_that_holm_wrote(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[place] * (len(p_values) - rank) > level:
                break
            rejected.add(int(place))
        assert rejected == {i for i, p in enumerate(adjusted) if p <= level}


def test_holm_leaves_what_decides_nothing_and_counts_it():
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0] == pytest.approx(0.03) and math.isnan(adjusted[1]) and adjusted[2] == pytest.approx(0.08)
    assert holm([]) == []


def test_paired_is_scipy_s_test_and_two_one_sided_ones():
    draw = np.random.default_rng(1)
    left, right = draw.normal(size=9), draw.normal(size=9) * 0.2
    found = paired(left, right, margin=0.5)
    assert found.p["t"] == pytest.approx(stats.ttest_rel(left, right).pvalue)
    d = left - right
    se = d.std(ddof=1) / 3
    one_sided = max(stats.t.sf((d.mean() + 0.5) / se, 8), stats.t.cdf((d.mean() - 0.5) / se, 8))
    assert found.p_equivalent["t"] == pytest.approx(one_sided)
    beyond = min(stats.t.cdf((d.mean() + 0.5) / se, 8), stats.t.sf((d.mean() - 0.5) / se, 8))
    assert found.p_beyond["t"] == pytest.approx(min(1, 2 * beyond))
    # Hedges' exact correction by gamma functions, which 1 - 3/(4 df - 1) approaches.
    exact = math.gamma(4) / math.sqrt(4) / math.gamma(3.5)
    assert found.effect == pytest.approx(d.mean() / d.std(ddof=1) * exact, rel=2e-3)


@pytest.mark.parametrize(("left", "right"), [([1.0], [0.0]), ([1.0, 1.0], [0.0, 0.0]), ([math.inf, 1.0], [0.0, 0.0])])
def test_what_decides_nothing_has_no_p(left, right):
    found = paired(left, right, margin=0.5)
    assert all(math.isnan(p) for of in (found.p, found.p_equivalent, found.p_beyond) for p in of.values())
    assert math.isnan(found.effect)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_the_exact_tests_are_scipy_s(alternative):
    draw = np.random.default_rng(3)
    for n in (3, 8, 11):
        d = draw.normal(0.3, 1, n)
        found = p_values(d, alternative=alternative)
        given = {"permutation_type": "samples", "n_resamples": np.inf, "alternative": alternative}
        assert found["sign-flip"] == pytest.approx(stats.permutation_test((d,), np.mean, **given).pvalue)
        assert found["Wilcoxon"] == pytest.approx(stats.wilcoxon(d, alternative=alternative, method="exact").pvalue)


def test_the_exact_tests_of_many_samples_draw_signs():
    d = np.random.default_rng(4).normal(0.4, 1, 40)
    found = p_values(d)
    assert found["Wilcoxon"] == pytest.approx(stats.wilcoxon(d).pvalue, abs=0.005)
    assert found["sign-flip"] == pytest.approx(found["t"], abs=0.01)
    assert 0 < p_values(np.abs(d))["sign-flip"] <= 1e-4, "never 0"


def test_accuracies_that_differ_alike_have_equal_ranks():
    """0.9931 − 0.9922 and 0.9922 − 0.9913 are not equal in floating point."""
    found = p_values([0.9931 - 0.9922, 0.9922 - 0.9913, 0.9913 - 0.9922, 0.001])
    assert found["Wilcoxon"] == p_values([9.0, 9.0, -9.0, 10.0])["Wilcoxon"]


@pytest.mark.parametrize(
    ("samples", "comparisons_", "collapsed", "tests"),
    [
        (10, 19, False, ["t", "sign-flip", "Wilcoxon"]),
        (10, 19, True, ["sign-flip", "Wilcoxon"]),
        (5, 15, False, ["t"]),  # 2 / 2⁵ · 15 is above 5 %
        (5, 15, True, []),
        (6, 1, False, ["t", "sign-flip", "Wilcoxon"]),
    ],
)
def test_which_tests_must_agree(samples, comparisons_, collapsed, tests):
    assert decisive(samples, comparisons_, collapsed=collapsed) == tests


@pytest.mark.parametrize(("samples", "comparisons_"), [(3, 1), (10, 1), (10, 15), (30, 6)])
def test_the_detectable_effect_is_found_with_its_power(samples, comparisons_):
    effect = detectable_effect(samples, comparisons=comparisons_)
    critical = stats.t.ppf(1 - 0.05 / comparisons_ / 2, samples - 1)
    shifted = stats.nct(samples - 1, effect * math.sqrt(samples))
    assert shifted.sf(critical) + shifted.cdf(-critical) == pytest.approx(0.8, abs=1e-3)


def test_a_stated_difference_is_found_by_the_rule_with_its_power():
    """The exact tests ask for ten equal signs of ten seeds and six norms, which the t test's effect rarely gives."""
    seeds, norms, pairs = 10, 6, 15
    effect = comparisons.detectable(seeds, norms)
    assert effect > 1.2 * detectable_effect(seeds, comparisons=pairs)
    draw = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        p = p_values(draw.normal(effect, 1, seeds))
        found += all(pairs * p[test] < 0.05 for test in decisive(seeds, pairs, collapsed=False))
    assert 0.74 < found / 400 < 0.86
    assert comparisons.detectable(9, norms) == detectable_effect(9, comparisons=pairs), "by t alone"


def test_pairs_of_a_metric_are_decided_by_the_same_tests():
    """Where one of them has too few seeds for the exact tests, Student's t decides in all."""
    runs = [*records(12, BatchNorm=0.98, LayerNorm=0.97), *records(5, none=0.9)]
    found = comparisons.pairs(runs, ["test accuracy"])
    assert {pair.seeds for pair in found} == {5, 12} and len({pair.tests for pair in found}) == 1


def test_a_detectable_effect_needs_two_samples():
    assert math.isnan(detectable_effect(1))
    assert math.isfinite(detectable_effect(2, comparisons=15))


def test_pairs_are_told_apart_or_equal_or_undecided():
    found = {
        (pair.left, pair.right): pair.verdict
        for pair in comparisons.pairs(records(none=0.9, BatchNorm=0.95, LayerNorm=0.9501))
        if pair.metric == "test accuracy"
    }
    assert found == {
        ("none", "BatchNorm"): "lower",
        ("none", "LayerNorm"): "lower",
        ("BatchNorm", "LayerNorm"): "equivalent",
    }
    noisy = comparisons.pairs(records(seeds=2, noise=10.0, none=0.9, BatchNorm=0.95))
    assert {pair.verdict for pair in noisy} == {"undecided"}
    assert "covariate shift" not in {pair.metric for pair in noisy}, "which these runs did not record"


def test_false_alarms_among_equal_norms_are_rare():
    """Under the hypothesis that all are alike, few tables have any pair that is called different."""
    draw, alarms, tables = np.random.default_rng(2), 0, 200
    for _ in range(tables):
        p = [p_values(np.subtract(*draw.normal(size=(2, 10))))["t"] for _ in range(15)]
        alarms += min(holm(p)) < 0.05
    assert stats.binomtest(alarms, tables, 0.05, alternative="greater").pvalue > 1e-3


def test_epochs_to_an_accuracy_count_those_that_never_got_there():
    found = survival.reached([[0.5, 0.98], [0.99, 0.5], [0.1, 0.2], [0.98, 0.98]], 0.98)
    assert found.epochs == (2, 1, None, 1) and found.count == 3
    assert found.median == 1
    assert survival.reached([[0.1], [0.98], [0.1]], 0.98).median is None
    # 0.8 · 0.75 · 5/6 is a half, and a little more in floating point.
    firsts = [1, 1, 2, 2, 3]
    half = [[0.98 if epoch == first else 0.1 for epoch in (1, 2, 3, 4)] for first in firsts] + [[0.1] * 4] * 5
    assert survival.reached(half, 0.98).median == 3
    assert survival.reached([[0.1]], 0.98).median is None and survival.reached([], 0.98).median is None
    fast, slow = survival.reached([[0.98]] * 8, 0.98), survival.reached([[0.1] * 9 + [0.98]] * 8, 0.98)
    assert survival.logrank(fast, slow) < 0.01 and math.isnan(survival.logrank(*[survival.reached([[0.1]], 0.98)] * 2))


@pytest.mark.parametrize(
    ("left", "right", "p"),
    [
        ([1, 2, 1, 3, 2, 1], [2, 3, 2, 4, 3, 2], 2 / 2**6),  # sooner with every seed, whatever the seeds differ by
        ([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], 1.0),
        ([1, 1, 1, 1], [1, 1, 1, 1], 1.0),
        ([None, None], [None, None], math.nan),
        ([3, 3, 3, 3, 3], [None] * 5, 2 / 2**5),
        ([8, 8], [None, None], 0.5),  # at the last epoch, in which the others were still under way
    ],
)
def test_the_log_rank_test_is_stratified_by_seed(left, right, p):
    sides = [survival.Reached(tuple(of)) for of in (left, right)]
    assert survival.logrank(*sides) == pytest.approx(p, nan_ok=True)
    assert survival.logrank(*sides[::-1]) == pytest.approx(p, nan_ok=True)


def collapse(found, norm, seed, value=0.1):
    """Let that run's last epoch fall to chance."""
    for record in found:
        if record["case"]["norm"] == norm and record["case"]["seed"] == seed:
            record["samples"]["epochs"][-1] = {
                "train_loss": 2.3, "test_loss": 2.3, "train_accuracy": value, "test_accuracy": value,
            }  # fmt: skip
    return found


def test_one_collapsed_run_hides_no_difference_that_every_seed_shows():
    found = collapse(records(seeds=10, none=0.9, BatchNorm=0.95), "none", 3)
    (pair,) = comparisons.pairs(found, ["test loss"])
    assert pair.collapsed and pair.tests == ("sign-flip", "Wilcoxon")
    assert pair.found.p["t"] > 0.05 and pair.verdict == "higher" and pair.p == pytest.approx(2 / 2**10)


def test_a_verdict_that_hangs_on_the_choice_of_test_is_undecided():
    """Seven of ten seeds by very little, three the other way by less: t says one thing, and the signs another."""
    base = np.linspace(0.90, 0.91, 10)
    apart = np.array([0.01, 0.011, 0.012, 0.013, 0.012, 0.011, 0.01, 0.012, -0.0040, -0.0041])
    found = records(seeds=10, none=0.9, BatchNorm=0.9)
    for record in found:
        seed = record["case"]["seed"]
        value = float(base[seed] + (record["case"]["norm"] == "BatchNorm") * apart[seed])
        record["samples"]["epochs"][-1]["test_loss"] = value
    (pair,) = comparisons.pairs(found, ["test loss"])
    assert {test: p < 0.05 for test, p in pair.found.p.items()} == {"t": True, "sign-flip": True, "Wilcoxon": True}
    more = records(seeds=10, none=0.9, BatchNorm=0.9, LayerNorm=0.9, GroupNorm=0.9, InstanceNorm=0.9)
    for record in more:
        seed, norm = record["case"]["seed"], record["case"]["norm"]
        record["samples"]["epochs"][-1]["test_loss"] = float(base[seed] + (norm == "BatchNorm") * apart[seed])
        record["samples"]["epochs"][-1]["test_loss"] += 1e-4 * math.sin(7 * seed + len(norm))
    pair = comparisons.pairs(more, ["test loss"])[0]
    adjusted = comparisons.corrected([of.found.p for of in comparisons.pairs(more, ["test loss"])])[0]
    assert adjusted["t"] < 0.05 < max(adjusted.values()) and pair.verdict == "undecided"


def test_reaching_is_compared_with_none():
    rows = comparisons.reaching(records(none=0.5, BatchNorm=0.995))
    by = {(row.norm, row.target): row for row in rows}
    assert by["BatchNorm", 0.99].reached.median == 1 and by["none", 0.99].reached.median is None
    assert by["BatchNorm", 0.99].p < 0.05 and math.isnan(by["none", 0.99].p)


def test_a_study_of_one_setting_ends_with_claims_and_verdicts():
    found = summary.as_dict(records(none=0.5, BatchNorm=0.9))
    assert list(found)[-1] == "claims" and all(list(claim)[-1] == "verdict" for claim in found["claims"])
    assert found["runs"] == 16 and found["detectable"]["seeds"] == 8


def test_a_study_of_several_settings_names_the_best():
    some = records(none=0.5, BatchNorm=0.9)
    for record in records(none=0.6, BatchNorm=0.8):
        some.append({**record, "case": {**record["case"], "learning_rate": 0.2}})
    found = summary.as_dict(some)
    assert found["varied"] == ["learning_rate"]
    assert found["best"] == {"none": {"learning_rate": 0.2}, "BatchNorm": {"learning_rate": 0.1}}


def test_the_norm_of_the_highest_mean_is_paired_with_all_others_under_each_setting():
    some = records(none=0.5, BatchNorm=0.9, LayerNorm=0.8)
    for record in some:
        record["case"]["batch_size"] = 32
    for record in records(none=0.95, BatchNorm=0.8, LayerNorm=0.9):
        some.append({**record, "case": {**record["case"], "batch_size": 4}})
    by_size = summary.by_setting(some, ["batch_size"])
    assert list(by_size) == [(4,), (32,)]
    for (size,), first, others in (((4,), "LayerNorm", {"none": LOWER}), ((32,), "BatchNorm", {"none": HIGHER})):
        found, pairs = summary.leader(by_size[size,])
        assert found == first and {pair.left for pair in pairs} == {first}, "none is compared with, and leads nowhere"
        rest = {"BatchNorm", "LayerNorm"} - {first}
        assert {pair.right: pair.verdict for pair in pairs} == others | dict.fromkeys(rest, HIGHER)
        for pair in pairs:
            mean = pair.found.difference
            assert mean.low < mean.value < mean.high and (mean.value > 0) == (pair.verdict == HIGHER)
            assert (pair.found.effect > 0) == (mean.value > 0)
    shown = tables.brief(some)[-1]
    assert shown.names[0] == "batch size" and next(row[:3] for row in shown.rows) == ("4", "LayerNorm", "none")


def test_how_certain_the_choice_of_a_learning_rate_is():
    """Rates are compared by paired seeds, and for all norms together; one that was tried alone is no choice."""
    some = []
    for rate, gain in ((0.02, 0.0), (0.04, 0.01), (0.08, -0.2)):
        for record in records(seeds=4, noise=rate / 1000, none=0.5 + gain, BatchNorm=0.9 + gain / 1000):
            some.append({**record, "case": {**record["case"], "learning_rate": rate}})
    some += records(seeds=4, LayerNorm=0.9)
    none, batch = learning_rates.choices(some)
    assert (none.norm, none.rate, none.next_rate, none.seeds) == ("none", 0.04, 0.02, 4) and none.is_certain
    assert none.difference.value == pytest.approx(0.01, abs=1e-3)
    assert batch.norm == "BatchNorm" and not batch.is_certain
    assert learning_rates.choices([]) == []


def test_rates_of_the_norms_own_are_no_setting_that_varies():
    some = records(none=0.5, BatchNorm=0.9)
    for record in some:
        record["case"]["learning_rate"] = {"none": 0.1, "BatchNorm": 0.3}[record["case"]["norm"]]
    assert "claims" in summary.as_dict(some)


def test_an_interval_of_shares_ends_where_shares_do():
    mean = summary.share_interval([1.0, 1.0, 1.0, 0.2])
    assert mean.value == pytest.approx(0.8) and mean.high == 1.0 and 0.0 < mean.low < 0.4
    errors = summary.share_interval([0.0, 0.0, 0.0, 0.8])
    assert errors.low == 0.0 and errors.high == pytest.approx(1 - mean.low)
    inside = [0.90, 0.91, 0.92]
    assert summary.share_interval(inside) == mean_interval(inside)
    assert math.isnan(summary.share_interval([0.5]).low)


def test_one_seed_says_that_it_finds_nothing():
    made = records(1, BatchNorm=0.9, none=0.8)
    assert "nan" not in tables.detectable(Study(made)) and "one seed" in tables.detectable(Study(made))
    whole = records(4, BatchNorm=0.9, none=0.8)
    uneven = [record for record in whole if record["case"]["norm"] != "none" or record["case"]["seed"] < 2]
    assert tables.detectable(Study(uneven)).startswith("2 seeds"), "the fewest that any norm has"
