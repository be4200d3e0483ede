"""Digests of sources follow what the code does, and neither its comments nor its docstrings."""

import ast
import re
import shutil
from pathlib import Path

import documents
import pytest
from imports import MODULES, PACKAGE, imports

from normsuite import tunings
from normsuite.gate import selfcheck
from normsuite.records import provenance, source_code

SOURCE = '''"""Module."""

import re  # for patterns

NAMES = (
    "first # not a comment"
    """second

    """
)
"""Attribute."""


def f(x, y={"a": [1]}):
    """Return x."""  # behind it
    # alone
    text = \\
        "part of a statement"
    return x, text, "it's", f"{x}", r"\\"


class Empty:
    "Short."

    z = 1
'''

LEFT = '''import re
NAMES = (
    "first # not a comment"
    """second

    """
)
def f(x, y={"a": [1]}):
    text = \\
        "part of a statement"
    return x, text, "it's", f"{x}", r"\\"
class Empty:
    z = 1'''

HEAD = re.compile(r" *(class |def |\)).*:$")
"""The last line before a block that may have nothing but a docstring."""


def tree(source):
    """Return the syntax tree as text, without docstrings and with `pass` in blocks that have nothing else."""
    found = ast.parse(source)
    for node in ast.walk(found):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not is_text(statement)] or [ast.Pass()]
    return ast.dump(found)


def is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def filled(source):
    """Return the source with `pass` in the blocks that a docstring alone has filled."""
    lines = source.split("\n")
    return "\n".join(
        line + " pass" if HEAD.match(line) and depth(line) >= depth(behind) else line
        for line, behind in zip(lines, [*lines[1:], ""], strict=True)
    )


def depth(line):
    return len(line) - len(line.lstrip())


def test_comments_docstrings_and_blank_lines_are_left_out():
    assert source_code.without_words(SOURCE) == LEFT


@pytest.mark.parametrize("folder", sorted({path.parent for path in (documents.ROOT / "normsuite").rglob("*.py")}))
def test_all_else_of_the_package_stays(folder: Path):
    for path in folder.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert tree(filled(source_code.without_words(source))) == tree(source), path


@pytest.mark.parametrize("old, new", [("return x", "return y"), ("[1]", "[2]"), ("second\n", "second"), ("    z", "z")])
def test_a_changed_statement_is_noticed(old, new):
    assert old in SOURCE and source_code.without_words(SOURCE.replace(old, new)) != LEFT


def digests(package, monkeypatch):
    """Return the digests of the study, of the gate's method and of tuned tables, made of the sources in a folder."""
    for module in (provenance, selfcheck, tunings):
        monkeypatch.setattr(module, "__file__", str(package / Path(module.__file__).relative_to(documents.ROOT)))
    return provenance.source_digest.__wrapped__(), selfcheck.method(), tunings.kernels.__wrapped__()


def test_digests_of_records_follow_the_code_and_not_its_docstrings(tmp_path, monkeypatch):
    before = digests(documents.ROOT, monkeypatch)
    shutil.copytree(documents.ROOT / "normsuite", tmp_path / "normsuite")
    files = [tmp_path / "normsuite" / name for name in ("functional.py", "gate/decide.py", "backends/numba/launch.py")]
    for path in files:
        path.write_text(path.read_text(encoding="utf-8").replace('"""Return ', '"""Give back ') + "# the end\n")
    with monkeypatch.context() as patched:
        assert digests(tmp_path, patched) == before
    for path in files:
        path.write_text(path.read_text(encoding="utf-8") + "NEW = 1\n")
    with monkeypatch.context() as patched:
        assert not set(digests(tmp_path, patched)) & set(before)


def test_of_relative_imports_the_names_count_and_not_the_places(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import os\nfrom .a import (  # one\n    b,\n    c,\n)\nfrom .. import d\n\nx = 1\ny = 'from . import z'\n"
    )
    left = b"b, c, d\nimport os\nx = 1\ny = 'from . import z'"
    assert source_code.decisive(path) == left
    path.write_text("import os\nfrom ..moved import d, c\nfrom . import b\nx = 1\ny = 'from . import z'\n")
    assert source_code.decisive(path) == left
    path.write_text("import os\nfrom .a import other as b, c, d\nx = 1\ny = 'from . import z'\n")
    assert source_code.decisive(path) != left, "another function under the same name"


def test_a_module_that_moves_leaves_the_method_of_the_gate(tmp_path, monkeypatch):
    before = selfcheck.method()
    shutil.copytree(documents.ROOT / "normsuite", tmp_path / "normsuite")
    path = tmp_path / "normsuite" / "gate" / "worker.py"
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace("from ..errors import", "from ..moved import"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != source
    with monkeypatch.context() as patched:
        assert digests(tmp_path, patched)[1] == before


HELPING = {
    *("conventions/raised", "errors", "machine/device", "machine/extras", "vocabulary"),
    *("files/caches", "files/reading", "files/writing"),
}
"""Modules that training imports and numbers do not depend on: files, messages, names."""


def test_a_study_depends_on_all_that_training_imports_and_on_no_caption():
    found, todo = set(), ["normsuite.study.train"]
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += imports(module)
    files = {MODULES[name].relative_to(PACKAGE).as_posix() for name in found}
    files -= {f"{name}.py" for name in HELPING}
    sources = provenance._SOURCES
    assert not {file for file in files if not any(file == of or file.startswith(f"{of}/") for of in sources)}
    for name in sources:
        assert (PACKAGE / name).exists()
        assert not {"charts", "tables.py", "summary.py", "cli"} & {path.name for path in (PACKAGE / name).rglob("*")}


def test_tables_without_slowdowns_do_not_depend_on_how_slowdowns_are_made(tmp_path, monkeypatch):
    before = selfcheck.method(), selfcheck.injection()
    shutil.copytree(documents.ROOT / "normsuite", tmp_path / "normsuite")
    with (tmp_path / "normsuite" / "gate" / "calibrate.py").open("a", encoding="utf-8") as file:
        file.write("NEW = 1\n")
    monkeypatch.setattr(selfcheck, "__file__", str(tmp_path / "normsuite" / "gate" / "selfcheck.py"))
    assert selfcheck.method() == before[0] and selfcheck.injection() != before[1]
