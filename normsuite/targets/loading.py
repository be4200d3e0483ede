"""Import paths such as "package.module:Name": parsed, imported and found again from an object. Imports no torch."""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..conventions.raised import raised_as
from ..errors import ArgumentError, one_line

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
SIDES = "base", "head"
"""Two versions of a package that are compared."""


class ImportPathError(ArgumentError, ImportError):
    """An import path that leads to nothing, with the reason in one line."""


def check_path(argument: str, path: object) -> str:
    """Return the path if it is written as "module:name".

    Raises:
        ImportPathError: it is written otherwise.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ImportPathError(argument, path, 'must be an import path such as "package.module:Name"')
    return path


def search_here(folders: Sequence[str | Path] = ()) -> None:
    """Add the working folder and its src/ to Python's search path, as `python -m` would.

    Args:
        folders: further ones, which come first.
    """
    here = Path.cwd()
    for folder in (here / "src", here, *reversed([Path(folder) for folder in folders])):
        text = str(folder)
        if folder.is_dir() and text not in sys.path:
            sys.path.insert(0, text)


def load(argument: str, path: str) -> object:
    """Return the object that an import path names.

    Raises:
        ImportPathError: the module cannot be imported, for whatever reason, or has no such name.
    """
    module_name, _, names = check_path(argument, path).partition(":")
    with raised_as(lambda said: ImportPathError(argument, path, f"{module_name} cannot be imported: {said}")):
        found = importlib.import_module(module_name)
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ImportPathError(argument, path, f"{module_name} has no {names}{_close(found, name)}") from None
        except Exception as error:  # a package may import lazily
            raise ImportPathError(argument, path, f"{names} cannot be imported: {one_line(error)}") from error
    return found


def path_in(package: str, path: str) -> str:
    """Return an import path in a version of its package that has a name of its own in this process.

    Args:
        package: that name: the package's with _base or _head behind it, dots written as _; any other changes nothing.
        path: "package.module:Name".
    """
    module, _, names = path.partition(":")
    return f"{module_in(package, module)}:{names}"


def module_in(package: str, module: str) -> str:
    """Return a module's name in such a version of its package."""
    name, _, side = package.rpartition("_")
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        if side in SIDES and "_".join(parts[:end]) == name:
            return ".".join([package, *parts[end:]])
    return module


def path_of(found: object) -> str | None:
    """Return the import path of a class or function, or None where no other process could import it by one."""
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    path = f"{module}:{name}"
    if not _PATH.fullmatch(path):
        return None
    try:
        return path if load("make", path) is found else None
    except ImportPathError:
        return None


def _close(module: object, name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [n for n in dir(module) if not n.startswith("_")], n=3)
    return f"; near are {', '.join(near)}" if near else ""


def import_folders() -> list[str]:
    """Return the folders that another process must search to import what this one can."""
    return [folder for folder in sys.path if folder and os.path.isdir(folder)]
