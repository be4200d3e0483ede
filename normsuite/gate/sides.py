"""Two versions of a package in one process, each under a name of its own, or one of them under its own name.

Of a version of this package only public and old names are used: `NORMS`, `backends.NAMES`, the norms' functions and
modules, and for the error rate `study.digits` and `study.train`.
"""

import importlib.util
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from ..measure.clock import Call
from ..measure.operands import Operands
from ..measure.workload import Absent, CallFailed
from .cells import Cell
from .trees import PACKAGE

SIDES = BASE, HEAD = "base", "head"


def load(folder: Path, side: str, *modules: str, optional: Sequence[str] = ()) -> ModuleType:
    """Import the package in that folder as `normsuite_base` or `normsuite_head`, and return it.

    Args:
        folder: holds the package.
        side: its name in this process.
        modules: of it, that are imported too.
        optional: likewise, where that version has them.

    Raises:
        Exception: whatever importing it raises.
    """
    name = f"{PACKAGE}_{side}"
    root = folder / PACKAGE
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    for module in modules:
        importlib.import_module(f"{name}.{module}")
    for module in optional:
        with suppress(ModuleNotFoundError):
            importlib.import_module(f"{name}.{module}")
    return package


def load_anybodys(folder: Path, side: str, package: str, modules: Sequence[str], *, alone: bool) -> ModuleType:
    """Import a version of anybody's package, and return it.

    Args:
        folder: holds the package.
        side: a part of its name in this process, where the other side is imported too.
        package: its own name.
        modules: of it, that are imported too.
        alone: under its own name, since no other version is in this process.

    Raises:
        ImportError: it imports itself by its own name, which would be another version.
        Exception: whatever importing it raises.
    """
    if alone:
        sys.path.insert(0, str(folder))
        name = package
        found = importlib.import_module(package)
        if not Path(found.__path__[0]).is_relative_to(folder):
            raise ImportError(f"{package} is imported from elsewhere, {found.__path__[0]}")
    else:
        name = f"{package}_{side}"
        root = folder / package
        spec = importlib.util.spec_from_file_location(
            name, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        found = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    for module in modules:
        importlib.import_module(f"{name}.{module}")
    if not alone and package in sys.modules:
        raise ImportError(f"{package} imports itself by its own name")
    return found


def ready(package: ModuleType, cell: Cell, sets: Sequence[Operands]) -> list[Call]:
    """Return the calls that do the cell in that version, one for each set of operands, after a first call of each.

    Raises:
        Absent: this version lacks something that the cell needs, or a call fails; the message says what.
    """
    try:
        return cell.of(package).ready(sets)
    except CallFailed as failed:
        raise Absent(f"fails with {failed}") from failed
