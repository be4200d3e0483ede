"""A gate's verdicts from numbers, without any measurement: intervals, looks, groups."""

import math

import numpy as np
import pytest
from gate_records import CELLS, record, table

from normsuite import statistics
from normsuite.gate import decide, groups, summary
from normsuite.gate.decide import BETTER, SAME, UNDECIDED, WORSE, Thresholds
from normsuite.measure import own_workloads
from normsuite.statistics import Interval

# ---- variances drawn towards what they have in common ----


def test_an_interval_of_two_processes_far_apart_reaches_beyond_all_numbers():
    found = decide.decide({"one": {1: 0.0, 2: 0.5}}, [2], Thresholds(), 50, final=False)["one"]
    assert found.verdict == UNDECIDED and found.ratio.high == math.inf


@pytest.mark.parametrize("likeness", [3.0, 10.0, math.inf])
def test_moderated_intervals_hold_as_often_as_they_say_and_are_narrower(likeness):
    """Variances that are nearly alike or not: inverse chi-squared with so many degrees of freedom."""
    draw, alpha, tables, groups, n = np.random.default_rng(0), 0.02, 60, 48, 4
    missed, widths, own = 0, [], []
    for _ in range(tables):
        variances = np.ones(groups) if likeness == math.inf else likeness / draw.chisquare(likeness, groups)
        samples = np.sqrt(variances)[:, None] * draw.standard_normal((groups, n))
        found = statistics.moderated_intervals(samples, alpha=alpha)
        missed += sum(not x.low < 0 < x.high for x in found)
        widths += [x.high - x.low for x in found]
        own += [x.high - x.low for x in (statistics.mean_interval(s, 1 - alpha) for s in samples)]
    rate, chance = missed / (tables * groups), math.sqrt(alpha / (tables * groups))
    assert alpha / 3 < rate < alpha + 3 * chance
    assert np.median(widths) < 0.8 * np.median(own)


def test_a_group_unlike_the_others_keeps_a_wide_interval():
    draw = np.random.default_rng(1)
    samples = [*draw.standard_normal((30, 4)), 1000 * draw.standard_normal(4)]
    quiet, wild = (x.high - x.low for x in statistics.moderated_intervals(samples, alpha=0.01)[-2:])
    assert wild > 100 * quiet


def test_a_single_group_has_student_s_interval():
    samples = [0.1, 0.3, 0.2, 0.45]
    (ours,) = statistics.moderated_intervals([samples], alpha=0.01)
    theirs = statistics.mean_interval(samples, 0.99)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_what_has_no_spread_has_no_interval():
    found = statistics.moderated_intervals([[0.1], [], [0.2, 0.2, 0.2], [0.1, 0.2, 0.3]], alpha=0.05)
    assert [math.isnan(f.low) for f in found] == [True, True, True, False]


# ---- verdicts ----


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.003, 1.03, WORSE),
        (1.002, 1.03, UNDECIDED),
        (1.003, 1.009, WORSE),
        (0.95, 0.997, BETTER),
        (0.95, 0.998, UNDECIDED),
        (0.99, 1.01, SAME),
        (0.98, 1.02, UNDECIDED),
        (1.001, 1.009, SAME),
        (math.nan, math.nan, UNDECIDED),
    ],
)
def test_the_interval_decides(low, high, verdict):
    assert decide.judge(Interval(1.0, low, high), Thresholds()) == verdict


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (100, 100, SAME),
        (100, 101, SAME),
        (100, 102, WORSE),
        (100, 98, BETTER),
        (0, 1, WORSE),
        (0, 0, SAME),
        (1.0, math.inf, WORSE),
        (math.inf, 1.0, BETTER),
        (math.inf, math.inf, SAME),
        (1.0, math.nan, WORSE),
    ],
)
def test_numbers_without_noise_are_compared(base, head, verdict):
    assert decide.judge_exactly(base, head, 0.01) == verdict


def test_a_margin_of_twice_is_one_both_ways():
    assert decide.judge_exactly(1e-2, 1e-7, 1.0) == BETTER and decide.judge_exactly(1e-2, 6e-3, 1.0) == SAME
    assert decide.judge_exactly(1e-2, 2.1e-2, 1.0) == WORSE and decide.judge_exactly(1e-2, 1.9e-2, 1.0) == SAME


def test_a_table_without_a_difference_raises_no_alarm():
    """Also where the margin does not help: any interval that leaves 1 out is an alarm here, in one table of twenty."""
    alarms = 0
    for seed in range(80):
        found = decide.decide(table(seed, processes=9), [4, 6, 9], Thresholds(1e-9, 1e-9), CELLS, final=True)
        alarms += any(d.verdict in (WORSE, BETTER) for d in found.values())
    assert alarms <= 4


def test_slowdowns_are_found_and_the_rest_is_settled():
    values = table(0, slowdowns=[0.05] * 8 + [0.02] * 8, processes=9)
    found = decide.decide(values, [4, 6, 9], Thresholds(), CELLS, final=True)
    verdicts = [d.verdict for d in found.values()]
    assert verdicts[:8] == [WORSE] * 8
    assert verdicts[8:16].count(WORSE) >= 7
    assert WORSE not in verdicts[16:] and verdicts[16:].count(SAME) >= 30


def test_a_cell_that_was_decided_stays_so():
    values = table(3, slowdowns=[0.05], processes=4)
    values["cell 0"] |= {5: -1.0, 6: -1.0}
    early, late = (decide.decide(values, looks, Thresholds(), CELLS, final=False)["cell 0"] for looks in ([4], [4, 6]))
    assert early == late and early.verdict == WORSE and early.processes == 4


def test_all_looks_together_have_alpha_and_no_more():
    shares = [decide.share(look) for look in range(1, 40)]
    assert min(shares) > 0 and 0.99 < sum(shares) + decide.FINAL_SHARE <= 1 and max(shares) < decide.FINAL_SHARE


def test_the_final_look_may_follow_another_at_the_same_processes_and_decides_more():
    values = table(5, processes=4, deviation=0.002)
    interim, final = (
        decide.decide(values, looks, Thresholds(), CELLS, final=last) for looks, last in (([4], False), ([4, 4], True))
    )
    undecided = [sum(d.verdict == UNDECIDED for d in found.values()) for found in (interim, final)]
    assert undecided[1] < undecided[0]


def test_a_look_gives_its_share_of_alpha_to_all_cells_alike():
    values = table(4, processes=4)
    found = decide.decide(values, [4], Thresholds(), CELLS, final=False)
    logs = [list(of.values()) for of in values.values()]
    alone = statistics.moderated_intervals(logs, alpha=decide.ALPHA * decide.share(1) / CELLS)
    for decision, interval in zip(found.values(), alone, strict=True):
        assert (decision.ratio.low, decision.ratio.high) == pytest.approx(
            (math.exp(interval.low), math.exp(interval.high))
        )


# ---- groups ----


def named(values):
    """The table's values under names of norms, backends and modes, two cases of each."""
    names = [f"{n}/{b}/{c}/{m}" for n in ("A", "B") for b in ("torch", "numba") for c in "xyzuvw" for m in ("f", "s")]
    return dict(zip(names, values.values(), strict=True))


def test_groups_are_the_norms_backends_and_modes_that_the_cells_have():
    found = groups.of_cells(named(table(0)))
    assert list(found) == ["all A", "all B", "all torch", "all numba", "all f", "all s"]
    assert {len(members) for members in found.values()} == {24}
    assert groups.of_cells(["A/torch/x/f", "B/torch/x/f"]) == {"all torch": ["A/torch/x/f", "B/torch/x/f"]}, "once"


def test_a_backend_s_modules_are_in_the_group_of_its_functions():
    names = [workload.name for workload in own_workloads.plan()]
    found = groups.of_cells(names)
    by_auto = [name for name in names if name.split("/")[1].split()[0] == "auto"]
    assert found["all auto"] == by_auto and any("/auto BatchNorm2d/" in name for name in by_auto)
    of_norms = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
    assert set(found) == {f"all {part}" for part in (*of_norms, "auto", "numba", "forward", "step")}


def test_a_slowdown_of_all_cells_of_a_backend_is_found_in_their_mean():
    """0.6 % by ten processes, which no cell alone would show."""
    alone = mean = 0
    for seed in range(20):
        values = named(table(seed, processes=10, deviation=0.004))
        slow = {n: {k: v + 0.006 * ("numba" in n) for k, v in of.items()} for n, of in values.items()}
        made = record(slow, looks=(4, 6, 10), groups=groups.of_cells(slow))
        found = {row.cell: row.verdict for row in summary.rows(made)}
        mean += found["all numba"] == WORSE
        alone += sum(found[n] == WORSE for n in slow if "numba" in n)
        assert WORSE not in [found[n] for n in slow if "torch" in n] + [found["all torch"]]
    assert mean >= 19 and alone < 20 * 24 / 2


def test_a_group_needs_processes_that_measured_all_of_its_cells():
    values = {"A/x/c/f": {1: 0.1, 2: 0.2, 3: 0.3}, "A/x/d/f": {1: 0.3, 3: 0.1}, "A/x/e/f": {}}
    assert groups.means({"all A": list(values)}, values) == {"all A": {1: 0.2, 3: 0.2}}


# ---- cells that are measured on ----


def test_a_cell_that_is_the_same_is_measured_on_while_its_ratio_lies_beyond_the_threshold():
    found = decide.decide(table(2, slowdowns=[0.005], deviation=1e-3), [4], Thresholds(), CELLS, final=False)
    beyond = found["cell 0"]
    assert beyond.verdict == SAME and not beyond.is_decided
    assert decide.still_open(found, {}, {}) == {name for name, of in found.items() if not of.is_decided}
    clean = [of for name, of in found.items() if name != "cell 0" and of.verdict == SAME]
    assert len(clean) > 40 and all(of.is_decided for of in clean)
    later = decide.decide(
        table(2, slowdowns=[0.005], deviation=1e-3, processes=24), [4, 24], Thresholds(), CELLS, final=True
    )
    assert later["cell 0"].verdict == WORSE


def test_a_group_beyond_the_threshold_keeps_its_cells_open():
    interval = Interval(1.004, 0.999, 1.009)
    means = {"all A": decide.Decision(interval, SAME, 4, True)}
    assert decide.still_open({}, means, {"all A": ["a", "b"]}) == {"a", "b"}
    means = {"all A": decide.Decision(interval, WORSE, 4, True)}
    assert decide.still_open({}, means, {"all A": ["a", "b"]}) == set()
