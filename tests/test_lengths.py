"""No file is long, and no function of the package: a file holds one idea, and a function the steps of one."""

import ast

import imports
import pytest

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60


def long_functions(source: str) -> list[str]:
    """Return the functions whose body, docstring and nested functions included, has more lines than it may have.

    The signature does not count: that of a kernel or a command is a list of what is given to it.
    """
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node: node.end_lineno - node.body[0].lineno + 1 for node in functions}
    return [f"line {node.lineno}, {node.name}: {n} lines" for node, n in lengths.items() if n > LINES_OF_A_FUNCTION]


@pytest.mark.parametrize("module", imports.MODULES)
def test_a_file_and_its_functions_are_short(module: str):
    source = imports.MODULES[module].read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LINES_OF_A_FILE, "cut it into files of one idea each"
    assert not long_functions(source), "cut them into their steps"


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tests", "tools"])
def test_other_files_are_short(folder: str):
    files = (imports.PACKAGE.parent / folder).rglob("*.py")
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert lengths and {file for file, lines in lengths.items() if lines > LINES_OF_A_FILE} == set()


def test_a_long_function_is_noticed():
    inner = [f"            {name} = 0" for name in "abcdefghij"]
    source = "\n".join(["class A:", "    async def f(", "        self,", "    ):", "        def g():", *inner])
    assert not long_functions(source)
    longer = source + "\n        h = 0" * 50
    assert long_functions(longer) == ["line 2, f: 61 lines"]
    assert not long_functions(longer.removesuffix("\n        h = 0"))
