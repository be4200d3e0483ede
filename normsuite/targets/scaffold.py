"""Files that `normsuite init` writes into a project. Imports no torch, and nothing of the project."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ArgumentError, OutputError
from ..files.reading import Unreadable, read_text, read_toml
from ..files.writing import write_text
from ..spec import NO_NORM, NORMS
from .configuration import FILE, is_package
from .inspection import is_of_maps, norm_in

WORKFLOW = Path(".github/workflows/normsuite.yml")
_LEFT_OUT = ("tests", "test", "docs", "doc", "examples", "benchmarks", "build", "dist")
_MOST_TARGETS = 20
_NO_MODULES = re.compile("^Test|(Config|Function|Test|Tests)$")
"""Names of classes that have to do with norms and are none."""

_LENIENT = '# undecided = "pass"  # for machines so noisy that a gate often excludes too little: it passes then'
"""Setting of a gate that a project may want, and that lets one pass that saw nothing."""

_WORKFLOW = """\
# Are our norms right, and did this pull request make them slower, heavier or less exact?
name: normsuite

on:
  pull_request:

permissions:
  contents: read

jobs:
  normsuite:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0  # the gate exports both commits
          persist-credentials: false
      - uses: normsuite/normsuite@main  # or a tag of it, which does not change
        with:
          base: origin/${{ github.base_ref }}
"""

_ASV = """\
{{
    "version": 1,
    "project": "{package}",
    "repo": ".",
    "branches": ["main"],
    "environment_type": "virtualenv",
    "benchmark_dir": "benchmarks",
    "env_dir": "reports/asv/env",
    "results_dir": "reports/asv/results",
    "html_dir": "reports/asv/html",

    // What the benchmarks import and is installed once; a commit is put in place of the one before it, whose own
    // requirements stay. Pin what computes, so that a step in the history is the commit's and not torch's.
    "matrix": {{"req": {{"normsuite": [], "torch": []}}}},
    "install_command": ["in-dir={{env_dir}} python -m pip install {{wheel_file}}"]
}}
"""

_BENCHMARKS = '''\
"""asv's benchmarks of the targets in pyproject.toml: seconds of a call, forwards."""

from pathlib import Path

from normsuite.targets.build import build, draw
from normsuite.targets.configuration import find_project

PROJECT = find_project(Path(__file__).parent)
TARGETS = {target.title: target for target in PROJECT.targets if target.make is not None}


class Forward:
    params = (list(TARGETS),)
    param_names = ("target",)

    def setup(self, name):
        self.norm = build(TARGETS[name])
        self.x = draw(self.norm.shape)

    def time_forward(self, name):
        self.norm(self.x)
'''


def packages(folder: Path) -> list[str]:
    """Return the packages of a project, in its folder or in src/; raise an ArgumentError for what is no folder."""
    if not folder.is_dir():
        raise ArgumentError("folder", str(folder), "is no folder")
    found = []
    for root in (folder / "src", folder):
        if root.is_dir():
            found += [p.name for p in sorted(root.iterdir()) if (p / "__init__.py").is_file()]
    return [name for name in dict.fromkeys(found) if name not in _LEFT_OUT and is_package(name)]


def norms(folder: Path, package: str) -> list[tuple[str, str]]:
    """Return the import path and norm of classes whose names are those of norms, by reading the sources.

    For one such as LayerNorm2d, which may average over other axes, it is "none".

    Args:
        folder: of the project.
        package: its name.
    """
    if not is_package(package):
        raise ArgumentError("package", package, "is no name that Python imports")
    inside = Path(*package.split("."))
    root = next((r / inside for r in (folder / "src", folder) if (r / inside).is_dir()), None)
    if root is None:
        raise ArgumentError("package", package, "there is no folder of that name here nor in src")
    found = []
    for file in sorted(root.rglob("*.py")):
        below = file.relative_to(root).with_suffix("").parts
        parts = [*package.split("."), *below]
        # No import statement finds other names.
        if all(part.isidentifier() for part in parts) and not set(below) & set(_LEFT_OUT):
            module = ".".join(parts).removesuffix(".__init__")
            found += [(f"{module}:{name}", norm) for name, norm in _classes(file)]
    return found[:_MOST_TARGETS]


def _classes(file: Path) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError, Unreadable):  # no module of ours to judge
        return
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not _NO_MODULES.search(node.name) and not node.name.startswith("_"):
            spec = norm_in(node.name)
            if spec is not None:
                yield node.name, NO_NORM if is_of_maps(node.name, spec) else spec.name


def table(package: str, found: list[tuple[str, str]]) -> str:
    """Return the lines for pyproject.toml."""
    lines = ["", "[tool.normsuite]", f'package = "{package}"', ""]
    for path, norm in found:
        spec = NORMS.get(norm)
        by_element = spec is not None and spec.affine == "element"
        arguments = "args = [4, 64]" if spec is not None and spec.groups == "given" else "args = [64]"
        shapes = "shapes = [[8, 196, 64]]" if by_element else "shapes = [[16, 64, 14, 14]]"
        lines += ["[[tool.normsuite.target]]", f'make = "{path}"', arguments, f'like = "{norm}"', shapes, ""]
    if not found:
        lines += ["# [[tool.normsuite.target]]", f'# make = "{package}:MyNorm"', '# like = "LayerNorm"', ""]
    lines += ["[tool.normsuite.gate]", 'budget = "90s"', _LENIENT, ""]
    return "\n".join(lines)


def files(folder: Path, package: str, *, asv: bool) -> tuple[list[Path], list[Path]]:
    """Write what is missing, and return the files that were written and those that were kept.

    Raises:
        OutputError: a file cannot be written.
        ArgumentError: no such package, or a pyproject.toml that is no TOML.
    """
    found = norms(folder, package)
    written, kept = [], []
    project = folder / FILE
    before = ""
    if project.exists():
        try:
            before, settings = read_text(project), read_toml(project)
        except Unreadable as error:
            raise ArgumentError("folder", str(folder), f"{FILE} cannot be used ({error.reason})") from None
        tools = settings.get("tool", {})
        if not isinstance(tools, dict):
            raise ArgumentError("folder", str(folder), f"{FILE} cannot be used (tool = {tools!r} must be a table)")
        if "normsuite" in tools:
            kept.append(project)
    if project not in kept:
        lines = table(package, found)
        written.append(write_text(project, f"{before.rstrip()}\n{lines}" if before else lines.lstrip()))
    texts = {WORKFLOW: _WORKFLOW}
    if asv:
        texts |= {Path("asv.conf.json"): _ASV.format(package=package), Path("benchmarks/norms.py"): _BENCHMARKS}
        texts |= {Path("benchmarks/__init__.py"): ""}
    for name, text in texts.items():
        path = folder / name
        if path.exists():
            kept.append(path)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made ({error.strerror or error})") from None
        written.append(write_text(path, text))
    return written, kept
