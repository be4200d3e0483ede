"""What is typed: checked before torch is imported, the same options everywhere, and the switches for all commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from normsuite import cli
from normsuite.cli import options
from normsuite.errors import UnknownNameError

ROOT = Path(__file__).parent.parent
COMMANDS = typer.main.get_command(cli.app).commands


def run(*arguments, cwd=None, **environment):
    command = [sys.executable, "-m", "normsuite", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


WRONG = [
    (["explain", "groupnrm"], "did you mean GroupNorm?"),
    (["explain", "--colour"], "; see normsuite explain --help"),
    (["explian"], "Did you mean 'explain'?"),
    (["study", "--preset", "fulll"], "did you mean full?"),
    (["study", "--norm", "LayrNorm"], "did you mean LayerNorm?"),
    (["study", "--seeds", "0"], "seeds = 0: must be at least 1"),
    (["study", "--seeds", "many"], "--seeds"),
    (["numerics", "--norm", "BatchNom"], "did you mean BatchNorm?"),
    (["bench", "--mode", "foward"], "did you mean forward?"),
    (["bench", "--dtype", "float23"], "did you mean float32?"),
    (["bench", "--activation", "rleu"], "did you mean relu?"),
    (["bench", "--case", "tinny"], "did you mean tiny?"),
    (["bench", "--device", "cdua"], "did you mean cuda?"),
    (["bench", "--backend", "numbra"], "did you mean numba?"),
    (["bench", "--backend", "auto BatchNrm2d"], "did you mean auto BatchNorm2d?"),
    (["bench", "everything"], "target = 'everything': must be an import path"),
    (["bench", "--shape", "x"], "shape = 'x': must be positive sizes"),
    (["bench", "--channels-last"], "describe a --shape"),
    (["bench", "--args", "4"], "args = '4': describes a TARGET, and none was given"),
    (["bench", "m:N", "--like", "GroupNrm"], "like = 'GroupNrm': unknown; did you mean GroupNorm?"),
    (["check", "--dtype", "float23"], "did you mean float32?"),
    (["check", "--like", "LayrNorm"], "did you mean LayerNorm?"),
    (["check", "--activation", "rleu"], "did you mean relu?"),
    (["numerics", "--dtype", "float23"], "did you mean float32?"),
    (["numerics", "--activation", "rleu"], "did you mean relu?"),
    (["numerics", "--like", "BatchNrm"], "did you mean BatchNorm?"),
    (["study", "--backend", "numbra"], "did you mean numba?"),
    (["study", "--dataset", "minst"], "did you mean mnist?"),
    (["study", "--affine", "chanel"], "did you mean channel?"),
    (["bench", "--threads", "0"], "threads = 0: must be at least 1"),
    (["gate"], "which commit is to be compared with?"),
    (["gate", "main", "--backend", "numbra"], "did you mean numba?"),
    (["gate", "main", "--backend", "auto GroupNrm"], "did you mean auto GroupNorm?"),
    (["gate", "main", "--case", "stage-41"], "did you mean stage-14?"),
    (["gate", "main", "--device", "cud"], "did you mean cuda?"),
    (["compare", "1", "2", "--margin", "much"], "margin = 'much': must be a number or a percentage, such as 2%"),
    (["bench", "--budget", "soon"], "budget = 'soon': must be a positive time, such as 90s or 2m"),
    (["compare", "1", "2", "--device", "nonsense"], "device = 'nonsense': unknown"),
    (["study", "--device", "nonsense"], "device = 'nonsense': unknown"),
    (["numerics", "--device", "nonsense"], "device = 'nonsense': unknown"),
    (["gate", "main", "--budget", "soon"], "must be a positive time, such as 90s or 2m"),
    (["gate", "main", "--margin", "speed=1%"], "margin = 'speed=1%': unknown metric; known are time"),
    (["gate", "main", "--margin", "worse=5%"], "margin = 'worse=5%': unknown metric; known are time"),
    (["gate", "main", "--limit", "much"], "limit = 'much': must be a number"),
    (["bisect", "a", "b", "--metric", "tme"], "did you mean time?"),
    (["bisect", "a", "b", "--metric", "output error"], "did you mean output error at mean 0?"),
    (["bisect", "a", "b", "--metric", "output error at mean 7"], "did you mean output error at mean 0?"),
    (["report", "--series", "("], "series = '(': is no regular expression"),
    (["report", "--repository", "nowhere"], "repository = 'nowhere': is no repository of git's"),
    (["check", "--explain", "--markdown", "x.md"], "markdown = 'x.md': is for results"),
    (["bisect", "a", "b", "--budget", "soon"], "must be a positive time, such as 90s or 2m"),
    (["self-check", "--budget", "soon"], "must be a positive time, such as 90s or 2m"),
    (["self-check", "--tables", "-1"], "tables = -1: must be at least 0"),
    (["check", "m:N", "--args", "("], "must be Python's literals"),
    (["check", "m:N", "--shape", "0"], "shape = '0': must be positive sizes"),
    (["check", "m:N", "--timeout", "0"], "timeout = 0.0: must be positive"),
    (["check", "nosuch"], "target = 'nosuch': unknown"),
    (["numerics", "--shape", "4,4"], "shape = '4,4': describes a TARGET, and none was given"),
    (["study", "--learning-rate", "-1"], "learning_rate = -1.0: must be positive"),
    (["study", "--config", "none.toml"], "config = 'none.toml': cannot be read"),
    (["study", "--args", "4"], "args = '4': is of a target"),
    (["self-check", "--norm", "Norm"], "norm = 'Norm': unknown"),
    (["bisect"], "Missing argument"),
    (["history", "--benchmark", "("], "is no regular expression"),
    (["gate", "nosuch"], "base = 'nosuch': "),
    (["gate", "HEAD", "nosuch"], "head = 'nosuch': "),
    (["gate", "HEAD", "--seeds", "1"], "seeds = 1: must be at least 2"),
    (["gate", "HEAD", "--seeds", "4"], "seeds = 4: is for --error-rate"),
    (["init", "nosuch", "--json", "x" * 300], "File name too long"),
    (["gate", "HEAD", "--budget", "0s"], "budget = '0s': must be a positive time"),
    (["gate", "HEAD", "--margin", "bytes=0"], "margin = 'bytes=0': must be positive"),
    (["gate", "HEAD", "--json", ""], "path = '': is empty; - is the standard output"),
    (["gate", "HEAD", "--markdown", "/dev"], "cannot write '/dev' (Is a directory)"),
    (["bench", "--json", "/dev/null/x"], "cannot write '/dev/null/x' (Not a directory)"),
    (["bench", "--out", "/dev/null"], "out = '/dev/null': cannot write there (Not a directory)"),
    (["bench", "--seconds", "0"], "seconds = 0.0: must be positive"),
    (["bench", "--shape", "2,4", "--groups", "0"], "groups = 0: must be at least 1"),
    (["bisect", "nosuch"], "good = 'nosuch': "),
    (["self-check", "nosuch"], "base = 'nosuch': "),
    (["bisect", "HEAD", "--case", "tinny"], "did you mean tiny?"),
    (["compare", "1", "2", "3", "--host-time"], "host_time = True: needs an accelerator"),
    (["check", "--only", "outputs"], "check = 'outputs': unknown; did you mean output?"),
    (["check", "--only", "output[int8]"], "check = 'output[int8]': unknown"),
    (["study", "--with", "nosuch"], "target = 'nosuch': unknown"),
    (["study", "--config", "README.md"], "config = 'README.md': is no TOML ("),
    (["init", "--folder", "/nosuch"], "folder = '/nosuch': is no folder"),
    (["gate", "HEAD", "--worse-above", "-1"], "worse_above = '-1': must be positive"),
    (["init", "nosuch", "--json", ""], "path = '': is empty; - is the standard output"),
    (["numerics", "LayerNorm"], "target = 'LayerNorm': must be an import path"),
    (["report", "--format", "xml"], "format = 'xml': unknown; known are html, markdown"),
]


_first = list({arguments[0]: (arguments, says) for arguments, says in reversed(WRONG)}.values())
WRONG = [*_first, *(row for row in WRONG if row not in _first)]
"""One of each command comes first: the quick tier takes those."""


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_wrong_argument_is_answered_without_torch(arguments, says, monkeypatch, capsys):
    """In this process, where an import of torch would be an error."""
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] not in ('torch', 'numba'), name\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        f"sys.argv = ['normsuite', *{arguments!r}]\n"
        "from normsuite.__main__ import main\nmain()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("normsuite: ")
    assert "Value error" not in done.stderr, "typer's words around ours"


def test_names_that_can_be_typed_are_those_that_are_found():
    """Read without torch, from files and tables."""
    from normsuite import backends, vocabulary
    from normsuite.cli.check import check_names
    from normsuite.conformance import checks
    from normsuite.measure import implementations, labels
    from normsuite.study import digits

    assert set(check_names()) == {found.name.partition("[")[0] for found in checks.every()}
    assert labels.backends() == backends.NAMES
    assert set(vocabulary.DATASETS) == set(digits._SOURCES)
    assert set(labels.implementations()) == {each.name for each in implementations.everyone()}
    assert all(implementations.find(f"auto {name}") for name in labels.MODULES)


def test_a_device_that_a_package_may_bring_is_left_to_torch(monkeypatch):
    with pytest.raises(UnknownNameError):
        options.checked_device("npu:1")
    monkeypatch.setattr(options, "entry_points", lambda group: [group])
    assert options.checked_device("npu:1") == "npu:1"


def test_options_of_one_name_are_the_same_everywhere():
    shared = {"--norm", "--out", "--json", "--device", "--threads", "--mode", "--case", "--only", "--processes"}
    for name in shared:
        having = [p for command in COMMANDS.values() for p in command.params if name in p.opts]
        assert having, name
        assert len({(p.multiple, p.is_flag) for p in having}) == 1, name


@pytest.mark.parametrize(
    ("name", "arguments", "typed", "expected"),
    [
        ("compare", ["x = 1", "x", "x + 1"], ["--margin", "2%"], 0.02),
        ("compare", ["x = 1", "x", "x + 1"], ["--margin", "0.02"], 0.02),
        ("compare", ["x = 1", "x", "x + 1"], [], 0.01),
        ("bench", [], ["--budget", "2m"], 120.0),
        ("bench", [], ["--budget", "90"], 90.0),
        ("gate", ["main"], ["--budget", "1.5 min"], 90.0),
        ("gate", ["main"], [], None),
        ("bisect", ["main"], [], 60.0),
        ("self-check", [], ["--budget", "1h"], 3600.0),
    ],
)
def test_times_and_shares_are_typed_alike_everywhere(name, arguments, typed, expected):
    found = COMMANDS[name].make_context(name, [*arguments, *typed]).params
    assert found["margin" if name == "compare" else "budget"] == expected


def test_one_norm_can_be_named_in_either_way(tmp_path):
    by_place, by_option = (run("explain", *given, cwd=tmp_path) for given in (["rmsnorm"], ["--norm", "rmsnorm"]))
    assert by_place.returncode == 0 and by_place.stdout == by_option.stdout


def test_every_command_that_records_can_write_json_and_says_where():
    for name, command in COMMANDS.items():
        given = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in given, name
        assert name in ("explain", "history", "doctor", "init", "check", "compare", "tune") or "--out" in given


@pytest.mark.parametrize("where", [0, 1])
def test_quiet_leaves_out_notes_and_not_results(where, tmp_path):
    results = tmp_path / "results" / "machine"
    results.mkdir(parents=True)
    arguments = ["explain", "batchnorm"]
    arguments.insert(where, "--quiet")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and "BatchNorm" in done.stdout and not done.stderr


def test_notes_on_what_was_read_are_left_out_where_one_is_quiet(capsys, monkeypatch):
    from normsuite.cli import output

    for quiet in (False, True):
        monkeypatch.setattr(output, "_quiet", quiet)
        output.notes(["a record is left out"])
        assert ("note: a record is left out" in capsys.readouterr().out) is not quiet


def test_a_study_shows_runs_and_progress_unless_it_is_quiet(capsys, monkeypatch):
    from normsuite.cli import output

    for quiet in (False, True):
        monkeypatch.setattr(output, "_quiet", quiet)
        with output.progress_bar("batches") as progress:
            progress.console.print("a run")
        assert ("a run" in capsys.readouterr().err) is not quiet


def test_notes_are_left_out_where_one_is_quiet(capsys, monkeypatch):
    from normsuite.cli import output

    output.note("noisy")
    assert capsys.readouterr().err == "normsuite: noisy\n"
    monkeypatch.setattr(output, "_quiet", True)
    output.note("noisy")
    assert capsys.readouterr().err == ""
    assert output.progress_bar("tasks").disable


@pytest.mark.parametrize("columns", ["60", "200"])
def test_tables_are_as_wide_as_columns_says(columns, tmp_path):
    done = run("explain", "layernorm", cwd=tmp_path, COLUMNS=columns)
    table = [line for line in done.stdout.splitlines() if line.startswith(("┏", "│", "└"))]
    assert table and max(map(len, table)) <= int(columns)


def test_names_are_completed():
    assert options.names(["BatchNorm", "LayerNorm"])("b") == ["BatchNorm"]
    words = {"_NORMSUITE_COMPLETE": "complete_bash", "COMP_WORDS": "normsuite explain Ba", "COMP_CWORD": "2"}
    command = Path(sys.executable).with_name("normsuite")
    done = subprocess.run([command], env={**os.environ, **words}, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["BatchNorm"]


def test_what_a_json_reader_needs_is_there(tmp_path):
    done = run("explain", "rmsnorm", "--json", "-", "-q", cwd=tmp_path)
    assert {row["norm"] for row in json.loads(done.stdout)} == {"RMSNorm"}
