"""Known regressions, and a gate's result as Markdown."""

from dataclasses import replace
from datetime import date

import pytest
from gate_records import ENTRY, TODAY, code, kept_as, record, table, write

from normsuite.conventions import exit_codes
from normsuite.errors import ArgumentError
from normsuite.gate import accepted, groups, summary
from normsuite.gate.comment import comment
from normsuite.gate.decide import ACCEPTED, SAME, WORSE
from normsuite.gate.row import MEAN_TIME


def test_a_known_regression_is_no_failure_until_its_day(tmp_path):
    known = accepted.read(write(tmp_path, ENTRY + "at_most = 1.1\n"))
    slow = record(table(9, slowdowns=[0.05]))
    made = kept_as(slow, known, TODAY)
    first = summary.rows(made)[0]
    assert first.verdict == ACCEPTED and "more checks" in first.note
    assert code(made) == exit_codes.OK and accepted.notes(known, TODAY) == []
    later = date(2030, 2, 1)
    assert code(kept_as(slow, known, later)) == exit_codes.REGRESSION
    assert "accepted until 2030-01-31, and no longer: cell *" in accepted.notes(known, later)[0]
    slower = record(table(9, slowdowns=[0.2]))
    assert code(kept_as(slower, known, TODAY)) == exit_codes.REGRESSION, "more than was accepted"


def test_an_accepted_cell_does_not_fail_through_its_group():
    """Two of eight that are slower by 4 % make their mean slower by 1 %."""
    values = {f"A/numba/case-{i}/f": {k: 0.04 * (i < 2) for k in range(1, 9)} for i in range(8)}
    values = {name: {k: v + 1e-5 * (k % 3) for k, v in of.items()} for name, of in values.items()}
    made = record(values, looks=(8,), groups=groups.of_cells(values))
    assert {row.cell for row in summary.rows(made) if row.verdict == WORSE} == {*list(values)[:2], "all A"}
    entry = accepted.Accepted("A/numba/case-[01]/*", "time", "more checks", TODAY)
    (mean,) = (row for row in summary.rows(kept_as(made, [entry], TODAY)) if row.metric == MEAN_TIME)
    assert mean.verdict == SAME and mean.note == "6 cells"
    assert code(kept_as(made, [entry], TODAY)) == exit_codes.OK
    little = replace(entry, at_most=1.01)
    assert code(kept_as(made, [little], TODAY)) == exit_codes.REGRESSION, "more than was accepted"
    every = replace(entry, cell="A/*")
    (mean,) = (row for row in summary.rows(kept_as(made, [every], TODAY)) if row.metric == MEAN_TIME)
    assert mean.note == "6 cells", "those that are not worse are not left out"
    assert code(kept_as(made, [entry], date(2030, 1, 2))) == exit_codes.REGRESSION, "no longer accepted"


def test_every_reader_ends_as_the_project_s_policy_says():
    open_cells = record(table(11, deviation=0.05))
    assert summary.headline(open_cells).endswith("too little decided.")
    assert summary.headline(kept_as(open_cells, [], TODAY, "pass")).endswith("no regression.")
    quiet = record(table(12, deviation=1e-4))
    assert summary.headline(kept_as(quiet, [], TODAY, "fail")).endswith("no regression.")
    kept = kept_as(open_cells, [], TODAY, "pass")
    assert "normsuite gate: no regression" in comment(kept, summary.rows(kept))
    assert summary.as_dict(kept, summary.rows(kept))["exit_code"] == exit_codes.OK


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[accepted]\n", "cannot be read"),
        ("accepted = 1\n", "no list"),
        ("accepted = [1]\n", "is no table"),
        (ENTRY.replace("reason", "cause"), "has the unknown field 'cause'"),
        (ENTRY.replace('reason = "more checks"\n', ""), "lacks reason"),
        (ENTRY.replace("2030-01-31", '"soon"'), "until = 'soon'"),
        (ENTRY.replace('"more checks"', '""'), "reason = ''"),
        (ENTRY + 'at_most = "much"\n', "at_most = 'much'"),
        (ENTRY + "at_most = true\n", "at_most = True"),
        (ENTRY + "at_most = nan\n", "at_most = nan"),
        (ENTRY + "at_most = inf\n", "at_most = inf"),
        (ENTRY + "at_most = -1\n", "at_most = -1"),
    ],
)
def test_a_file_that_accepts_nothing_sensible_is_refused(tmp_path, text, reason):
    with pytest.raises(ArgumentError, match="accepted = ") as error:
        accepted.read(write(tmp_path, text))
    assert reason in str(error.value)


def test_a_cell_s_own_name_is_accepted_whatever_is_in_it():
    entry = accepted.Accepted("LayerNorm/m:LN([3, 5])/tiny", "time", "known", TODAY)
    assert entry.names("LayerNorm/m:LN([3, 5])/tiny", "time") and not entry.names("LayerNorm/m:LN3/tiny", "time")


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
