"""Self-checks and bisections on real versions of the package."""

import json
import math
import os
import subprocess

import gate_records
import numpy as np
import pytest
from gated_package import BREAKS, COMMAND, ONE, PACKAGE, THRICE, append, gate, git, interrupt, version

from normsuite.errors import ArgumentError
from normsuite.gate import bisection, calibrate, compare, groups, self_check_rates, selfcheck, summary
from normsuite.gate.decide import SAME, WORSE
from normsuite.gate.row import MEAN_TIME, CellRow
from normsuite.measure import own_workloads as cells
from normsuite.records import kinds, results
from normsuite.statistics import Interval
from tools import injected_commits
from tools.injected_commits import SOURCE

pytestmark = pytest.mark.usefixtures("gate_cache")


def test_a_self_check_leaves_records_that_add_up(repository, tmp_path):
    tree = version(repository)
    some = [f"{norm}/torch/tiny/*" for norm in ("LayerNorm", "GroupNorm", "RMSNorm")]
    setup = compare.Setup(tree, tree, cells.plan(only=some), compare.MARGINS, 1.0, 1)
    out = tmp_path / "check"
    made = []
    run = {"out": out, "on_table": made.append}
    assert len(selfcheck.run(setup, tables=1, injected_tables=1, **run)) == 2 == len(made)
    injected = next(record for record in made if self_check_rates.is_injected(record))
    assert sorted(injected["case"]["planted"].values()) == list(self_check_rates.SHARES)
    found = selfcheck.run(setup, tables=2, injected_tables=1, **run)
    assert len(found) == 3 == len(made), "what was there is not measured again"
    other = compare.Setup(tree, tree, setup.cells, compare.MARGINS, 2.0, 1)
    assert selfcheck.run(other, tables=0, injected_tables=0, **run) == [], "another budget is another gate"
    assert git(repository, "status", "--porcelain") == "" and len(git(repository, "log", "--format=%h").split()) == 1


def test_a_self_check_says_its_rates_with_their_bounds(repository, tmp_path):
    arguments = ("--tables", "1", "--injected-tables", "1", "--out", str(tmp_path / "check"))
    arguments += ("--json", str(tmp_path / "rates.json"))
    done = gate(repository, *arguments, only=["LayerNorm/torch/tiny/*"], command="self-check")
    assert done.returncode == 0, done.stderr
    assert len(results.read_records(tmp_path / "check", kinds.SELF_CHECK.what).good) == 2
    found = json.loads((tmp_path / "rates.json").read_text())
    assert found["gate"]["false_alarms"]["n"] == 1 == found["gate"]["planted"]["0.01"]["n"] and found["asv"] is None
    assert done.stdout.splitlines() == found["sentences"] and len(found["records"]) == 2


@pytest.mark.parametrize("command", [["self-check"], ["bisect", "HEAD~1", "HEAD"]])
def test_an_interrupted_check_or_bisection_leaves_no_process(repository, tmp_path, command):
    append(repository, "errors.py", "# more\n")
    interrupt(repository, *command, "--only", ONE[0], "--out", str(tmp_path / "out"), TMPDIR=str(tmp_path))
    assert not list(tmp_path.glob("tmp*")), "the clone that was committed into is gone"


def test_injected_versions_take_longer_by_about_what_was_injected(repository):
    """Ten and a half times, so that it shows on any machine; none where none was injected."""
    (cell,) = cells.plan(only=ONE)
    shares = {cell: 9.5}
    with injected_commits.clone(version(repository), repository) as clone:
        base = injected_commits.commit(clone, {})
        head = injected_commits.commit(
            clone, calibrate.additions(base, shares, threads=1, way="tools.injected_commits:within")
        )
        assert base.digest == injected_commits.commit(clone, {}, said="again").digest != head.digest
    outcome = compare.run(compare.Setup(base, head, [cell], compare.MARGINS, 1.0, 1))
    (row,) = (row for row in summary.rows(outcome.record) if row.metric == "time")
    assert row.verdict == WORSE and 5 < row.ratio.value < 20


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_every_step_is_found_in_about_log2_n_probes(count):
    for step in range(count):
        asked = []

        def probe(place, step=step, asked=asked):
            asked.append(place)
            return bisection.BAD if place >= step else bisection.GOOD

        assert bisection.search(count, probe) == (step - 1, step)
        assert len(asked) == len(set(asked)) <= count.bit_length()


def test_commits_that_cannot_be_compared_are_suspects_together():
    def probe(place):
        return bisection.UNKNOWN if place in (3, 4) else bisection.BAD if place >= 4 else bisection.GOOD

    assert bisection.search(10, probe) == (2, 5)
    assert bisection.search(4, lambda place: bisection.UNKNOWN) == (-1, 3)


def test_a_bisection_finds_the_commit_of_a_step(repository):
    start = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# one\n", "one")
    append(repository, "functional.py", THRICE, "the slow one")
    culprit = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# two\n", "two")
    append(repository, "spec.py", "raise RuntimeError\n", "broken")
    git(repository, "revert", "--no-edit", "HEAD")
    done = subprocess.run(
        [COMMAND, "bisect", start, "HEAD", "--only", ONE[0], "--budget", "1s", "--threads", "1", "--json", "-"],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [suspect["commit"] for suspect in found["suspects"]] == [culprit]
    assert found["row"]["cell"] == ONE[0] and f"made by {culprit[:9]} the slow one" in found["sentence"]


def test_the_commit_that_slowed_a_whole_group_a_little_is_found(repository, monkeypatch):
    """Cells are slower by 0.35 %, which is certain in the mean of all and in none of them."""
    start, commits = git(repository, "rev-parse", "HEAD"), []
    for number in range(4):
        append(repository, "errors.py", f"# {number}\n", f"commit {number}")
        commits.append(git(repository, "rev-parse", "HEAD"))
    looks, slow = (4, 6, 8, 12), commits[2:]

    def run(setup, on_progress):
        names = [cell.name for cell in setup.cells]
        noise = np.random.default_rng(3).normal(0, 0.002, (len(names), looks[-1]))
        logs = noise + 0.0035 * (setup.head.commit in slow)
        values = {name: {k + 1: float(v) for k, v in enumerate(of)} for name, of in zip(names, logs, strict=True)}
        made = gate_records.record(values, looks=looks, groups=groups.of_cells(names), **setup.margins)
        made["case"]["head"] = setup.head.as_dict()
        return compare.GateRun(made)

    monkeypatch.setattr(bisection.compare, "run", run)
    planned = cells.plan(only=["*/torch/tiny/*"])
    given = {"repository": repository, "source": SOURCE, "cells": planned, "budget_s": 1.0, "threads": 1}
    found = bisection.run(start, "HEAD", metric="time", out=repository / "reports" / "gate", **given)
    assert found.row.metric == MEAN_TIME and found.row.cell.startswith("all ")
    assert [suspect["commit"] for suspect in found.suspects] == [commits[2]], found.sentence


def test_the_commit_from_which_on_a_cell_fails_is_found(repository):
    """Commits before it are good, whatever their times are."""
    start = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# one\n", "one")
    append(repository, "functional.py", BREAKS, "breaks it")
    culprit = git(repository, "rev-parse", "HEAD")
    append(repository, "errors.py", "# two\n", "two")
    said = []
    given = {"repository": repository, "source": SOURCE, "cells": cells.plan(only=ONE), "budget_s": 1.0, "threads": 1}
    found = bisection.run(
        start, "HEAD", metric="time", out=repository / "reports" / "gate", on_line=said.append, **given
    )
    assert [suspect["commit"] for suspect in found.suspects] == [culprit] and found.row.verdict == "fails", said


@pytest.mark.parametrize(
    ("low", "high", "half", "side"),
    [
        (1.2, 1.3, 1.1, bisection.BAD),
        (0.9, 1.05, 1.1, bisection.GOOD),
        (1.0, 1.2, 1.1, bisection.UNKNOWN),
        (math.nan, math.nan, 1.1, bisection.UNKNOWN),
        (1.5, 1.5, math.inf, bisection.GOOD),
        (math.inf, math.inf, math.inf, bisection.BAD),
    ],
)
def test_a_commit_is_on_the_side_of_half_the_step_where_its_interval_is(low, high, half, side):
    row = CellRow("cell", "time", "s", 1.0, 1.0, Interval(low, low, high), SAME)
    assert bisection._side(row, half) == side


def test_a_bisection_wants_one_end_before_the_other(repository):
    append(repository, "errors.py", "# one\n")
    given = {
        "repository": repository,
        "source": SOURCE,
        "cells": [],
        "metric": "time",
        "budget_s": 1.0,
        "threads": 1,
        "out": repository,
    }
    with pytest.raises(ArgumentError, match="good = 'HEAD': is not before HEAD~1"):
        bisection.run("HEAD", "HEAD~1", **given)
    with pytest.raises(ArgumentError, match="bad = 'HEAD': no commit after HEAD changes the package"):
        bisection.run("HEAD", "HEAD", **given)
