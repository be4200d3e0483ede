"""The pages' lines that measure are run too, in the example's repository, with options that make them short."""

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
    r"normsuite report": ("--from", str(documents.ROOT / "reports" / "reference")),
    r"normsuite study( --with .*| --preset .*)? --dry-run": (),
    r"normsuite explain.*": (),
    r"normsuite doctor": ("--quick",),
}
"""Options by lines, beside those that the line has."""

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


def test_most_kinds_of_lines_are_here():
    commands = {words[1] for words in LINES.values()}
    assert {"bench", "check", "compare", "gate", "numerics", "report", "study"} <= commands


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_measures_ends_well(line, repository, tmp_path_factory):
    words = LINES[line]
    norms = tmp_path_factory.mktemp("norms")
    (text,) = [block for block in documents.blocks(documents.ROOT / "docs" / "study.md", "toml") if "axes" in block]
    (norms / "planenorm.toml").write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (documents.ROOT, repository / "src"))),
        FOLDERS_VARIABLE: os.pathsep.join(map(str, (norms, repository / "src" / "mynorms" / "norms"))),
    }
    command = [sys.executable, "-m", *words, *_short(words)]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=300)
    expected = DECIDES_LITTLE if words[1] == "gate" and "--dry-run" not in words else (0,)
    assert done.returncode in expected, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
