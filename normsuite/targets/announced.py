"""Targets that packages announce under the entry point group "normsuite.targets", and those of the project here."""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ..conventions.raised import raised_as
from ..errors import ArgumentError, DataError
from .configuration import find_project
from .target import Target

TARGETS = "normsuite.targets"
"""Its entry points lead to a Target, what makes a norm, such as a class, or a list of those. In a list, those without a
name are called by the entry's name and their place, such as mine.2."""


def announced() -> dict[str, Target]:
    """Return the targets of installed packages by name.

    Raises:
        DataError: an entry point that leads to something else; the message names it.
    """
    found: dict[str, Target] = {}
    for entry in sorted(entry_points(group=TARGETS), key=lambda entry: entry.name):
        targets = _of(entry)
        for place, target in enumerate(targets, start=1):
            found[target.name or (entry.name if len(targets) == 1 else f"{entry.name}.{place}")] = target
    return found


def all_by_name(folder: Path) -> dict[str, Target]:
    """Return the targets of installed packages and of the project that the folder lies in, by name.

    Raises:
        DataError: what describes targets there cannot be used.
    """
    project = find_project(folder)
    return announced() | {target.title: target for target in (project.targets if project is not None else ())}


def _of(entry: EntryPoint) -> list[Target]:
    with raised_as(lambda said: DataError(f"entry point {entry.name} = {entry.value}: {said}")):
        found = entry.load()
    try:
        if isinstance(found, list | tuple):
            return [target if isinstance(target, Target) else Target(target) for target in found]
        return [found if isinstance(found, Target) else Target(entry.value, name=entry.name)]
    except ArgumentError as error:
        raise DataError(f"entry point {entry.name} = {entry.value}: {error}") from None
