"""The table `[tool.normsuite]` of a project's pyproject.toml, parsed and checked. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..conventions.defaults import GATE_BUDGET_S
from ..conventions.durations import seconds
from ..errors import ArgumentError, DataError, UnknownNameError
from ..files.reading import Unreadable, read_toml
from .loading import check_path
from .target import Target

FILE = "pyproject.toml"
ISOLATIONS = ("auto", "process")
"""auto: both versions in one process where that works. process: one process each."""
UNDECIDED = ("pass", "fail")


@dataclass(frozen=True)
class GateOptions:
    """The table `[tool.normsuite.gate]`.

    Attributes:
        budget_s: how long a gate may take.
        undecided: "pass" where measured cells that stay undecided are no reason to fail, "fail" where each is; None
            where the gate's limit decides.
    """

    budget_s: float = GATE_BUDGET_S
    undecided: str | None = None


@dataclass(frozen=True)
class Project:
    """A project that measures its norms with this suite.

    Attributes:
        folder: holds its pyproject.toml.
        packages: importable names of what differs between two commits.
        targets: what is checked and timed.
        isolation: one of `ISOLATIONS`.
        build: a shell command that builds a version with compiled parts into the folder {out}, by the interpreter
            {python}; or "".
        gate: of the gate.
        cells: the import path of a function that returns what the gate measures beside the targets, or "": further
            targets, or workloads of the measuring kit. It is called with those of its arguments that a user gave.
    """

    folder: Path
    packages: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    isolation: str = "auto"
    build: str = ""
    gate: GateOptions = field(default_factory=GateOptions)
    cells: str = ""

    def package_folder(self, package: str) -> Path:
        """Return the folder of one of its packages within the project: flat, or under src/.

        Raises:
            DataError: there is none.
        """
        for root in (self.folder, self.folder / "src"):
            found = root.joinpath(*package.split("."))
            if found.is_dir():
                return found
        raise DataError(f"{FILE}: package = {package!r}: there is no folder {package} here nor in src")


def find_project(start: Path) -> Project | None:
    """Return the project that a folder lies in, or None where no pyproject.toml above it has `[tool.normsuite]`.

    Raises:
        DataError: one has, and says something that cannot be.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        file = folder / FILE
        if file.is_file():
            try:
                found = read_toml(file)
            except Unreadable as error:
                raise DataError(f"{error.file}: {error.reason}") from None
            tools = found.get("tool", {})
            if not isinstance(tools, Mapping):
                raise DataError(f"{file}: tool = {tools!r} must be a table")
            if "normsuite" in tools:
                return parse(tools["normsuite"], folder)
        if (folder / ".git").exists():
            return None
    return None


def parse(table: object, folder: Path) -> Project:
    """Return the project that such a table describes.

    Raises:
        DataError: a key that is not known, or a value of another kind; the message names it.
    """
    if not isinstance(table, Mapping):
        raise DataError(f"{FILE}: tool.normsuite = {table!r} must be a table")
    _known("tool.normsuite", table, ("package", "packages", "isolation", "build", "cells", "target", "gate"))
    if "package" in table and "packages" in table:
        raise DataError(f"{FILE}: packages = {table['packages']!r} stands beside package: give one of the two")
    names = table.get("package", table.get("packages", []))
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(is_package(name) for name in names):
        raise DataError(f"{FILE}: package = {names!r} must be a package's name, or a list of them")
    isolation = table.get("isolation", "auto")
    if isolation not in ISOLATIONS:
        raise DataError(f"{FILE}: isolation = {isolation!r} must be among {', '.join(ISOLATIONS)}")
    build = table.get("build", "")
    if not isinstance(build, str):
        raise DataError(f"{FILE}: build = {build!r} must be a command")
    cells = table.get("cells", "")
    if cells != "":
        try:
            check_path("cells", cells)
        except ArgumentError as error:
            raise DataError(f"{FILE}: {error}") from None
    given = table.get("target", [])
    if not isinstance(given, list):
        raise DataError(f"{FILE}: target = {given!r} must be written as [[tool.normsuite.target]]")
    targets = tuple(_target(number, target) for number, target in enumerate(given, start=1))
    titles = [target.title for target in targets]
    for title in titles:
        if titles.count(title) > 1:
            raise DataError(f"{FILE}: two targets are called {title!r}: give one a name")
    return Project(folder, tuple(names), targets, isolation, build, _gate(table.get("gate", {})), cells)


def _target(number: int, table: object) -> Target:
    if not isinstance(table, Mapping):
        raise DataError(f"{FILE}: target {number} = {table!r} must be a table")
    called = table.get("name", table.get("make", table.get("prepare", number)))
    for argument in ("make", "prepare", "oracle"):
        if argument in table and not isinstance(table[argument], str):
            raise DataError(f"{FILE}: target {called}: {argument} = {table[argument]!r} must be an import path")
    try:
        return Target.from_dict(table)
    except ArgumentError as error:
        raise DataError(f"{FILE}: target {called}: {error}") from None


def _gate(table: object) -> GateOptions:
    if not isinstance(table, Mapping):
        raise DataError(f"{FILE}: gate = {table!r} must be a table")
    _known("tool.normsuite.gate", table, ("budget", "undecided"))
    undecided = table.get("undecided")
    if undecided not in (None, *UNDECIDED):
        raise DataError(f"{FILE}: undecided = {undecided!r} must be among {', '.join(UNDECIDED)}")
    try:
        return GateOptions(seconds("budget", table.get("budget", GATE_BUDGET_S)), undecided)
    except ArgumentError as error:
        raise DataError(f"{FILE}: {error}") from None


def _known(where: str, table: Mapping, known: tuple[str, ...]) -> None:
    for name in table:
        if name not in known:
            raise DataError(f"{FILE}: {UnknownNameError.among(where, name, known)}")


def is_package(name: object) -> bool:
    """Return whether a package can have that name: identifiers, with dots between them."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))
