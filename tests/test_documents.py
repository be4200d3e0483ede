"""Every line of shell, Python, TOML and YAML in README.md and docs/ works, and every link leads somewhere.

Of shell, what answers within seconds is run; the rest is parsed by the program that it calls (why: `PARSED`).
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib

import documents
import pytest
import typer
import yaml
from asv.commands import make_argparser

from normsuite.cli import app
from normsuite.spec import FOLDERS_VARIABLE, NORMS, load

COMMANDS = typer.main.get_command(app)
PYPROJECT = tomllib.loads((documents.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BLOB = PYPROJECT["project"]["urls"]["Repository"]
SITE = PYPROJECT["project"]["urls"]["Documentation"]

PARSED = {
    r"normsuite (study|bench|bench-\w+|numerics|doctor|self-check|gate|bisect|check|compare|init|report|tune)\b.*": (
        "measures for minutes, needs commits, other packages or a device, writes files or opens a browser; "
        "test_document_commands.py runs most of them in the example's repository, shortened"
    ),
    r"asv .*": "measures commits",
    r"(python -m )?pytest .*": "would run these tests again",
    r"make .*": "installs an environment",
    r"(python -m )?pip install .*": "asks the network",
    r"(\.|source) \S*activate|(git|mkdir|cd|tar|dask|export) .*|\w+=\S+( \w+=\S+)*": "other programs than ours",
    r"python -m (tools|normsuite)\.[\w.]+( .*)?": "takes minutes; that it exists is looked up",
    r"python \S+\.py.*": "a file of the reader's",
}
"""Parsed by what they call, with the reason why they are not run."""


PATHS = (documents.ROOT, documents.ROOT / "examples" / "mynorms" / "src")
"""Where pages import from: this package and the example's."""


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.stem)
def test_python_blocks_run(page, tmp_path):
    if page.stem == "recipes":
        pytest.skip("its blocks are files and entries of this package, which test_recipes.py adds to a copy of it")
    code = "\n".join(documents.blocks(page, "python"))
    if not code:
        pytest.skip("the page has no Python")
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "reference").symlink_to(documents.ROOT / "reports" / "reference")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.stem)
def test_toml_and_yaml_blocks_are_such(page):
    for block in documents.blocks(page, "toml"):
        assert tomllib.loads(block)
    for block in documents.blocks(page, "yaml"):
        assert yaml.safe_load(block)


def _kind(words):
    line = " ".join(words)
    if any(re.fullmatch(pattern, line) for pattern in documents.QUICK):
        return "run"
    return next((reason for pattern, reason in PARSED.items() if re.fullmatch(pattern, line)), None)


CALLS = {" ".join(words): words for _, words in documents.calls()}
RUNNING = [words for words in CALLS.values() if _kind(words) == "run"]


@pytest.fixture
def new_norm(tmp_path_factory):
    """The folder with the norm that a page describes, as the page says."""
    (text,) = [block for block in documents.blocks(documents.ROOT / "docs" / "study.md", "toml") if "axes" in block]
    folder = tmp_path_factory.mktemp("mynorms.d")
    (folder / "planenorm.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("words", RUNNING, ids=" ".join)
def test_what_is_quick_runs(words, tmp_path, new_norm):
    program = {"normsuite": [sys.executable, "-m", "normsuite"], "python": [sys.executable]}[words[0]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    if "PlaneNorm" in words:
        environment[FOLDERS_VARIABLE] = str(new_norm)
    done = subprocess.run(
        [*program, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode in (0, 3), done.stderr  # 3: nothing has been recorded in an empty folder
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", CALLS.values(), ids=CALLS)
def test_every_line_is_run_or_parsed(words, new_norm, monkeypatch):
    monkeypatch.setitem(NORMS, "PlaneNorm", load(new_norm / "planenorm.toml"))
    assert _kind(words) is not None, "say in PARSED why this is not run, or let it run"
    if words[0] == "normsuite":
        _parse(words[1:])
    elif words[0] == "asv":
        assert callable(make_argparser()[0].parse_args(words[1:]).func)
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (documents.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[:2] == ["python", "-m"] and words[2] not in ("pip", "pytest"):
        assert importlib.util.find_spec(words[2]) is not None
    elif "pip" in words:
        extras = {name for word in words for found in re.findall(r"\[([\w,]+)\]", word) for name in found.split(",")}
        assert extras <= set(PYPROJECT["project"]["optional-dependencies"])


def _parse(arguments):
    """Let the command line take them, without running anything."""
    context = COMMANDS.make_context("normsuite", list(arguments), resilient_parsing=False)
    name, command, rest = COMMANDS.resolve_command(context, list(arguments))
    command.make_context(name, rest)


@pytest.mark.parametrize("page", documents.PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    for target in documents.links(page):
        where, _, anchor = target.partition("#")
        if where.startswith(("http://", "https://")):
            found = _in_this_repository(where)
        else:
            found = page.parent / where if where else page
        assert found is None or found.exists(), target
        if found is not None and anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def _in_this_repository(address):
    """Return the file behind an address of the repository or of the site that is published from it, else None."""
    if inside := re.fullmatch(rf"(?:{BLOB}/(?:blob|tree)/main|https://raw\S+?/main)/(\S+)", address):
        return documents.ROOT / inside[1]
    if address == f"{SITE}report/":
        return documents.ROOT / "reports" / "reference" / "html" / "index.html"
    if inside := re.fullmatch(rf"{SITE}(?:([\w-]+)/)?", address):
        return documents.ROOT / "docs" / f"{inside[1] or 'index'}.md"
    return None


def test_the_readme_is_short_and_reads_anywhere():
    readme = documents.ROOT / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 150
    assert all(target.startswith("https://") for target in documents.links(readme)), "PyPI shows no relative links"


def test_what_is_no_command_is_noticed():
    with pytest.raises(Exception, match="no-such-option"):
        _parse(["history", "--no-such-option"])
    assert _kind(["rm", "-rf"]) is None
