"""Parts of a gate that takes times: budget and looks, and error rates by training."""

import random
import sys
from types import SimpleNamespace

import pytest
from gated_package import KILLS_TRAINING, LAZY, append, version

from normsuite.errors import NormsuiteError
from normsuite.gate import compare, error_rate, sides, summary, trees, turns
from normsuite.gate.budget import Budget
from normsuite.gate.cells import cell_from_dict
from normsuite.gate.counts import Counts
from normsuite.gate.decide import WORSE
from normsuite.gate.lock import Lock
from normsuite.gate.looks import Looks
from normsuite.gate.processes import Processes
from normsuite.measure import own_workloads as cells
from normsuite.measure import process
from normsuite.records import provenance

pytestmark = pytest.mark.usefixtures("gate_cache")


@pytest.mark.parametrize("worse", [True, False])
def test_a_version_that_learns_worse_is_found(repository, worse, digits_cache, monkeypatch):
    """Its learning rate is a hundredth; the digits are few, so that the test is short."""
    from normsuite.gate import error_rate

    monkeypatch.setattr(error_rate, "TRAIN_SIZE", 1920)
    if worse:
        append(repository, "study/train.py", LAZY, "lazy")
    else:
        append(repository, "errors.py", "# more\n")
    before, after = (version(repository, name) for name in ("HEAD~1", "HEAD"))
    found = dict(error_rate.measure({"base": before, "head": after}, ["BatchNorm"], 3))["BatchNorm"]
    assert "absent" not in found, found
    if worse:
        assert min(h - b for b, h in zip(found["base"], found["head"], strict=True)) > 0.05
    else:
        assert found["base"] == found["head"] and max(found["base"]) < 0.5


def test_a_version_that_ends_the_processes_that_train_it_fails_at_that_norm(
    repository, tmp_path, digits_cache, monkeypatch
):
    """The other norm of the same processes is trained; each side by its own interpreter."""
    from normsuite.gate import error_rate

    monkeypatch.setattr(error_rate, "TRAIN_SIZE", 480)
    append(repository, "study/train.py", KILLS_TRAINING, "kills")
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\necho "$@" >> {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    before, after = (version(repository, name) for name in ("HEAD~1", "HEAD"))
    done = []
    norms = ["BatchNorm", "LayerNorm"]
    found = dict(
        error_rate.measure(
            {"base": before, "head": after},
            norms,
            2,
            pythons={"base": str(python)},
            on_run=lambda *of: done.append(of),
        )
    )
    reason = f"fails: processes ended while they trained it, in {error_rate.TRIES} rounds (SIGKILL)"
    assert found["BatchNorm"]["absent"] == {"head": reason} and len(found["BatchNorm"]["base"]) == 2
    assert found["LayerNorm"]["base"] == found["LayerNorm"]["head"]
    assert done == [(n, 8) for n in range(1, 7)] and "normsuite.gate.error_rate" in started.read_text()


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("import time; time.sleep(600)", "hangs: ended after 8 s"), ("import os; os._exit(0)", "exit code 0")],
    ids=["hangs", "leaves"],
)
def test_a_version_whose_training_hangs_or_leaves_ends(repository, digits_cache, monkeypatch, ending, reason):
    from normsuite.gate import error_rate

    monkeypatch.setattr(error_rate, "TRAIN_SIZE", 480)
    monkeypatch.setattr(error_rate, "RUN_LIMIT_S", 8.0)
    append(repository, "study/train.py", f"\n\ndef train(run, digits):\n    {ending}\n", "ends")
    head = version(repository)
    found = dict(error_rate.measure({"base": head, "head": head}, ["BatchNorm"], 2))["BatchNorm"]
    said = f"fails: processes ended while they trained it, in {error_rate.TRIES} rounds ({reason})"
    assert found == {"absent": {"base": said, "head": said}}


def test_git_that_fails_while_a_tree_is_exported_is_one_clear_error(repository, monkeypatch):
    append(repository, "errors.py", "# a text that has not been exported yet\n")
    whole = trees.Git.bytes

    def failing(git, *arguments, **more):
        if arguments[0] == "cat-file":
            raise trees.Failed("promised objects are not here")
        return whole(git, *arguments, **more)

    monkeypatch.setattr(trees.Git, "bytes", failing)
    with pytest.raises(NormsuiteError, match="promised objects are not here"):
        version(repository)


def parts(setup, on_progress=lambda stage, spent: None):
    """The parts of a gate that takes times, with nothing counted."""
    budget = Budget(setup.budget_s)
    processes = Processes(setup, budget, Lock(), on_progress)
    counts = Counts(setup, processes, budget)
    return budget, processes, counts, Looks(setup, processes, budget, counts)


def test_what_was_found_when_the_budget_was_spent_is_kept(repository, monkeypatch):
    tree = version(repository)
    setup = compare.Setup(tree, tree, cells.plan(only=["LayerNorm/torch/tiny/*"]), compare.MARGINS, 10.0, 1)

    def take(jobs, draw, *, in_pairs, on_ready, on_cell):
        on_ready()
        for place in range(2):
            jobs[0].found[place] = {"log_ratio": 0.1}
            on_cell()

    monkeypatch.setattr(turns, "take", take)
    shares = [(sides.SIDES, [0, 1])]
    for spent_s, may_stop, kept in ((0.0, True, 2), (9.9999, False, 2), (11.0, False, 2), (11.0, True, 0)):
        budget, processes, _, _ = parts(setup)
        budget.spent_s = spent_s
        (job,) = processes.run(shares, stage="times", blocks=20, may_stop=may_stop)
        assert len(job.found) == kept, "a first look is taken all the same"
    budget, processes, _, _ = parts(setup, lambda stage, spent: setattr(budget, "spent_s", 20.0) if spent else None)
    budget.spent_s = 9.0
    (job,) = processes.run(shares, stage="times", blocks=20, may_stop=True)
    assert len(job.found) < 2 and processes.notes == [], "what came after is not waited for, and nothing died"


def test_what_a_look_decides_is_measured_no_more(repository, monkeypatch):
    """One cell is twice as slow from the first look on, the other on either side of 1 until the budget is spent."""
    tree = version(repository)
    planned = cells.plan(only=["LayerNorm/torch/tiny/*"])
    setup = compare.Setup(tree, tree, planned, compare.MARGINS, 60.0, 1)
    budget, processes, counts, looks = parts(setup)
    for cell in planned:
        counts.absent[cell.name], budget.sample_s[cell.name] = {}, 1e-4
    asked, draw, clock = [], random.Random(0), [0.0]

    def take(jobs, _, *, in_pairs, on_ready, on_cell):
        for job in jobs:
            names = [cell_from_dict(cell).name for cell in job.work["cells"]]
            asked.append(names)
            values = {planned[0].name: 0.7 + 1e-4 * draw.random(), planned[1].name: 0.06 * (draw.random() - 0.5)}
            job.found = {place: {"log_ratio": values[name], "base_s": 1.0} for place, name in enumerate(names)}
        clock[0] += 2.0

    monkeypatch.setattr(turns, "take", take)
    monkeypatch.setattr("normsuite.gate.processes.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    looks.run()
    first = looks.looks[0]
    assert first == 4 and len(looks.looks) >= 4 and looks.final
    assert looks.looks == sorted(looks.looks) and len(asked) == looks.looks[-1] == len(looks.values[planned[1].name])
    assert all(len(of) == 2 for of in asked[:first]) and asked[first:] == [[planned[1].name]] * (len(asked) - first)
    processes._environments = {"head": provenance.environment()}
    record = compare.record(setup, processes, budget, counts, looks, {})
    verdicts = {row.cell: (row.verdict, row.values) for row in summary.rows(record) if row.metric == "time"}
    assert verdicts[planned[0].name] == (WORSE, 4)


@pytest.mark.parametrize("fails", ["head", "base", "once", "beside the other"])
def test_a_cell_that_ends_its_process_while_it_is_timed_fails_alone(repository, monkeypatch, fails):
    tree = version(repository)
    planned = cells.plan(only=["LayerNorm/torch/tiny/*"])
    setup = compare.Setup(tree, tree, planned, compare.MARGINS, 60.0, 1)
    budget, processes, counts, looks = parts(setup)
    ended, healthy = (cell.name for cell in planned)
    for cell in planned:
        counts.absent[cell.name], budget.sample_s[cell.name] = {}, 1e-4
    asked, clock, crashes = [], [0.0], []

    def take(jobs, _, *, in_pairs, on_ready, on_cell):
        for job in jobs:
            names = [cell_from_dict(cell).name for cell in job.work["cells"]]
            asked.append((tuple(job.work["sides"]), names))
            crash = fails in job.work["sides"] if in_pairs else fails != "once" or not crashes
            for place, name in enumerate(names):
                if name == ended and crash:
                    crashes.append(name)
                    job.at, job.died = place, process.Died("SIGSEGV")
                    break
                job.found[place] = {"log_ratio": 0.0, "base_s": 1.0}
        clock[0] += 2.0

    monkeypatch.setattr(turns, "take", take)
    monkeypatch.setattr("normsuite.gate.processes.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    looks.run()
    found = {} if fails in ("once", "beside the other") else {fails: "fails: the process that timed it ended (SIGSEGV)"}
    assert counts.absent == {ended: found, healthy: {}} and len(looks.values[healthy]) >= 4
    alone = [names for of_job, names in asked if len(of_job) == 1]
    assert alone == [[ended]] * 2, "once in a process of each version"
    assert (len(looks.values[ended]) >= 3) is (fails == "once") and any("SIGSEGV" in note for note in processes.notes)
    behind = asked[asked.index((("head",), [ended])) + 1 :]
    assert behind and (fails in ("once", "beside the other") or not any(ended in names for _, names in behind))


def test_processes_that_end_before_they_train_lose_no_finished_rate(monkeypatch):
    """They end in the first round, and in the second once one norm is done: the others' rates are absent, not its."""
    rounds = []

    def trained(shares):
        rounds.append(len(shares))
        for share in shares:
            if share.side == "base":
                runs = list(share.runs)
            else:
                runs, share.died = (
                    ([run for run in share.runs if run[0] == "BatchNorm"] if len(rounds) == 2 else []),
                    "SIGKILL",
                )
            for run in runs:
                yield share, {"run": run, "rate": 0.1, "absent": None}

    monkeypatch.setattr(error_rate, "_trained", trained)
    monkeypatch.setattr(provenance, "usable_cores", lambda: 4)
    folder = SimpleNamespace(folder="")
    found = dict(error_rate.measure({"base": folder, "head": folder}, ["BatchNorm", "LayerNorm"], 2))
    assert len(rounds) == 2, "one round of two processes that end is no two rounds"
    assert found["BatchNorm"] == {"base": [0.1, 0.1], "head": [0.1, 0.1]}
    assert found["LayerNorm"]["absent"] == {
        "head": "fails: processes ended before they trained anything, in 2 rounds (SIGKILL)"
    }


def test_norms_that_are_trained_are_kept_when_the_user_ends_the_run(monkeypatch):
    def trained(shares):
        for share in shares:
            yield share, {"run": share.runs[0], "rate": 0.1, "absent": None}
            yield share, {"run": share.runs[1], "rate": 0.2, "absent": None}
        raise KeyboardInterrupt

    monkeypatch.setattr(error_rate, "_trained", trained)
    monkeypatch.setattr(provenance, "usable_cores", lambda: 2)
    folder, found = SimpleNamespace(folder=""), {}
    with pytest.raises(KeyboardInterrupt):
        found.update(error_rate.measure({"base": folder, "head": folder}, ["BatchNorm", "LayerNorm"], 2))
    assert found == {"BatchNorm": {"base": [0.1, 0.2], "head": [0.1, 0.2]}}


def test_a_norm_is_not_blamed_for_a_process_that_ends_behind_it(monkeypatch):
    """Its processes end between two norms, in two rounds: the first has its rates, and the second is not tried yet."""
    rounds = []

    def trained(shares):
        rounds.append(len(shares))
        for share in shares:
            runs = list(share.runs)
            if share.side == "base" and len(rounds) < 3:
                runs = [run for run in runs if run[0] == "BatchNorm"][:1]
                share.at, share.died = "BatchNorm", "SIGKILL"
            for run in runs:
                yield share, {"run": run, "rate": 0.1, "absent": None}

    monkeypatch.setattr(error_rate, "_trained", trained)
    monkeypatch.setattr(provenance, "usable_cores", lambda: 2)
    folder = SimpleNamespace(folder="")
    found = dict(error_rate.measure({"base": folder, "head": folder}, ["BatchNorm", "LayerNorm"], 2))
    assert found == {norm: {"base": [0.1, 0.1], "head": [0.1, 0.1]} for norm in ("BatchNorm", "LayerNorm")}
