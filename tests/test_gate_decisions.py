"""A gate's verdicts from numbers, without any measurement: intervals, looks, exact metrics, error rates, exit codes."""

import json
import math
from datetime import date

import numpy as np
import pytest

from normsuite import provenance, results, statistics, writing
from normsuite.errors import ArgumentError
from normsuite.gate import accepted, asv_continuous, decide, groups, rates, summary
from normsuite.gate import tables as gate_tables
from normsuite.gate.comment import comment
from normsuite.gate.decide import ACCEPTED, BETTER, FAILS, NOT_AVAILABLE, SAME, UNDECIDED, WORSE, Thresholds
from normsuite.statistics import Interval

CELLS = 48
TODAY = date(2030, 1, 1)


def table(seed, *, processes=6, deviation=0.002, slowdowns=()):
    """Log ratios of a table, with other deviations for each cell, and those slowdowns in its first cells."""
    draw = np.random.default_rng(seed)
    deviations = deviation * np.sqrt(10 / draw.chisquare(10, CELLS))
    true = np.zeros(CELLS)
    true[: len(slowdowns)] = np.log1p(slowdowns)
    logs = true[:, None] + deviations[:, None] * draw.standard_normal((CELLS, processes))
    return {f"cell {i}": {k + 1: float(v) for k, v in enumerate(row)} for i, row in enumerate(logs)}


# ---- variances drawn towards what they have in common ----


@pytest.mark.parametrize("likeness", [3.0, 10.0, math.inf])
def test_moderated_intervals_hold_as_often_as_they_say_and_are_narrower(likeness):
    """Whether the variances are nearly alike or not: inverse chi-squared with so many degrees of freedom."""
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


# ---- rows of a record ----


def tree(name="base"):
    return {"name": name, "commit": "a" * 40, "subject": "what it does", "digest": "b" * 40}


def record(values=None, *, counts=None, absent=None, error_rates=None, looks=(4,), groups=None, **margins):
    values = table(5) if values is None else values
    case = {
        "base": tree(),
        "head": tree("head"),
        "cells": [{"name": name} for name in {**values, **(absent or {})}],
        "groups": groups or {},
        "margins": {"time": 0.01, "worse": 0.0025, "bytes": 0.01, "error": 1.0, "error rate": 0.005, **margins},
        "alpha": 0.05,
        "budget_s": 120.0,
        "threads": 2,
        "apart": False,
        "error_rate_norms": list(error_rates or ()),
    }
    samples = {
        "log_ratios": {
            **{name: {str(k): v for k, v in of.items()} for name, of in values.items()},
            **{name: {} for name in absent or ()},
        },
        "base_s": dict.fromkeys(values, 1e-3),
        "looks": list(looks),
        "blocks": [100] * len(looks),
        "counts": counts or {},
        "absent": absent or {},
        "error_rates": error_rates or {},
    }
    made = results.make_record("gate", case, samples, environment=provenance.environment(), seeds=[0], spent_s=60.0)
    return json.loads(writing.to_json(made))  # as it comes back from a file


def code(made):
    return summary.exit_code(made, summary.rows(made))


def of(found, metric):
    (row,) = (row for row in found if row.metric == metric)
    return row


def test_bytes_and_errors_are_rows_of_their_own():
    counts = {
        "GroupNorm/numba/tiny/step": {
            "base": {"peak bytes": 1000, "saved bytes": 500, "gradient error at mean 0": 3e-7},
            "head": {"peak bytes": 1000, "saved bytes": 756, "gradient error at mean 0": 4e-6},
        }
    }
    made = record(counts=counts)
    found = summary.rows(made)
    assert of(found, "peak bytes").verdict == SAME
    assert of(found, "saved bytes").verdict == WORSE and of(found, "saved bytes").ratio.value == pytest.approx(1.512)
    assert of(found, "gradient error at mean 0").verdict == WORSE
    assert code(made) == summary.REGRESSION
    assert found[0].verdict == WORSE, "the worst stands first"


def test_what_one_side_lacks_is_not_available_and_what_head_breaks_is_a_regression():
    lacking = {"RMSNorm/torch/tiny/step": {"base": "has no norm RMSNorm"}}
    made = record(absent=lacking)
    found = summary.rows(made)
    assert [row.cell for row in found if row.verdict == NOT_AVAILABLE] == ["RMSNorm/torch/tiny/step"]
    assert code(made) == summary.NO_REGRESSION
    broken = {"GroupNorm/numba/tiny/step": {"head": "fails: TypeError: no"}}
    made = record(absent=broken)
    assert summary.rows(made)[0].verdict == FAILS and code(made) == summary.REGRESSION
    both = {"GroupNorm/numba/tiny/step": {"head": "fails: TypeError: no", "base": "fails: TypeError: no"}}
    assert code(record(absent=both)) == summary.NO_REGRESSION


def test_faster_is_better_and_no_failure():
    values = {name: {k: v - 0.1 for k, v in of.items()} for name, of in table(6).items()}
    made = record(values)
    assert {row.verdict for row in summary.rows(made)} == {BETTER} and code(made) == summary.NO_REGRESSION


def test_nothing_decided_is_an_exit_code_of_its_own():
    noisy = record(table(7, deviation=0.3))
    assert {row.verdict for row in summary.rows(noisy)} == {UNDECIDED}
    assert code(noisy) == summary.NOTHING_DECIDED
    # Exact numbers that are the same decide nothing of the time.
    counts = {"cell 0": {"base": {"peak bytes": 1}, "head": {"peak bytes": 1}}}
    assert code(record(table(7, deviation=0.3), counts=counts)) == summary.NOTHING_DECIDED
    assert summary.exit_code(None, []) == summary.NOTHING_DECIDED


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        ([0.10, 0.11, 0.12], WORSE),
        ([0.05, 0.06, 0.07], SAME),
        ([0.02, 0.031, 0.04], BETTER),
        ([0.04, 0.06, 0.09], UNDECIDED),
    ],
)
def test_error_rates_are_paired_by_seed(head, verdict):
    base = [0.0501, 0.0601, 0.0703]
    found = summary.rows(record(error_rates={"BatchNorm": {"base": base, "head": head}}, values={}, looks=()))
    row = of(found, "error rate")
    assert row.verdict == verdict and row.values == 3 and "points or more is found with 80% power" in row.note
    assert row.ratio.value == pytest.approx(np.mean(head) - np.mean(base))


def test_equal_error_rates_are_the_same_without_an_interval():
    rates = [0.05, 0.06, 0.07]
    (row,) = summary.rows(record(error_rates={"BatchNorm": {"base": rates, "head": rates}}, values={}, looks=()))
    assert row.verdict == SAME and row.note == "the same numbers for every seed"


@pytest.mark.parametrize(
    ("reason", "verdict", "expected"),
    [
        ("fails: ValueError: no", FAILS, summary.REGRESSION),
        ("has no norm", NOT_AVAILABLE, summary.NOTHING_DECIDED),
    ],
)
def test_a_version_that_cannot_train_any_more_is_a_regression(reason, verdict, expected):
    rates = {"BatchNorm": {"base": [0.05, 0.06], "absent": {"head": reason}}}
    made = record(error_rates=rates, values={}, looks=())
    (row,) = summary.rows(made)
    assert row.verdict == verdict and row.note == f"head {reason}" and code(made) == expected


@pytest.mark.parametrize(("at_most", "verdict"), [(2.0, ACCEPTED), (1.5, WORSE)])
def test_of_an_accepted_error_rate_the_ratio_is_bounded(tmp_path, at_most, verdict):
    entry = ENTRY.replace("cell *", "*").replace("time", "error rate")
    rates = {"BatchNorm": {"base": [0.0501, 0.0601, 0.0703], "head": [0.10, 0.11, 0.12]}}
    known = accepted.read(write(tmp_path, f"{entry}at_most = {at_most}\n"))
    (row,) = summary.rows(kept_as(record(error_rates=rates, values={}, looks=()), known, TODAY))
    assert row.verdict == verdict


def test_the_detectable_rise_is_found_as_often_as_it_says():
    draw = np.random.default_rng(8)
    deviation, seeds, margin, alpha = 0.01, 10, 0.005, 0.05
    sample = deviation * draw.standard_normal(seeds)
    sample = deviation * (sample - sample.mean()) / sample.std(ddof=1)
    rise = summary.detectable_rise(sample, margin, alpha)
    found = 0
    for _ in range(2000):
        interval = statistics.mean_interval(rise + deviation * draw.standard_normal(seeds), 1 - alpha)
        found += interval.low > margin
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


# ---- what a table excludes ----


def test_the_sentence_states_the_largest_slowdown_that_is_possible():
    made = record(table(5, deviation=0.01))
    found = summary.rows(made)
    highest = max(row.ratio.high for row in found)
    assert summary.bound(found) == pytest.approx(highest - 1)
    (said,) = (line for line in summary.sentences(made, found) if "slower" in line)
    stated = float(said.split("more than ")[1].split(" %")[0])
    assert said.startswith("no cell is more than") and "(95%, all together)" in said
    assert 0 <= stated - 100 * (highest - 1) < 0.02, "rounded up"
    undecided = [row for row in found if row.verdict == UNDECIDED]
    assert undecided and all("not more than" in row.remark for row in undecided)
    for text in (comment(made, found), json.dumps(summary.as_dict(made, found), default=str)):
        assert "no cell is more than" in text
    assert summary.as_dict(made, found)["slower_at_most"] == pytest.approx(highest - 1)


def test_a_cell_that_is_worse_is_not_among_those_that_are_bounded():
    made = record(table(5, slowdowns=[0.5]))
    found = summary.rows(made)
    assert found[0].verdict == WORSE and summary.bound(found) < 0.1
    assert any(line.startswith("no other cell is more than") for line in summary.sentences(made, found))


@pytest.mark.parametrize(("limit", "expected"), [(0.05, summary.NOTHING_DECIDED), (0.5, summary.NO_REGRESSION)])
def test_a_table_that_leaves_a_large_slowdown_possible_does_not_pass(limit, expected):
    """All but one cell undecided about 2 %, as a gate saw it on a noisy machine, and that one better."""
    values = table(7, deviation=0.03, processes=4, slowdowns=[0.02] * (CELLS - 1))
    values["cell 47"] = {k: v - 0.5 for k, v in values["cell 47"].items()}
    made = record(values, limit=limit)
    found = summary.rows(made)
    counted = [row.verdict for row in found]
    assert counted.count(WORSE) == 0 and counted.count(BETTER) == 1 and counted.count(UNDECIDED) > 30
    assert code(made) == expected
    assert any("more than the limit" in line for line in summary.sentences(made, found)) == (limit == 0.05)


def test_a_cell_that_was_not_measured_excludes_nothing():
    made = record({**table(5), "cell 48": {}}, limit=0.05)
    found = summary.rows(made)
    assert math.isinf(summary.bound(found)) and code(made) == summary.NOTHING_DECIDED
    assert any("1 cells have no interval" in line for line in summary.sentences(made, found))


def test_a_record_from_before_there_were_two_thresholds_is_judged_by_its_margin():
    made = record(table(0, slowdowns=[0.008] * CELLS, deviation=1e-4))
    assert {row.verdict for row in summary.rows(made)} == {WORSE}
    del made["case"]["margins"]["worse"], made["case"]["groups"]
    assert {row.verdict for row in summary.rows(made)} == {SAME} and code(made) == summary.NO_REGRESSION


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
    assert beyond.verdict == SAME and not beyond.settled
    assert decide.unsettled(found, {}, {}) == {name for name, of in found.items() if not of.settled}
    clean = [of for name, of in found.items() if name != "cell 0" and of.verdict == SAME]
    assert len(clean) > 40 and all(of.settled for of in clean)
    later = decide.decide(
        table(2, slowdowns=[0.005], deviation=1e-3, processes=24), [4, 24], Thresholds(), CELLS, final=True
    )
    assert later["cell 0"].verdict == WORSE


def test_a_group_beyond_the_threshold_keeps_its_cells_open():
    interval = Interval(1.004, 0.999, 1.009)
    means = {"all A": decide.Decision(interval, SAME, 4, True)}
    assert decide.unsettled({}, means, {"all A": ["a", "b"]}) == {"a", "b"}
    means = {"all A": decide.Decision(interval, WORSE, 4, True)}
    assert decide.unsettled({}, means, {"all A": ["a", "b"]}) == set()


# ---- known regressions ----


def write(folder, text):
    file = folder / accepted.FILE
    file.write_text(text)
    return file


ENTRY = '[[accepted]]\ncell = "cell *"\nmetric = "time"\nreason = "more checks"\nuntil = 2030-01-31\n'


def kept_as(made, known, today):
    """With what is known, after a journey through a file."""
    return json.loads(writing.to_json(summary.with_accepted(made, known, today)))


def test_a_known_regression_is_no_failure_until_its_day(tmp_path):
    known = accepted.read(write(tmp_path, ENTRY + "at_most = 1.1\n"))
    slow = record(table(9, slowdowns=[0.05]))
    made = kept_as(slow, known, TODAY)
    first = summary.rows(made)[0]
    assert first.verdict == ACCEPTED and "more checks" in first.note
    assert code(made) == summary.NO_REGRESSION and accepted.notes(known, TODAY) == []
    later = date(2030, 2, 1)
    assert code(kept_as(slow, known, later)) == summary.REGRESSION
    assert "accepted until 2030-01-31, and no longer: cell *" in accepted.notes(known, later)[0]
    slower = record(table(9, slowdowns=[0.2]))
    assert code(kept_as(slower, known, TODAY)) == summary.REGRESSION, "more than was accepted"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[accepted]\n", "cannot be read"),
        ("accepted = 1\n", "no list"),
        ("accepted = [1]\n", "is no table"),
        (ENTRY.replace("reason", "cause"), "has 'cause'"),
        (ENTRY.replace('reason = "more checks"\n', ""), "lacks reason"),
        (ENTRY.replace("2030-01-31", '"soon"'), "until = 'soon'"),
        (ENTRY.replace('"more checks"', '""'), "reason = ''"),
        (ENTRY + 'at_most = "much"\n', "at_most = 'much'"),
    ],
)
def test_a_file_that_accepts_nothing_sensible_is_refused(tmp_path, text, reason):
    with pytest.raises(ArgumentError, match="accepted = ") as error:
        accepted.read(write(tmp_path, text))
    assert reason in str(error.value)


# ---- Markdown ----


def test_markdown_shows_hostile_names_as_text():
    made = record(table(10, slowdowns=[0.05]))
    made["case"]["head"]["name"] = "x|<script>alert(1)</script>@all`[a](b)"
    text = comment(made, summary.rows(made))
    assert "<script>" not in text and "@all" not in text and "[a](b)" not in text
    assert "normsuite gate: regression" in text and "| ❌ | cell 0 | time | +" in text
    assert text.count("<details>") == 1
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}


# ---- the self-check's rates ----


ENDS = {SAME: (0.995, 1.005), UNDECIDED: (0.98, 1.02), WORSE: (1.003, 1.1), BETTER: (0.9, 0.997)}


def checked(verdicts, planted=None):
    cells = {f"cell {i}": [v, 1.0, *ENDS[v], 4] for i, v in enumerate(verdicts)}
    return {"what": rates.WHAT, "case": {"planted": planted or {}}, "samples": {"cells": cells}, "wall_s": 60.0}


def test_rates_have_the_bounds_of_clopper_and_pearson():
    assert rates.Rate(0, 60).at_most == pytest.approx(1 - 0.05 ** (1 / 60))
    assert rates.Rate(59, 59).at_least == pytest.approx(0.05 ** (1 / 59))
    assert (rates.Rate(0, 5).at_least, rates.Rate(5, 5).at_most) == (0.0, 1.0)


def test_error_rates_of_tables_are_counted():
    same = [checked([SAME, UNDECIDED, SAME])] * 9 + [checked([SAME, WORSE, BETTER])]
    planted = [checked([WORSE, UNDECIDED, SAME], {"cell 0": 0.05, "cell 1": 0.01})] * 3
    found = rates.found(same + planted)
    assert (found.false_alarms.k, found.false_alarms.n) == (1, 10)
    assert (found.false_praise.k, found.false_cells.k, found.false_cells.n) == (1, 1, 33)
    assert (found.planted[0.05].k, found.planted[0.05].n, found.planted[0.01].k) == (3, 3, 0)
    assert (found.settled.k, found.settled.n) == (19, 30)
    assert found.smallest is None, "three of three support no more than 37 %"
    assert rates.found(same + planted * 10).smallest == 0.05
    text = "\n".join(rates.lines(same + planted))
    assert "1 of 10 tables with a false alarm" in text and "injected 5 %: found in 3 of 3 cells" in text
    assert rates.line(planted[0]).startswith("1 of 2 injected slowdowns found; 1 worse")


def test_recorded_intervals_are_judged_by_the_thresholds_of_today():
    """A slowdown of the margin itself, which one threshold for both could never call."""
    record = checked([SAME], {"cell 0": 0.01})
    record["samples"]["cells"]["cell 0"] = [UNDECIDED, 1.01, 1.004, 1.016, 16]
    assert rates.found([record]).planted[0.01].k == 1
    assert rates.found([record], Thresholds(worse=0.01)).planted[0.01].k == 0


def test_rates_are_counted_by_measured_size_and_by_length():
    record = checked([WORSE, SAME, WORSE], {"a/b/tiny/f": 0.01, "a/b/study/f": 0.01, "a/b/study/s": 0.02})
    names = list(record["case"]["planted"])
    samples = record["samples"]
    samples["cells"] = dict(zip(names, samples["cells"].values(), strict=True))
    samples["log_ratios"] = {
        name: [math.log1p(size)] * 4 for name, size in zip(names, (0.0095, 0.0095, 0.03), strict=True)
    }
    assert {name: (of.k, of.n) for name, of in rates.by_size([record]).items()} == {
        "0.90% to 1.10%": (1, 2),
        "2.00% to 5.00%": (1, 1),
    }
    assert {name: (of.k, of.n) for name, of in rates.by_length([record], 0.01).items()} == {
        "tiny": (1, 1),
        "study": (0, 1),
    }
    samples["base_s"] = dict(zip(names, (1e-4, 7e-6, 1e-3), strict=True))
    assert list(rates.by_length([record], 0.01)) == ["below 20 µs", "20 to 200 µs"]
    assert rates.as_dict([record])["by_length"]["0.02"]["200 µs and more"]["k"] == 1
    record["environment"] = provenance.environment()
    shown = {row[0]: row[2:4] for row in gate_tables.error_rates([record]).rows}
    assert shown["slower by 1%, below 20 µs"] == ("0", "1") and shown["slower by 1%, 20 to 200 µs"] == ("1", "1")


def test_what_asv_said_is_counted_in_the_same_way():
    said = {
        "what": rates.ASV,
        "case": {"planted": {"a": 0.05, "b": 0.05}, "cells": ["a", "b", "c"]},
        "samples": {"changes": {"a": 1.13, "c": 0.52}, "factor": 1.03},
        "wall_s": 205.0,
    }
    found = rates.found([said])
    assert (found.planted[0.05].k, found.planted[0.05].n, found.false_cells.k, found.false_cells.n) == (1, 2, 0, 1)
    assert json.loads(writing.to_json(rates.as_dict([said])))["asv"]["planted"]["0.05"]["n"] == 2
    table = """
    | Change   | Before [a] <x>   | After [b] <y>   |   Ratio | Benchmark (Parameter)                           |
    |----------|------------------|-----------------|---------|-------------------------------------------------|
    | +        | 1.00±0.1ms       | 1.13±0ms        |    1.13 | latency.Latency.track_forward('a', 'b')         |
    | -        | 2.00±0.1ms       | 1.04±0ms        |    0.52 | latency.Latency.track_training_step('c')        |
    """
    assert [ratio for _, ratio in asv_continuous.changes(table)] == [1.13, 0.52]
