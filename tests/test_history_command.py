"""`normsuite history`: what it shows of asv's results and of commits, and its exit code."""

import json
import subprocess

import numpy as np
import pytest
from asv_series import write
from typer.testing import CliRunner

from normsuite.cli import app
from normsuite.errors import ArgumentError
from normsuite.history.commits import Commits
from normsuite.history.steps import IMPROVEMENT

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def repository(tmp_path):
    """Three commits, the last with a subject that would colour a terminal, and their hashes."""
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    commits = []
    for subject in ("First", "Second", "[red]Third[/red] \x1b[31m"):
        git("commit", "--quiet", "--allow-empty", "-m", subject)
        commits.append(git("rev-parse", "HEAD"))
    return folder, commits


def test_git_says_subject_and_distance(repository, tmp_path):
    folder, (first, second, third) = repository
    commits = Commits(folder)
    assert commits.subject(first) == "First" and commits.subject(third) == r"[red]Third[/red] \x1b[31m"
    assert commits.between(second, third) == 1 and commits.between(first, third) == 2
    assert commits.subject("--output=x") is None and commits.subject("f" * 40) is None
    nowhere = Commits(tmp_path / "absent")
    assert nowhere.subject(first) is None and nowhere.between(first, third) is None


def run(*arguments):
    return CliRunner().invoke(app, ["history", *map(str, arguments)])


def test_the_command_shows_regressions_first_and_ends_with_1(tmp_path, repository):
    folder, commits = repository
    write(
        tmp_path / "results",
        {"BatchNorm": [1.0, 1.0, 2.0], "GroupNorm": [2.0, 1.0, 1.0]},
        unit="bytes",
        commits=commits,
    )
    done = run("--from", tmp_path / "results", "--repository", folder)
    assert done.exit_code == 1, done.output
    assert "+100 %" in done.output and "[red]Third[/red]" in done.output and "\x1b[31m" not in done.output
    assert done.output.index("Regressions") < done.output.index("Improvements") < done.output.index("Segments")
    assert "2 series, 1 regression in their newest segments" in done.output
    short = run("--from", tmp_path / "results", "--regressions-only")
    assert short.exit_code == 1 and "Improvements" not in short.output and "Segments" not in short.output


def test_the_command_without_a_regression_ends_with_0_and_writes_json(tmp_path):
    write(tmp_path, {"BatchNorm": [2.0, 2.0, 1.0], "GroupNorm": [1.0, 1.0, 2.0]}, unit="bytes")
    done = run("--from", tmp_path, "--benchmark", "BatchNorm$", "--json", "-")
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert found["regressions"] == 0 and [s["verdict"] for s in found["steps"]] == [IMPROVEMENT]
    assert found["steps"][0]["ratio"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert [s["series"] for s in found["segments"]] == ["latency.Series.track BatchNorm"]
    assert [level["value"] for level in found["segments"][0]["levels"]] == [2.0, 1.0]


def test_nothing_recorded_ends_with_3_and_says_what_to_run(tmp_path):
    done = run("--from", tmp_path)
    assert done.exit_code == 3 and "asv run --record-samples" in done.output


@pytest.mark.parametrize(
    ("pattern", "said"), [("nothing-like-it", "matches no series"), ("(", "no regular expression")]
)
def test_a_pattern_that_cannot_be_used_is_named(tmp_path, pattern, said):
    write(tmp_path, {"BatchNorm": [1.0, 1.0]}, unit="bytes")
    done = run("--from", tmp_path, "--benchmark", pattern)
    assert isinstance(done.exception, ArgumentError) and f"benchmark = {pattern!r}" in str(done.exception)
    assert said in str(done.exception)


def test_a_folder_that_is_no_repository_is_refused(tmp_path):
    write(tmp_path / "results", {"BatchNorm": [1.0, 1.0]}, unit="bytes")
    done = run("--from", tmp_path / "results", "--repository", tmp_path / "typo")
    assert isinstance(done.exception, ArgumentError) and "is no repository of git's" in str(done.exception)


def test_a_pattern_changes_what_is_shown_and_no_verdict(tmp_path):
    """The machine became slower, as all series say: one of them by itself would be a regression."""
    draw = np.random.default_rng(0)
    level = np.repeat([1e-3, 1.2e-3], 15)
    series = {f"Norm{number}": list(level * np.exp(0.005 * draw.normal(size=30))) for number in range(6)}
    write(tmp_path, series)
    for pattern in ((), ("--benchmark", "Norm3$")):
        done = run("--from", tmp_path, *pattern, "--json", "-")
        found = json.loads(done.output)
        assert done.exit_code == 0 and found["regressions"] == 0, done.output
        assert "machine" in {step["verdict"] for step in found["steps"]}
    assert [segment["series"] for segment in found["segments"]] == ["latency.Series.track Norm3"]
