"""The workflows in .github name commands and options that exist."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from asv.commands import make_argparser

from normsuite.cli import app

WORKFLOWS = Path(__file__).parent.parent / ".github" / "workflows"
NAMES = ["gate.yml", "history.yml", "pages.yml", "release.yml", "tests.yml"]
COMMANDS = typer.main.get_command(app).commands


def load(name):
    return yaml.safe_load((WORKFLOWS / name).read_text())


def steps(name):
    return [step for job in load(name)["jobs"].values() for step in job["steps"]]


def calls(program):
    """(workflow, arguments) of every call of that program."""
    return [
        (name, arguments)
        for name in NAMES
        for step in steps(name)
        for line in step.get("run", "").splitlines()
        if (arguments := shlex.split(line))[:1] == [program]
    ]


def unknown(arguments):
    """Return what does not exist of `normsuite ARGUMENTS`."""
    command, *rest = arguments
    if command not in COMMANDS:
        return [command]
    options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
    return [argument for argument in rest if argument.startswith("-") and argument not in options]


def test_every_workflow_is_looked_at():
    assert sorted(path.name for path in WORKFLOWS.iterdir()) == NAMES


@pytest.mark.parametrize("path", [*(WORKFLOWS / name for name in NAMES), WORKFLOWS.parent.parent / "action.yml"])
def test_actions_are_pinned_by_commit(path):
    """A tag can be moved to other code."""
    used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert used and all(re.search(r"@[0-9a-f]{40}$", action) for action in used)


def test_what_does_not_exist_is_seen():
    assert unknown(["explode"]) == ["explode"] and unknown(["history", "--no-such-option"]) == ["--no-such-option"]


@pytest.mark.parametrize(("name", "arguments"), calls("normsuite"))
def test_commands_and_options_exist(name, arguments):
    assert unknown(arguments[1:]) == [], name


@pytest.mark.parametrize(("name", "arguments"), calls("asv"))
def test_calls_of_asv_are_such_that_it_takes(name, arguments):
    parser, _ = make_argparser()
    assert callable(parser.parse_args(arguments[1:]).func), name


def test_the_gate_writes_what_is_shown_and_uploaded():
    (gate,) = (arguments for _, arguments in calls("normsuite") if arguments[1] == "gate")
    written = {gate[gate.index(option) + 1] for option in ("--json", "--markdown")}
    (upload,) = (step["with"]["path"] for step in steps("gate.yml") if "upload-artifact" in step.get("uses", ""))
    (summary,) = (step["run"] for step in steps("gate.yml") if "GITHUB_STEP_SUMMARY" in step.get("run", ""))
    assert upload in written and any(f"cat {path} " in summary for path in written)


def test_the_gate_may_only_read():
    assert load("gate.yml")["permissions"] == {"contents": "read"}
    (checkout,) = (step for step in steps("gate.yml") if "checkout" in step.get("uses", ""))
    assert checkout["with"]["fetch-depth"] == 0 and checkout["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_others_choose_becomes_part_of_a_script(name):
    """A branch may be called anything: it reaches a script as a variable of the environment."""
    assert not [step["run"] for step in steps(name) if re.search(r"\$\{\{", step.get("run", ""))]


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_named_and_jobs_end(name):
    found = load(name)
    assert "permissions" in found
    assert all(0 < job["timeout-minutes"] <= 90 for job in found["jobs"].values())


@pytest.mark.parametrize(("name", "arguments"), calls("make"))
def test_targets_exist(name, arguments):
    targets = re.findall(r"^([\w-]+):", (WORKFLOWS.parent.parent / "Makefile").read_text(), re.MULTILINE)
    assert {argument for argument in arguments[1:] if "=" not in argument} <= set(targets), name


def test_jobs_that_test_need_no_cuda():
    """Torch with CUDA is ten times as large: several of it do not fit onto a hosted runner."""
    for name in NAMES:
        found = load(name)
        for job in found["jobs"].values():
            if any(re.search("make |install '", step.get("run", "")) for step in job["steps"]):
                environment = found.get("env", {}) | job.get("env", {})
                assert environment.get("PIP_EXTRA_INDEX_URL", "").endswith("/cpu"), name


def test_nothing_is_published_that_was_not_tested():
    jobs = load("release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build" and jobs["build"]["needs"] == "tests"


def test_extras_that_are_installed_exist():
    project = tomllib.loads((WORKFLOWS.parent.parent / "pyproject.toml").read_text())["project"]
    scripts = [step.get("run", "") for name in NAMES for step in steps(name)]
    extras = {
        extra for script in scripts for found in re.findall(r"\.\[([\w,]+)\]", script) for extra in found.split(",")
    }
    assert {"gate", "suite", "test"} <= extras <= set(project["optional-dependencies"])


def test_a_release_is_published_without_a_secret_and_attested():
    release = load("release.yml")
    assert "secrets" not in (WORKFLOWS / "release.yml").read_text()
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    used = [step.get("uses", "").partition("@")[0] for step in steps("release.yml")]
    assert {"actions/attest-build-provenance", "pypa/gh-action-pypi-publish"} <= set(used)
