"""The table of tiers names tests that exist, and no test imports another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import tiers

TESTS = Path(__file__).parent
FILES = sorted(TESTS.glob("*.py"))


def functions(path):
    """Return the names of a file's tests."""
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "name")}


@pytest.mark.parametrize("entry", sorted(tiers.TIMED))
def test_what_is_timed_is_a_slow_test(entry):
    """So that `make test` need not wait for a quiet machine."""
    name, _, test = entry.partition("::")
    assert test in functions(TESTS / name) and tiers.QUICK[entry] == 0


def test_a_tier_has_the_same_tests_in_any_order():
    """Else a test could be in neither, since each run has an order of its own."""
    found = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not slow", f"--randomly-seed={seed}"]
        command.append(str(TESTS / "test_exit_codes.py"))
        done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, timeout=240)
        found.append([line for line in done.stdout.splitlines() if "::" in line])
    assert len(found[0]) > 10 and found[0] != found[1] and sorted(found[0]) == sorted(found[1])


@pytest.mark.parametrize("entry", tiers.QUICK)
def test_an_entry_names_a_file_or_a_test_in_it(entry):
    name, _, test = entry.partition("::")
    assert (TESTS / name).is_file()
    assert not test or test in functions(TESTS / name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_test_imports_another(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not [name for name in imported if name.rpartition(".")[2].startswith("test_")]


def test_what_an_entry_leaves_is_quick_and_the_rest_slow():
    class Item:
        def __init__(self, name):
            self.path, self.name, self.marks = Path(name.partition("::")[0]), name.partition("::")[2], []

        def add_marker(self, mark):
            self.marks.append(mark.name)

    key, left = next((key, n) for key, n in tiers.QUICK.items() if "::" in key and n > 1)
    items = [Item(key) for _ in range(left + 2)] + [Item("test_tiers.py::test_other")]
    tiers.mark(items)
    assert [item.marks for item in items] == [[]] * left + [["slow"]] * 2 + [[]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_named_strategies_lie_in_one_place(path):
    assigned = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    named = [node for node in assigned if ast.unparse(node.value).startswith("st.")]
    assert bool(named) is (path.stem == "strategies"), [ast.unparse(node) for node in named]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_test_is_named_after_a_set(path):
    """Its text has another order in each process, so that two of them would not find the same tests."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parametrize"):
            ids = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("ids")
            sets = [ast.unparse(part) for part in ast.walk(node) if isinstance(part, ast.Set | ast.SetComp)]
            assert ids not in ("str", "repr") or not sets, sets
