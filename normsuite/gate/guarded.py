"""Anybody's package in a gate: what its pyproject says, and the cells of its targets."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ArgumentError, DataError
from ..measure import task as tasks
from ..measure.cases import Case
from ..measure.implementations.anybodys import Anybodys, name_of
from ..measure.task import Task
from ..measure.workload import Workload
from ..targets.configuration import Project
from ..targets.target import Target
from .trees import PACKAGE, Source

MODES = ("forward", "step")


def source_of(project: Project, root: Path) -> Source:
    """Return the package that a project guards.

    Raises:
        DataError: it names none, or several, or one without a folder.
    """
    if len(project.packages) != 1:
        named = ", ".join(project.packages) or "none"
        raise DataError(f"pyproject.toml: package = {named}: a gate compares versions of one package")
    (package,) = project.packages
    path = project.package_folder(package).resolve().relative_to(root.resolve()).as_posix()
    return Source(package, path, project.build)


def cells(
    project: Project, *, modes: Sequence[str] = (), only: Sequence[str] = (), device: str = "cpu"
) -> tuple[list[Workload], list[str]]:
    """Return the cells of a project's targets, and lines on the targets that have none.

    Args:
        project: whose targets.
        modes: forward, step or evaluation.
        only: patterns of cells' names.
        device: "cpu" or the accelerator's name.

    Raises:
        ArgumentError: no target that can be measured, an unknown mode, or a pattern that no cell matches.
    """
    for mode in modes:
        tasks.plan(modes=[mode], names=["tiny"])  # an unknown one is refused as anywhere
    found, notes = [], []
    for target in project.targets:
        reason = why_not(target)
        if reason is not None:
            notes.append(f"{target.title}: not measured ({reason})")
            continue
        found += [cell for cell in _of(target, modes or MODES, device)]
    if not found:
        raise ArgumentError(
            "target", None, f"pyproject.toml has no [[tool.normsuite.target]] that can be measured{_why(notes)}"
        )
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in found):
            raise ArgumentError("only", pattern, f"matches none of the {len(found)} cells, such as {found[0].name}")
    return [cell for cell in found if not only or any(fnmatchcase(cell.name, pattern) for pattern in only)], notes


def why_not(target: Target) -> str | None:
    """Return the reason why a target has no cell, or None."""
    if target.make is None:
        return "a prepared call has no norm whose values could be looked at"
    if target.spec is None:
        return "is like no norm"
    if not target.shapes:
        return "has no shapes"
    return None


def module_within(cell: Workload, package: str) -> str | None:
    """Return the module below a package that a cell's target lies in, or None for the package itself."""
    if package == PACKAGE or not isinstance(cell.implementation, Anybodys):
        return None
    module = cell.implementation.target.make.partition(":")[0]
    return module.removeprefix(f"{package}.") if module.startswith(f"{package}.") else None


def _of(target: Target, modes: Sequence[str], device: str) -> list[Workload]:
    spec, made = target.spec, Anybodys(name_of(target.make, target.args, target.kwargs))
    found = []
    for shape in target.shapes:
        case = Case(
            "×".join(map(str, shape)),
            shape,
            _groups(target, shape),
            target.title,
            normalized_shape=_normalized(target, shape),
        )
        for mode in modes:
            if mode == "evaluation" and spec.running != "always":
                continue  # it computes the same as forward
            for dtype in target.dtypes:
                found.append(Workload(made, Task(spec, case, mode, target.activation, dtype, device)))
    return found


def _groups(target: Target, shape: Sequence[int]) -> int:
    if target.spec.groups != "given":
        return 1
    groups = target.num_groups or target.kwargs.get("num_groups")
    if groups is None and target.args and type(target.args[0]) is int:
        groups = target.args[0]  # torch.nn's constructor and function have it first
    if groups is None:
        raise ArgumentError("num_groups", None, f"{target.title} does not say it, and {target.spec.name} needs it")
    target.spec.num_groups(shape[1], groups)
    return groups


def _normalized(target: Target, shape: Sequence[int]) -> tuple[int, ...] | None:
    if target.spec.affine != "element":
        return None
    sizes = target.kwargs.get("normalized_shape", target.args[0] if target.args else shape[-1])
    return (sizes,) if isinstance(sizes, int) else tuple(sizes)


def _why(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""
