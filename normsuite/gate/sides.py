"""Import two versions of a package into one process, each under a name of its own, or one under its own name.

Where the compared package is the one that measures, only public, long-standing names of it are used: `NORMS`,
`backends.NAMES`, the norms' functions and modules, and for the error rate `study.digits` and `study.train`.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..measure.clock import Call
from ..measure.workload import Absent, CallFailed
from .cells import Cell, modules_of
from .decide import FAILING
from .trees import place_of

SIDES = BASE, HEAD = "base", "head"

MEASURING = __name__.partition(".")[0]
"""The package that measures: every process has it by its own name, so that no version of it can have that too."""


def load(
    folder: Path, side: str, packages: Sequence[str], modules: Sequence[str], *, alone: bool
) -> dict[str, ModuleType]:
    """Import a version of some packages, and return those that it has by name.

    Args:
        folder: holds the packages.
        side: a part of their names in this process, where the other side is imported too.
        packages: their own names.
        modules: of them, by their full names, that are imported too, where that version has them.
        alone: under their own names, since no other version is in this process; `MEASURING` never is.

    Raises:
        ImportError: one imports another, or itself, by its own name, which would be another version.
        Exception: whatever importing one raises.
    """
    there = [name for name in packages if place_of(folder, name).is_dir()]
    if alone:
        sys.path.insert(0, str(folder))
    loaded = {
        name: _under_its_name(folder, name)
        if alone and name != MEASURING
        else _under_another(folder, name, f"{name.replace('.', '_')}_{side}")
        for name in there
    }
    for module in modules:
        package = package_of(module, there)
        if package is None and package_of(module, packages) is not None:
            continue  # this version lacks the package; one of its name elsewhere is another version
        name = module if package is None else loaded[package].__name__ + module.removeprefix(package)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that it imports
    if not alone:
        refuse_own_names(packages)
    return loaded


def refuse_own_names(packages: Sequence[str]) -> None:
    """Raise an ImportError if one of those packages has been imported by its own name, which is neither version."""
    for name in packages:
        if name in sys.modules and name != MEASURING:
            raise ImportError(f"{name} imports itself by its own name")


def package_of(module: str, packages: Sequence[str]) -> str | None:
    """Return the package that a module lies in, or None for another's."""
    return next((name for name in packages if f"{module}.".startswith(f"{name}.")), None)


def _under_its_name(folder: Path, name: str) -> ModuleType:
    if not (place_of(folder, name) / "__init__.py").is_file():
        return _namespace(folder, name, name)
    found = importlib.import_module(name)
    if not Path(found.__path__[0]).is_relative_to(folder):
        raise ImportError(f"{name} is imported from elsewhere, {found.__path__[0]}")
    return found


def _under_another(folder: Path, package: str, name: str) -> ModuleType:
    root = place_of(folder, package)
    if not (root / "__init__.py").is_file():
        return _namespace(folder, package, name)
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None, "of a Python file"
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def _namespace(folder: Path, package: str, name: str) -> ModuleType:
    """Return a package that is a folder without __init__.py, so that no other one of that name is found elsewhere."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(place_of(folder, package))]
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    return found


def package_for(cell: Cell, packages: Mapping[str, ModuleType], known: Sequence[str]) -> ModuleType | None:
    """Return the package of a version that a cell lies in, or None for another package, equal in both versions.

    Args:
        cell: of either version.
        packages: that the version has, by name.
        known: names of all that are compared.

    Raises:
        Absent: the version has no such package.
    """
    package = next((package_of(module, known) for module in modules_of(cell)), None)
    if package is not None and package not in packages:
        raise Absent(f"has no package {package}")
    return None if package is None else packages[package]


def ready(package: ModuleType | None, cell: Cell, sets: Sequence[Any]) -> list[Call]:
    """Return the calls that do the cell in that version, one for each set of operands, after a first call of each.

    A prepared call has operands of its own, and a set that is None.

    Raises:
        Absent: this version lacks something that the cell needs, or a call fails; the message says what.
    """
    try:
        return (cell if package is None else cell.of(package)).ready(sets)
    except CallFailed as failed:
        raise Absent(f"{FAILING}{failed}") from failed
