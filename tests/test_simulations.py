"""Short versions of the simulations in tools/, seeded: what they promise holds within binomial bounds."""

import numpy as np
import pytest
from scipy import stats

from normsuite.gate import self_check_rates
from normsuite.gate.decide import Thresholds
from normsuite.records import kinds, results
from tools import simulate_bench, simulate_gate, simulate_history, simulate_study, simulations, thresholds

TABLES = 40
KINDS = tuple(simulate_gate.kinds())


def at_most(count, n, rate):
    """No more than such a rate explains."""
    return stats.binomtest(count, n, rate, alternative="greater").pvalue > 1e-3


def at_least(count, n, rate):
    return stats.binomtest(count, n, rate, alternative="less").pvalue > 1e-3


@pytest.fixture(scope="module")
def records():
    return results.read_records(thresholds.RECORDS, kinds.SELF_CHECK.what).good


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_s_intervals_hold_together_and_its_sentence_is_true(kind):
    row = simulate_gate.row(kind, TABLES, seed=1)
    assert all(at_most(row[error], TABLES, 0.05) for error in ("missed", "false", "untrue"))
    assert row["bound"] < (0.2 if kind == "burner" else 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_simulations_hold_what_the_gate_promises(kind):
    (row,) = (of for of in simulations.kept(simulate_gate.WHAT, simulate_gate.KEYS) if of["noise"] == kind)
    assert row["tables"] >= 100
    assert all(at_most(row[error], row["tables"], 0.05) for error in ("missed", "false", "untrue"))
    assert all(row[error] <= 0.05 * row["tables"] for error in ("missed", "false", "untrue"))


def test_kept_simulations_hold_what_the_bench_promises():
    """All corrected intervals together in 95 of 100 benches; a single one in about as many."""
    rows = simulations.kept(simulate_bench.WHAT, simulate_bench.KEYS)
    assert {row["noise"] for row in rows} == set(simulate_bench.KINDS)
    for row in rows:
        assert row["benches"] >= 60 and at_least(row["together"], row["benches"], 0.95), row
        assert row["single"] > 0.92, row


def test_tables_end_after_any_number_of_processes_with_the_looks_of_the_gate():
    assert list(simulate_gate.schedule(30)) == [4, 6, 8, 12, 16, 22, 30]
    assert list(simulate_gate.schedule(9)) == [4, 6, 8, 9] and list(simulate_gate.schedule(4)) == [4]


def test_the_small_threshold_finds_what_one_threshold_for_both_does_not(records):
    one, two = (self_check_rates.found(records, Thresholds(worse=worse)) for worse in (0.01, 0.0025))
    assert one.injected[0.01].k < 0.5 * one.injected[0.01].n and two.injected[0.01].at_least > 0.9
    assert (one.false_alarms.k, two.false_alarms.k) == (0, 0) and one.undecided == two.undecided
    found = thresholds.biases(records)
    assert set(found) == {"torch", "numba"} and max(largest for _, largest in found.values()) < Thresholds().worse


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("kind", ["white", "t3"])
def test_a_step_of_five_per_cent_in_two_per_cent_of_noise_is_found(kind):
    rate = simulate_history.found(kind, 20, np.random.default_rng(2))
    assert at_least(rate.k, rate.n, 0.95)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(("kind", "most"), [("white", 0.1), ("t3", 0.1), ("ar", 0.1), ("states", 0.5)])
def test_histories_without_a_step_have_hardly_a_regression(kind, most):
    histories = 2 if kind == "states" else 20
    count = sum(simulate_history.false(kind, histories, np.random.default_rng(3)))
    thousands = histories * simulate_history.KINDS[kind][1] * simulate_history.COMMITS / 1000
    assert stats.poisson.sf(count - 1, most * thousands) > 1e-3


@pytest.mark.usefixtures("own_cache")
def test_a_step_of_all_series_is_the_machine_s_and_what_one_has_beyond_it_is_not():
    from normsuite.history import trends
    from normsuite.history.steps import MACHINE, REGRESSION

    draw = np.random.default_rng(4)
    logs = simulate_history.white(draw, 8) + 0.05 * (np.arange(simulate_history.COMMITS) >= 100)
    logs[0] += 0.2 * (np.arange(simulate_history.COMMITS) >= 100)
    first, *others = trends(simulate_history.history(logs))
    assert [step.verdict for step in first.steps] == [REGRESSION] and first.steps[0].counts
    assert {step.verdict for of in others for step in of.steps} == {MACHINE}
    assert not any(step.counts for of in others for step in of.steps)
    alone = trends(simulate_history.history(logs[1:4]))
    assert {step.verdict for of in alone for step in of.steps} == {REGRESSION}, "three may share it by chance"


@pytest.mark.parametrize("kind", simulate_study.KINDS)
def test_studies_of_equal_norms_have_hardly_a_verdict(kind):
    draw = np.random.default_rng(5)
    false = sum(simulate_study.has_false_verdict(simulate_study.study(draw, kind, 10)) for _ in range(8))
    assert at_most(false, 8, 0.05)


def test_one_collapsed_run_in_ten_hides_convergence_from_t_but_not_from_the_rule():
    draw = np.random.default_rng(6)
    made = [simulate_study.study(draw, "collapsing", 12, worse=0.02, only_none=True) for _ in range(6)]
    rule, by_t, of = (sum(column) for column in zip(*map(simulate_study.convergence, made), strict=True))
    assert rule > 0.8 * of and by_t < 0.7 * of, "t finds it in the studies in which no run happens to collapse"
