"""One word for one thing: pages, sources and messages use the field's terms, not the ones that they replaced.

The docstring of a function begins with what the function does: with a verb in the imperative.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import documents
import pytest

GUIDE = documents.ROOT / "CONTRIBUTING.md"
_WORDS = re.search(r"^## Words\n.*?(?=^## )", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]
UNUSED = [
    word
    for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", _WORDS, re.MULTILINE)[1:]  # the first one is the head
    for word in row.split(", ")
]
"""Words under "not" in CONTRIBUTING.md's table, where they may stand."""

ALLOWED = ('"planted"', "'planted'", "case: planted", '"settled"', '.pop("contestant")')
"""Names that others use by now: of the fields of records and of JSON."""

PACKAGE, TOOLS = documents.ROOT / "normsuite", documents.ROOT / "tools"
CHECKED = [*documents.PAGES, documents.ROOT / "mkdocs.yml", documents.ROOT / "Makefile"]
CHECKED += [
    file
    for folder in ("normsuite", "tools", "benchmarks", "tests")
    for file in sorted((documents.ROOT / folder).rglob("*.py"))
    if file != Path(__file__)
]


def found(text):
    """Return the words of a text that have another one in their place."""
    for name in (_WORDS, *ALLOWED):
        text = text.replace(name, "")
    pattern = "|".join(map(re.escape, UNUSED))
    return [match[0] for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: path.relative_to(documents.ROOT).as_posix())
def test_words_are_those_of_the_field(path: Path):
    assert not found(path.read_text(encoding="utf-8"))


def test_words_are_noticed():
    assert len(UNUSED) > 15 and "written past the caches" in UNUSED
    assert found("a planted slowdown, whose Witness hinders") == ["planted", "Witness", "hinders"]
    assert not found('`"planted"`, planets and planes')


FIRST_WORDS = """
    Add Apply Begin Call Capture Check Commit Compare Compile Compute Copy Count Differentiate Disable Divide Draw
    End Estimate Fill Finalize Find Fork Free Handle Hold Ignore Import Increment Judge Kill Load Make Mark
    Measure Merge Normalise Parametrize Prefetch Prepare Print Queue Raise Read Record Redirect Refuse Remove
    Restart Restore Return Run Send Set Show Start Stop Store Stretch Suppress Time Train Try Undo Update Wait
    Write Yield
"""
"""Verbs that docstrings of functions begin with."""

IS_DESCRIBED = ("check", "overload", "property", "cached_property")
"""Decorators of functions whose docstring says something else: the claim that a check tests, or what a value is."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return all functions with a docstring, also those within others, that do something when they are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            names = [re.split(r"[(.]", ast.unparse(decorator)) for decorator in node.decorator_list]
            if not any(set(name) & {*IS_DESCRIBED, "setter"} for name in names):
                yield node


def without_verb(source: str) -> list[str]:
    """Return the functions whose docstring begins with no verb."""
    found = [(node, ast.get_docstring(node)) for node in functions(ast.parse(source))]
    return [
        f"line {node.lineno}, {node.name}: {text.splitlines()[0]}"
        for node, text in found
        if re.match(r"\w*", text)[0] not in FIRST_WORDS.split()
    ]


@pytest.mark.parametrize("folder", sorted({path.parent for path in PACKAGE.rglob("*.py")}))
def test_docstrings_of_functions_begin_with_a_verb(folder: Path):
    found = [f"{path.name}, {line}" for path in folder.glob("*.py") for line in without_verb(path.read_text("utf-8"))]
    assert not found, f"begin with a verb, in the imperative, or add the verb to FIRST_WORDS: {found}"


NO_BEGINNING = re.compile(r"(As|By|For|From|In|None|Of|On|That|Those|To|Whose|With)\b")
"""First words of a description that names nothing: "Of files" instead of "Suffixes of files"."""


def without_noun(source: str) -> list[str]:
    """Return the beginnings of strings that describe a class or a name, and do not say what it is."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for inner in getattr(node, "body", []) if isinstance(node, (ast.Module, ast.ClassDef)) else ():
            text = inner.value.value if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) else None
            if isinstance(text, str):
                found.append((inner.lineno, text))
    return [f"line {line}: {text.splitlines()[0]}" for line, text in found if NO_BEGINNING.match(text)]


@pytest.mark.parametrize("folder", sorted({path.parent for path in [*PACKAGE.rglob("*.py"), *TOOLS.glob("*.py")]}))
def test_descriptions_of_classes_and_names_say_what_they_are(folder: Path):
    found = [f"{path.name}, {line}" for path in folder.glob("*.py") for line in without_noun(path.read_text("utf-8"))]
    assert not found, f"begin with the thing's name: {found}"


def test_a_description_that_names_nothing_is_noticed():
    source = '''
LIMIT = 3
"""Of one check."""

class A:
    """None of their own."""

    b: int
    """Number of checks."""
'''
    assert without_noun(source) == ["line 3: Of one check.", "line 6: None of their own."]


def test_a_docstring_without_a_verb_is_noticed():
    source = '''
class A:
    """What it is."""

    def f(self):
        """The sum."""

    @functools.cached_property
    def g(self):
        """The sum."""

    def h(self):
        def inner():
            """To whoever is free."""


@check(optional=True)
def k():
    """Values are right."""


async def m():
    """Return the sum."""
'''
    assert without_verb(source) == ["line 5, f: The sum.", "line 13, inner: To whoever is free."]


def test_subjects_of_the_latest_commits_fit_one_line():
    log = ["git", "-C", str(documents.ROOT), "log", "-100", "--no-merges", "--format=%s"]
    done = subprocess.run(log, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not in a checkout")
    # GitHub tries a pull request as a merge, which in a clone of one commit has no parents.
    subjects = [each for each in done.stdout.splitlines() if not re.match("Merge [0-9a-f]{40} into ", each)]
    assert [subject for subject in subjects if len(subject) > 72] == []
