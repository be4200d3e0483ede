"""The pages' lines that measure are run too, in the example's repository, with options that make them short.

Those that are not run are listed with the test that runs something like them, or the reason.
"""

import os
import re
import shutil
import subprocess
import sys

import documents
import pytest

from normsuite.spec import FOLDERS_VARIABLE

pytestmark = pytest.mark.slow

EXAMPLE = documents.ROOT / "examples" / "mynorms"
BENCH = ("--processes", "1", "--seconds", "0.01", "--norm", "RMSNorm")
SHORTENED = {
    r"normsuite bench (--norm|mynorms).*": ("--processes", "1", "--seconds", "0.01", "--backend", "torch"),
    r"normsuite bench": (*BENCH, "--case", "tiny", "--backend", "torch"),
    r"normsuite check .*": ("--only", "output"),
    r"normsuite compare .*": ("--seconds", "0.1", "--processes", "2"),
    r"normsuite gate (main|HEAD~1( HEAD)?)( --dry-run)?": ("--budget", "10s"),
    r"normsuite numerics": ("--norm", "LayerNorm"),
    r"normsuite numerics .*": (),
    r"normsuite report( --open)?": ("--from", str(documents.ROOT / "reports" / "reference")),
    r"normsuite study( --with .*| --preset .*)? --dry-run": (),
    r"normsuite explain.*": (),
    r"normsuite doctor": ("--quick",),
    r"python -m tools\.fuzz .*": ("--calls", "100"),
    r"python -m tools\.thresholds .*": ("--records", str(documents.ROOT / "reports" / "reference" / "self-check")),
}
"""Options by lines, beside those that the line has."""

NOT_RUN = {
    r"normsuite init": "test_scaffold.py",
    r"normsuite tune": "test_tune.py",
    r"normsuite self-check .*": "test_gate.py, fewer and shorter tables",
    r"normsuite gate HEAD~5 .*|normsuite bisect .*": "cells of this package: test_gate_bisection.py",
    r"normsuite study": "trains for minutes: test_cli.py, fewer seeds and digits",
    r"normsuite study --(preset full|norm .*)": "the same, for longer",
    r"normsuite study --dataset fashion-mnist .*": "needs a device and another data set",
    r"normsuite study --scheduler .*": "needs a scheduler: test_sweep.py starts one",
    r"normsuite bench --device cuda .*": "needs a device",
    r"python -m tools\.processor_table .*": "measures for half an hour: test_tuning.py",
    r"python -m tools\.compact .*": "test_compact.py",
    r"python -m tools\.bench_summary .*": "test_bench_summary_tool.py",
    r"normsuite bench --backend .* --processes 4 .*": "measures for ten minutes: test_bench_processes.py",
}
"""Lines that are not run here, by pattern, and why or where."""

DECIDES_LITTLE = (0, 3)
"""In so little time a gate may exclude nothing."""


def _short(words):
    line = " ".join(words)
    return next((options for pattern, options in SHORTENED.items() if re.fullmatch(pattern, line)), None)


LINES = {" ".join(words): words for _, words in documents.calls() if _short(words) is not None}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The example in a repository of two commits."""
    folder = tmp_path_factory.mktemp("example") / "mynorms"
    shutil.copytree(EXAMPLE, folder)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "main"], check=True)
    for text in ("", "# A comment.\n"):
        with (folder / "src" / "mynorms" / "__init__.py").open("a") as file:
            file.write(text)
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "a commit"], check=True)
    return folder


def test_every_line_of_ours_is_run_or_has_a_reason():
    commands = {words[1] for words in LINES.values()}
    assert {"bench", "check", "compare", "gate", "numerics", "report", "study"} <= commands
    ours = {" ".join(words) for _, words in documents.calls() if words[0] == "normsuite" or words[1:2] == ["-m"]}
    known = [*documents.QUICK, *NOT_RUN, "python -m pip .*"]
    assert not [line for line in ours - set(LINES) if not any(re.fullmatch(pattern, line) for pattern in known)]


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_measures_ends_well(line, repository, tmp_path_factory):
    words = LINES[line]
    norms = tmp_path_factory.mktemp("norms")
    (text,) = [block for block in documents.blocks(documents.ROOT / "docs" / "study.md", "toml") if "axes" in block]
    (norms / "planenorm.toml").write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        "BROWSER": "true",  # for what opens one
        "PYTHONPATH": os.pathsep.join(map(str, (documents.ROOT, repository / "src"))),
        FOLDERS_VARIABLE: os.pathsep.join(map(str, (norms, repository / "src" / "mynorms" / "norms"))),
    }
    command = [sys.executable, "-m", *(words[2:] if words[0] == "python" else words), *_short(words)]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300)
    expected = DECIDES_LITTLE if words[1] == "gate" and "--dry-run" not in words else (0,)
    assert done.returncode in expected, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
