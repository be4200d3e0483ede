"""Anybody's package in a gate: what its pyproject says, and the cells of its targets."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ArgumentError, DataError
from ..measure import task as tasks
from ..measure.cases import Case
from ..measure.implementations.anybodys import Anybodys, name_of
from ..measure.prepared import PreparedCall
from ..measure.task import Task
from ..measure.workload import Workload
from ..targets.configuration import FILE, Project
from ..targets.target import Target
from .cells import Cell
from .trees import Part, Source

MODES = ("forward", "step")


def source_of(project: Project, root: Path) -> Source:
    """Return the packages that a project guards, and those of its prepared calls.

    Raises:
        DataError: it names none, or one without a folder.
    """
    if not project.packages:
        raise DataError(f"{FILE}: package = []: name what differs between two versions")
    guarded = tuple(_part(project, name, root) for name in project.packages)
    modules = [target.prepare.partition(":")[0] for target in project.targets if isinstance(target.prepare, str)]
    further = dict.fromkeys(module.partition(".")[0] for module in modules if not _lies_in(module, project.packages))
    beside = tuple(_part(project, name, root) for name in further if _has_folder(project, name))
    return Source(guarded, beside, project.build)


def _part(project: Project, name: str, root: Path) -> Part:
    return Part(name, project.package_folder(name).resolve().relative_to(root.resolve()).as_posix())


def _lies_in(module: str, packages: Sequence[str]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in packages)


def _has_folder(project: Project, name: str) -> bool:
    try:
        project.package_folder(name)
    except DataError:
        return False
    return True


def cells(
    project: Project, *, modes: Sequence[str] = (), only: Sequence[str] = (), device: str = "cpu"
) -> tuple[list[Cell], list[str]]:
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
        if target.make is None:
            found.append(PreparedCall(target.prepare, target.title, device))
        elif (reason := why_not(target)) is not None:
            notes.append(f"{target.title}: not measured ({reason})")
        else:
            found += _of(target, modes or MODES, device)
    if not found:
        raise ArgumentError(
            "target", None, f"pyproject.toml has no [[tool.normsuite.target]] that can be measured{_why(notes)}"
        )
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in found):
            raise ArgumentError("only", pattern, f"matches none of the {len(found)} cells, such as {found[0].name}")
    return [cell for cell in found if not only or any(fnmatchcase(cell.name, pattern) for pattern in only)], notes


def trained(project: Project, only: Sequence[str] = ()) -> dict[str, Target]:
    """Return the targets that can be trained in the study's network, by name: those that are like a norm.

    Raises:
        ArgumentError: there is none.
    """
    found = {}
    for target in project.targets:
        cells = [] if target.make is None or why_not(target) is not None else _of(target, MODES, "cpu")
        if any(not only or fnmatchcase(cell.name, pattern) for cell in cells for pattern in (only or ("*",))):
            found[target.title] = target
    if not found:
        raise ArgumentError("error_rate", True, "none of the targets here is a norm that the study could train")
    return found


def why_not(target: Target) -> str | None:
    """Return the reason why a norm has no cell, or None."""
    if target.spec is None:
        return "is like no norm"
    if not target.shapes:
        return "has no shapes"
    return None


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
