"""Digests of the code that a target is made of, for records that depend on it. Imports no torch."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}
_SUFFIXES = (".py", ".so", ".pyd", ".toml", ".json")


def source_of(path: str) -> str | None:
    """Return what tells two versions of an import path's package apart, or None where Python has no file of it.

    That is name and version of an installed package, and a digest of the files of any other.

    Args:
        path: "package.module:Name".
    """
    root = path.partition(":")[0].partition(".")[0]
    found = find_spec(root)
    if found is not None and found.origin is None and found.submodule_search_locations:  # a package of folders alone
        return digest(map(Path, found.submodule_search_locations))
    if found is None or found.origin in (None, "built-in", "frozen"):
        return None
    file = Path(found.origin)
    names = packages_distributions().get(root)
    if names and not _INSTALLED.isdisjoint(file.parts):  # an editable one lies elsewhere, and changes under its version
        return f"{names[0]} {version(names[0])}"
    return digest([file.parent] if found.submodule_search_locations else [file])


def digest(places: Iterable[Path]) -> str:
    """Return a digest of the sources in those files and folders: equal digests, equal code."""
    found = hashlib.sha256()
    for place in places:
        inside = sorted(f for f in place.rglob("*") if f.suffix in _SUFFIXES and f.is_file())
        for file in inside if place.is_dir() else [place]:
            found.update(file.relative_to(place.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]
