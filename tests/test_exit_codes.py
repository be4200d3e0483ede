"""Exit codes: every row of the table in docs/exit-codes.md, each by what it says; never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asv_folder import DAY, NAME, START, Folder, Repository, commit_of
from report_records import write_numerics

DOCS = Path(__file__).parent.parent / "docs" / "exit-codes.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in DOCS.read_text().partition("## Which fault")[2].splitlines()
    if re.search(r"\| `\w+` \| \d+ \|$", line)
]
PROJECT = """
[tool.normsuite]
package = "mine"

[[tool.normsuite.target]]
make = "mine:LayerNorm"
args = [8]
like = "LayerNorm"
shapes = [[2, 8]]
"""
NORMSUITE = [str(Path(sys.executable).with_name("normsuite"))]


def run(folder, *arguments, wrap=None, **more):
    command = [*NORMSUITE, *map(str, arguments)]
    if wrap is not None:
        quoted = " ".join(f"'{part}'" for part in command)
        command = ["bash", "-c", wrap.format(quoted)]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent.parent), **more.pop("env", {})}
    how = {"capture_output": True, "text": True, "errors": "replace", "timeout": 120}
    return subprocess.run(command, cwd=folder, env=environment, **how, **more)


def results(folder, values=(1.0,) * 8, unit="calls"):
    made = Folder(folder / "results").list({NAME: {"unit": unit}})
    for n, value in enumerate(values):
        made.add(commit_of(n), START + DAY * n, {NAME: [value]})
    return made


def history(folder, *more, **how):
    return run(folder, "history", "--from", folder / "results", *more, **how)


def none_readable(folder):
    for path in results(folder).machine.glob("0*.json"):
        path.write_text("{")
    return history(folder)


def unlisted(folder):
    (results(folder).path / "benchmarks.json").unlink()
    return history(folder)


def damaged_list(folder):
    (results(folder).path / "benchmarks.json").write_text('{"version": 2, "a')
    return history(folder)


def one_damaged(folder):
    (results(folder).machine / f"{commit_of(3)[:8]}-venv.json").write_bytes(b"\0" * 99)
    return history(folder)


def stepped(*values):
    def made(folder):
        results(folder, values)
        return history(folder)

    return made


def report_of_damaged_list(folder):
    made = Folder(folder / "reports" / "asv" / "results")
    (made.path / "benchmarks.json").write_text("[]")
    done = run(folder, "report")
    assert "asv's results are left out: benchmarks.json" in done.stdout.replace("\n", " ")
    return done


def report_of_damaged_records(folder):
    write_numerics(folder / "reports")
    (folder / "reports" / "numerics" / "other.json").write_bytes(b"\0" * 99)
    done = run(folder, "report")
    assert "record other.json is damaged (is no JSON (it holds zeros alone))" in done.stdout.replace("\n", " ")
    assert "no numerical errors" not in done.stdout
    return done


def interrupted(number):
    def made(folder):
        results(folder)
        os.mkfifo(folder / "pipe")  # opening it waits until somebody reads
        command = [*NORMSUITE, "history", "--from", str(folder / "results"), "--json", str(folder / "pipe")]
        environment = {**os.environ, "PYTHONPATH": str(DOCS.parent.parent)}
        with subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            wait_until_it_waits(process.pid)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return made


def interrupted_while_it_is_loaded(folder):
    (folder / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(folder), str(DOCS.parent.parent)])
    return run(folder, "explain", env={"PYTHONPATH": path}, preexec_fn=by_default)


def by_default():
    """Undo what a shell does that starts the tests in the background: their processes ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until_it_waits(pid, seconds=60):
    """In open(2) of a named pipe the kernel sleeps in wait_for_partner."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/wchan").read_text().strip() in ("wait_for_partner", "fifo_open"):
                return
        except OSError:
            pass
        time.sleep(0.05)
    time.sleep(3)


def unexpected(folder):
    """An error in what this imports."""
    results(folder)
    code = (
        "import sys; from normsuite.history import adapter\n"
        "adapter.read = None; import normsuite.history; normsuite.history.read = lambda *of: 1 / 0\n"
        f"sys.argv = ['normsuite', 'history', '--from', {str(folder / 'results')!r}, *sys.argv[1:]]\n"
        "from normsuite.__main__ import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent.parent)}

    def of(*more):
        command = [sys.executable, "-c", code, *more]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    debugged = of("--debug")
    assert "Traceback" in debugged.stderr and debugged.returncode == 2
    return of()


def project(folder):
    """Return a repository, not yet committed, of a project with a package that a gate can take."""
    repository = Repository(folder)
    (repository.path / "mine").mkdir()
    (repository.path / "mine" / "__init__.py").write_text("from torch.nn import LayerNorm\n")
    (repository.path / "pyproject.toml").write_text(PROJECT)
    repository.git("add", "--all")
    return repository


def package(folder):
    repository = project(folder / "repo")
    repository.commit("first")
    return repository.path


def gate(*arguments, command="gate"):
    return lambda folder: run(package(folder), command, *arguments)


def saying(words, fault):
    """Return a fault whose message must have these words, so that it is not another fault with the same code."""

    def made(folder):
        done = fault(folder)
        assert words in done.stderr, done.stderr[-1500:]
        return done

    return made


def elsewhere(folder):
    repository = project(folder / "repo")
    (repository.path / "libs").mkdir()
    repository.git("mv", "mine", "libs/mine")
    repository.commit("first")
    return run(repository.path, "gate", "HEAD")


def damaged_list_of_accepted(folder):
    here = package(folder)
    (here / "mine" / "__init__.py").write_text("changed = 1")
    (here / "gate-accepted.toml").write_text("[[accepted]\n")
    return run(here, "gate", "HEAD")


def no_ancestor(folder):
    here = project(folder / "r")
    here.commit("first")
    here.git("checkout", "-q", "--orphan", "other")
    here.commit("second")
    return run(here.path, "bisect", "main", "other")


def settings(content):
    def made(folder):
        (folder / "mine.toml").write_bytes(content)
        return run(folder, "study", "--config", "mine.toml", "--dry-run", "--json", "found.json")

    return made


def settings_of_a_pipe(folder):
    os.mkfifo(folder / "mine.toml")
    return run(folder, "study", "--config", "mine.toml", "--dry-run")


def into_a_folder(folder):
    (folder / "there").mkdir()
    return run(folder, "explain", "--json", "there")


def check(*arguments):
    return lambda folder: run(folder, "check", *arguments, "--only", "output")


def of_a_wrong_table(folder):
    repository = Repository(folder / "repository")
    repository.commit("All there is")
    (repository.path / "pyproject.toml").write_text("[tool.normsuite]\npackge = 'mine'\n")
    return run(repository.path, "gate", "HEAD")


FAULTS = {
    ("no results at all", "history"): history,
    ("results of which none can be read", "history"): none_readable,
    ("results without `benchmarks.json`", "history"): unlisted,
    ("a damaged `benchmarks.json`", "history"): damaged_list,
    ("a damaged file beside whole ones", "history"): one_damaged,
    ("a regression", "history"): stepped(*[1] * 8, *[2] * 8),
    ("an improvement", "history"): stepped(*[2] * 8, *[1] * 8),
    ("a pattern that is no regular expression", "history"): lambda folder: history(folder, "--benchmark", "("),
    ("a damaged `benchmarks.json` beside other records", "report"): report_of_damaged_list,
    ("a folder for the pages that cannot be made", "report"): lambda folder: run(
        folder, "report", "--out", "/proc/none"
    ),
    ("an unknown format", "report"): lambda folder: run(folder, "report", "--format", "pdf"),
    ("damaged records beside whole ones", "report"): report_of_damaged_records,
    ("no records at all", "report"): lambda folder: run(folder, "report"),
    ("a folder of records that is not there", "report"): lambda folder: run(folder, "report", "--from", "nowhere"),
    ("an unknown option", "explain"): lambda folder: run(folder, "explain", "--colour"),
    ("an unknown command", "normsuite"): lambda folder: run(folder, "measure"),
    ("an unknown norm", "explain"): lambda folder: run(folder, "explain", "Norm\x1b[31m"),
    ("an empty path for JSON", "explain"): lambda folder: run(folder, "explain", "--json", ""),
    ("JSON into a folder's name", "explain"): into_a_folder,
    ("a full standard output", "explain"): lambda folder: run(folder, "explain", wrap="{} > /dev/full"),
    ("a closed standard output for JSON", "explain"): lambda folder: run(
        folder, "explain", "--json", "-", wrap="{} >&-"
    ),
    ("a closed standard output for people", "explain"): lambda folder: run(folder, "explain", wrap="{} >&-"),
    ("a reader that has gone", "explain"): lambda folder: run(
        folder, "explain", wrap="({}; echo $? >code) | true; exit $(cat code)"
    ),
    ("a reader of the version that has gone", "normsuite"): lambda folder: run(
        folder, "--version", wrap="({}; echo $? >code) | true; exit $(cat code)"
    ),
    ("SIGTERM", "history"): interrupted(signal.SIGTERM),
    ("Ctrl-C", "history"): interrupted(signal.SIGINT),
    ("Ctrl-C while it is loaded", "explain"): interrupted_while_it_is_loaded,
    ("an unexpected error", "history"): unexpected,
    ("an empty BASE", "gate"): saying("base = ''", gate("", "HEAD")),
    ("an empty HEAD", "gate"): saying("head = ''", gate("HEAD", "")),
    ("a BASE that looks like an option", "gate"): saying("--output=x", gate("--", "--output=x")),
    ("two equal packages", "gate"): gate("HEAD", "--json", "-"),
    ("no repository", "gate"): lambda folder: run(folder, "gate", "HEAD"),
    ("a package in another folder of the repository", "gate"): saying("'mine'", elsewhere),
    ("a budget that is no time", "gate"): saying("budget = 'soon'", gate("HEAD", "--budget", "soon")),
    ("a damaged list of accepted regressions", "gate"): saying("gate-accepted.toml", damaged_list_of_accepted),
    ("an empty GOOD", "bisect"): saying("good = ''", gate("", "HEAD", command="bisect")),
    ("a GOOD that is no ancestor of BAD", "bisect"): saying("is not before", no_ancestor),
    ("a settings file with a byte order mark", "study"): settings(
        b'\xef\xbb\xbfpreset = "quick"\nseeds = 1\nepochs = 1\n'
    ),
    ("settings that are no TOML", "study"): settings(b"seeds = = 1"),
    ("settings that are a named pipe", "study"): settings_of_a_pipe,
    ("a scheduler that does not answer", "study"): lambda folder: run(
        folder, "study", "--preset", "quick", "--scheduler", "tcp://127.0.0.1:1"
    ),
    ("an unknown device", "numerics"): lambda folder: run(folder, "numerics", "--device", "quantum"),
    ("a folder for records that cannot be made", "numerics"): lambda folder: run(
        folder, "numerics", "--out", "/proc/none"
    ),
    ("a target that is no import path", "bench"): lambda folder: run(folder, "bench", "everything"),
    ("a folder for records that cannot be made", "bench"): lambda folder: run(folder, "bench", "--out", "/proc/none"),
    ("an unknown option", "doctor"): lambda folder: run(folder, "doctor", "--slow"),
    ("a target that is right", "check"): check("torch.nn:LayerNorm", "--args", "8", "--like", "LayerNorm"),
    ("a target that fails a check", "check"): check("torch.nn:LayerNorm", "--args", "8", "--like", "RMSNorm"),
    ("an import path that leads nowhere", "check"): check("no_such_module:Norm"),
    ("no target", "check"): check(),
    ("a target that needs an argument", "check"): check("torch.nn:Conv2d", "--like", "BatchNorm"),
    ("two statements", "compare"): lambda folder: run(folder, "compare", "", "1", "2", "--seconds", "0.05"),
    ("a statement that is no Python", "compare"): lambda folder: run(folder, "compare", "", "1 +", "2"),
    ("a statement that fails", "compare"): lambda folder: run(folder, "compare", "", "x", "2", "--seconds", "0.05"),
    ("no package", "init"): lambda folder: run(folder, "init"),
    ("a target of no known norm", "bench"): lambda folder: run(folder, "bench", "torch.nn:Linear"),
    ("a target of no known norm", "numerics"): lambda folder: run(folder, "numerics", "torch.nn:Linear"),
    ("a project whose table has an unknown key", "gate"): of_a_wrong_table,
}


def test_the_table_has_every_fault_and_every_command():
    assert [(row[0], row[1].strip("`")) for row in ROWS] == list(FAULTS)
    assert {row[1].strip("`") for row in ROWS} == {
        "normsuite", "explain", "study", "bench", "numerics", "gate", "bisect", "history", "doctor", "report", "check",
        "compare", "init",
    }  # fmt: skip


@pytest.mark.parametrize(("fault", "command", "code"), ROWS, ids=[f"{row[1].strip('`')} {row[0]}" for row in ROWS])
def test_a_fault_ends_with_its_code(tmp_path, fault, command, code):
    done = FAULTS[fault, command.strip("`")](tmp_path)
    assert done.returncode == int(code), (done.stdout[-500:], done.stderr[-1500:])
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    if int(code) == 2 and "Usage" not in done.stderr:
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("normsuite: "), done.stderr


def test_a_pipe_gets_json(tmp_path):
    results(tmp_path)
    done = history(tmp_path, "--json", "/dev/stdout", wrap="{} | cat")
    assert json.loads(done.stdout[: done.stdout.rindex("}") + 1])["what"] == "history"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_terminal_s_encoding(tmp_path, encoding):
    done = run(tmp_path, "explain", "groupnorm", env={"PYTHONIOENCODING": encoding, "LC_ALL": "C"})
    assert done.returncode == 0 and done.stdout and not done.stderr


@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_a_full_output_is_said_in_one_plain_line(options):
    command = [sys.executable, "-m", "normsuite", "explain", "LayerNorm", *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "normsuite: the output cannot be written (No space left on device)\n"
