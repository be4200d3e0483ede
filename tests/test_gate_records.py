"""What a gate's record says: rows, exit codes, error rates, and what its table excludes."""

import json
import math

import numpy as np
import pytest
from gate_records import CELLS, ENTRY, NOTHING, TODAY, code, kept_as, of, record, table, write

from normsuite import statistics
from normsuite.conventions import exit_codes
from normsuite.errors import ArgumentError
from normsuite.gate import accepted, counting, summary, tables
from normsuite.gate.comment import comment
from normsuite.gate.decide import ACCEPTED, BETTER, FAILS, NOT_AVAILABLE, SAME, UNDECIDED, WORSE
from normsuite.measure import metric, workload
from normsuite.records import schema


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
    assert code(made) == exit_codes.REGRESSION
    assert found[0].verdict == WORSE, "the worst stands first"


def test_what_one_side_lacks_is_not_available_and_what_head_breaks_is_a_regression():
    lacking = {"RMSNorm/torch/tiny/step": {"base": "has no norm RMSNorm"}}
    made = record(absent=lacking)
    found = summary.rows(made)
    assert [row.cell for row in found if row.verdict == NOT_AVAILABLE] == ["RMSNorm/torch/tiny/step"]
    assert code(made) == exit_codes.OK
    timed = len([row for row in found if row.bound is not None])
    assert any(f"of the {timed} that both versions have" in line for line in summary.sentences(made, found))
    broken = {"GroupNorm/numba/tiny/step": {"head": "fails: TypeError: no"}}
    made = record(absent=broken)
    assert summary.rows(made)[0].verdict == FAILS and code(made) == exit_codes.REGRESSION
    assert summary.ending(made, summary.rows(made)) == "regression (1 fails): exit code 1"
    made = record(absent=lacking)
    assert summary.ending(made, summary.rows(made)) == "no regression: exit code 0"
    both = {"GroupNorm/numba/tiny/step": {"head": "fails: TypeError: no", "base": "fails: TypeError: no"}}
    assert code(record(absent=both)) == exit_codes.OK


def test_cells_that_many_lack_for_one_reason_are_one_sentence():
    def shown(cells):
        lacking = {f"RMSNorm/torch/tiny/{n}": {"base": "has no norm RMSNorm"} for n in range(cells)}
        made = record(absent=lacking)
        found = summary.rows(made)
        assert len([row for row in found if row.verdict == NOT_AVAILABLE]) == cells, "none is lost"
        said = [line for line in summary.sentences(made, found) if "has no norm" in line]
        return said, [row.cell for row in summary.notable(found) if row.verdict == NOT_AVAILABLE], comment(made, found)

    said, rows, text = shown(4)
    assert said == ["4 cells n/a: base has no norm RMSNorm"] and not rows and "RMSNorm/torch" not in text
    said, rows, text = shown(3)
    assert not said and len(rows) == 3 and text.count("RMSNorm/torch") == 3


def test_faster_is_better_and_no_failure():
    values = {name: {k: v - 0.1 for k, v in of.items()} for name, of in table(6).items()}
    made = record(values)
    assert {row.verdict for row in summary.rows(made)} == {BETTER} and code(made) == exit_codes.OK


def test_nothing_decided_is_an_exit_code_of_its_own():
    noisy = record(table(7, deviation=0.3))
    assert {row.verdict for row in summary.rows(noisy)} == {UNDECIDED}
    assert code(noisy) == exit_codes.NOTHING
    # Exact numbers that are the same decide nothing of the time.
    counts = {"cell 0": {"base": {"peak bytes": 1}, "head": {"peak bytes": 1}}}
    assert code(record(table(7, deviation=0.3), counts=counts)) == exit_codes.NOTHING
    assert summary.exit_code(None, []) == exit_codes.NOTHING


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
    found = summary.rows(record(error_rates={"BatchNorm": {"base": base, "head": head}}, values=NOTHING, looks=()))
    row = of(found, "error rate")
    assert row.verdict == verdict and row.values == 3 and "points or more is found with 80% power" in row.note
    assert row.ratio.value == pytest.approx(np.mean(head) - np.mean(base))


def test_equal_error_rates_are_the_same_without_an_interval():
    rates = [0.05, 0.06, 0.07]
    found = summary.rows(record(error_rates={"BatchNorm": {"base": rates, "head": rates}}, values=NOTHING, looks=()))
    row = of(found, "error rate")
    assert row.verdict == SAME and row.note == "the same numbers for every seed"


@pytest.mark.parametrize(
    ("reason", "verdict", "expected"),
    [
        ("fails: ValueError: no", FAILS, exit_codes.REGRESSION),
        ("has no norm", NOT_AVAILABLE, exit_codes.NOTHING),
    ],
)
def test_a_version_that_cannot_train_any_more_is_a_regression(reason, verdict, expected):
    rates = {"BatchNorm": {"base": [0.05, 0.06], "absent": {"head": reason}}}
    made = record(error_rates=rates, values=NOTHING, looks=())
    row = of(summary.rows(made), "error rate")
    assert row.verdict == verdict and row.note == f"head {reason}" and code(made) == expected
    assert schema.problem(record(error_rates=rates)) is None, "the record can be read again"


def test_counts_of_one_version_alone_are_a_record_and_no_row():
    """An interrupted gate, whose versions have processes of their own, leaves such counts."""
    name = next(iter(table(5)))
    made = record(counts={name: {"base": {"peak bytes": 1000}}})
    assert schema.problem(made) is None and not [row for row in summary.rows(made) if row.metric != "time"]


def test_a_metric_that_counts_less_than_nothing_is_refused_where_it_counts(monkeypatch):
    cell = workload.named("LayerNorm", "torch", "tiny")
    given = cell.task.operands()
    monkeypatch.setattr(workload.Subject, "counts", lambda subject: {metric.PEAK_BYTES: -1.0})
    with pytest.raises(ArgumentError, match=r"peak bytes.*-1\.0"):
        counting.values(cell.ready([given])[0], cell, given)


def test_a_metric_of_a_package_that_is_not_installed_is_passed_over():
    name = next(iter(table(5)))
    counts = {side: {"page faults": 3, "peak bytes": 1000} for side in ("base", "head")}
    found = summary.rows(record(counts={name: counts}))
    assert {row.metric for row in found} == {"time", "peak bytes"}


@pytest.mark.parametrize(("at_most", "verdict"), [(2.0, ACCEPTED), (1.5, WORSE)])
def test_of_an_accepted_error_rate_the_ratio_is_bounded(tmp_path, at_most, verdict):
    entry = ENTRY.replace("cell *", "*").replace("time", "error rate")
    rates = {"BatchNorm": {"base": [0.0501, 0.0601, 0.0703], "head": [0.10, 0.11, 0.12]}}
    known = accepted.read(write(tmp_path, f"{entry}at_most = {at_most}\n"))
    found = summary.rows(kept_as(record(error_rates=rates, values=NOTHING, looks=()), known, TODAY))
    row = of(found, "error rate")
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


@pytest.mark.parametrize(("limit", "expected"), [(0.05, exit_codes.NOTHING), (0.5, exit_codes.OK)])
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
    assert math.isinf(summary.bound(found)) and code(made) == exit_codes.NOTHING
    assert any("1 cells have no interval" in line for line in summary.sentences(made, found))


def test_a_record_from_before_there_were_two_thresholds_is_judged_by_its_margin():
    made = record(table(0, slowdowns=[0.008] * CELLS, deviation=1e-4))
    assert {row.verdict for row in summary.rows(made)} == {WORSE}
    del made["case"]["margins"]["worse"], made["case"]["groups"]
    assert {row.verdict for row in summary.rows(made)} == {SAME} and code(made) == exit_codes.OK


def test_an_error_that_is_not_finite_counts_as_infinite():
    cell = "GroupNorm/numba/tiny/step"
    for before, after, shown in (
        ("inf", 1e-7, "-100.0%"), (1e-7, "inf", "× inf"), ("inf", "inf", "+0.0%"),
        ("nan", 1e-7, "-100.0%"), (1e-7, "nan", "× inf"), ("inf", "nan", "+0.0%"),
    ):  # fmt: skip
        counts = {cell: {"base": {"output error at mean 0": before}, "head": {"output error at mean 0": after}}}
        row = of(summary.rows(record(counts=counts)), "output error at mean 0")
        assert (row.comparison, row.verdict) == (shown, {"-100.0%": BETTER, "× inf": WORSE, "+0.0%": SAME}[shown])


def test_values_of_a_metric_that_nobody_here_knows_are_named():
    counts = {"GroupNorm/numba/tiny/step": {"base": {"flops": 1}, "head": {"flops": 9}}}
    made = record(counts=counts)
    (said,) = (said for said in summary.sentences(made, summary.rows(made)) if said.startswith("left out"))
    assert said.endswith("a margin for them: flops")


def test_a_cell_that_was_interrupted_before_the_first_look_says_so():
    rows = summary.rows(record({"cell 0": {1: 0.01}, "cell 1": {}}, looks=()))
    assert {row.cell: row.note for row in rows} == {
        "cell 0": "interrupted before the first look",
        "cell 1": "not measured",
    }
    assert {row.verdict for row in rows} == {UNDECIDED} and {row.values for row in rows} == {0}


def test_norms_that_were_not_trained_before_an_interruption_are_undecided():
    made = record(error_rates={"BatchNorm": {"base": [0.1, 0.2], "head": [0.1, 0.2]}})
    assert code(made) == exit_codes.OK
    made["case"]["error_rate_norms"].append("LayerNorm")
    made = json.loads(json.dumps(summary.with_rules(made, [], TODAY, was_interrupted=True)))
    row = next(row for row in summary.rows(made) if row.cell == "LayerNorm")
    assert (row.verdict, row.values, row.note) == (UNDECIDED, 0, "interrupted before it was trained")
    assert code(made) == exit_codes.NOTHING and made["notes"] == ["interrupted by the user"]


def test_a_metric_without_a_margin_in_the_record_is_named(monkeypatch):
    name = next(iter(table(5)))
    made = record(counts={name: {side: {"peak bytes": 1000} for side in ("base", "head")}})
    made["case"]["margins"]["of another kind"] = made["case"]["margins"].pop("bytes")
    rows = summary.rows(made)
    assert {row.metric for row in rows} == {"time"}
    assert any(said.endswith("a margin for them: peak bytes") for said in summary.sentences(made, rows))


@pytest.mark.parametrize("day", ["2026-01-31T00:00", "20260131T000000"])
def test_a_moment_is_no_day_of_accepted_regressions(day):
    made = {**record(), "accepted": {"day": day, "entries": []}}
    assert "is no date" in schema.problem(made)


@pytest.mark.parametrize(("margin", "said"), [(0.005, "0.5 %"), (0.015, "1.5 %"), (0.02, "2 %")])
def test_margins_are_shown_as_they_are(margin, said):
    made = record(time=margin)
    rows = summary.rows(made)
    assert f"the same within {said}" in tables.verdicts(made, rows).note and f"the same within {said}" in comment(
        made, rows
    )


def test_a_rise_from_no_error_at_all_is_not_below_any_ratio():
    rates = {"GroupNorm": {"base": [0.0] * 10, "head": [0.02, 0.03] * 5}}
    entry = accepted.Accepted("GroupNorm", "error rate", "known", TODAY, at_most=1.1)
    made = kept_as(record(error_rates=rates), [entry], TODAY)
    assert of(summary.rows(made), "error rate").verdict == WORSE
