"""The package that a gate guards: what its pyproject says, and the cells of its targets."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import vocabulary
from ..conventions.raised import raised_as
from ..errors import ArgumentError, DataError, NormsuiteError, UnknownNameError
from ..machine import device as devices
from ..measure import task as tasks
from ..measure.cases import Case
from ..measure.implementations.target_norms import TargetNorm, name_of
from ..measure.prepared import PreparedCall
from ..measure.task import Task
from ..measure.workload import Workload, matching
from ..spec import NormSpec
from ..targets import arguments
from ..targets.configuration import FILE, Project
from ..targets.loading import load, search_here
from ..targets.target import Target
from .cells import Cell, modules_of, with_host_time
from .sides import package_of
from .trees import Part, Source

MODES = ("forward", "step")


def source_of(project: Project) -> Source:
    """Return the packages that a project guards, and those of its prepared calls, by their paths in its folder.

    Raises:
        DataError: it names none, or one without a folder.
    """
    if not project.packages:
        raise DataError(f"{FILE}: package = []: name what differs between two versions")
    guarded = tuple(_part(project, name) for name in project.packages)
    modules = [target.prepare.partition(":")[0] for target in project.targets if isinstance(target.prepare, str)]
    outside = [module for module in modules if package_of(module, project.packages) is None]
    further = dict.fromkeys(module.partition(".")[0] for module in outside)
    beside = tuple(_part(project, name) for name in further if _has_folder(project, name))
    return Source(guarded, beside, project.build)


def _part(project: Project, name: str) -> Part:
    folder, root = project.package_folder(name).resolve(), project.folder.resolve()
    if not folder.is_relative_to(root):
        raise DataError(f"{FILE}: package = {name!r}: its folder is a link to {folder}, outside the project")
    return Part(name, folder.relative_to(root).as_posix())


def _has_folder(project: Project, name: str) -> bool:
    try:
        project.package_folder(name)
    except DataError:
        return False
    return True


@dataclass(frozen=True)
class Plan:
    """The cells that a gate of a project measures.

    Attributes:
        cells: of its table.
        targets: those that have cells, by title.
        notes: lines on the targets that have none.
    """

    cells: list[Cell]
    targets: dict[str, Target]
    notes: list[str]


def plan(
    project: Project,
    *,
    modes: Sequence[str] = (),
    only: Sequence[str] = (),
    device: str = "cpu",
    **chosen: Sequence[str],
) -> Plan:
    """Return what is measured of a project's targets, and of what its own function of cells returns.

    On an accelerator a prepared call, and a target on its smallest input, has a cell of host time beside that of device
    time; the project's own function returns such cells itself.

    Args:
        project: whose targets.
        modes: forward, step or evaluation.
        only: patterns of cells' names.
        device: "cpu" or the accelerator's name.
        chosen: what a user chose beside these, such as norms=["GroupNorm"], for the project's own function. If it is
            not empty, the table holds only that function's result.

    Raises:
        ArgumentError: nothing that can be measured, an unknown mode, a choice that fits no cell, or a pattern that no
            cell matches.
        DataError: the project's own function fails, or returns something else.
    """
    devices.check(device)
    for mode in modes:
        if mode not in vocabulary.MODES:
            raise UnknownNameError.among("mode", mode, vocabulary.MODES)
    chosen = {name: values for name, values in chosen.items() if values}
    found: list[Cell] = []
    targets, notes = {}, []
    for given in [*_provided(project, chosen, modes, device, bool(only)), *(() if chosen else project.targets)]:
        if not isinstance(given, Target):
            found.append(given)
        elif given.make is None:
            made = PreparedCall(_path(given), given.title, device)
            found += [made] if device == "cpu" else [made, with_host_time(made)]
        elif (reason := why_not(given)) is not None:
            notes.append(f"{given.title}: not measured ({reason})")
        elif not (cells := _of(given, modes or MODES, device)):
            notes.append(f"{given.title}: not measured ({given.like} has no mode {' or '.join(modes)})")
        else:
            found += cells
            targets[given.title] = given
    if not found:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise ArgumentError("target", None, f"{FILE} has no [[tool.normsuite.target]] that can be measured{why}")
    names = [cell.name for cell in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{FILE}: two cells are called {twice!r}")
    return Plan(matching(found, only), targets, notes)


def _provided(
    project: Project, chosen: Mapping[str, Sequence[str]], modes: Sequence[str], device: str, everything: bool
) -> list[Cell | Target]:
    """Return what the project's own function returns, nothing where it has none.

    Args:
        project: whose function.
        chosen, modes, device: as `plan` takes them.
        everything: also what is no part of the default table, since patterns choose.
    """
    if not project.cells:
        for name, values in chosen.items():
            raise ArgumentError(name, ", ".join(values), "is set by [[tool.normsuite.target]] here: choose by --only")
        return []
    search_here([project.folder, project.folder / "src"])
    provide = load("cells", project.cells)
    if not callable(provide):
        raise DataError(f"{FILE}: cells = {project.cells!r} cannot be called")
    taken = inspect.signature(provide).parameters
    for name, values in chosen.items():
        if name not in taken:
            raise ArgumentError(name, ", ".join(values), f"{project.cells} takes no {name}: use --only")
    further = {"modes": modes, "device": device, "everything": everything}
    with raised_as(lambda said: DataError(f"{FILE}: cells = {project.cells!r} fails: {said}"), NormsuiteError):
        found = list(provide(**chosen, **{name: value for name, value in further.items() if name in taken}))
    for each in found:
        if not isinstance(each, Cell | Target):
            raise DataError(
                f"{FILE}: cells = {project.cells!r} returns {type(each).__name__}, and no targets or workloads"
            )
    return found


def trained(project: Project, made: Plan) -> dict[str, Target | None]:
    """Return what the study can train by name: targets that are like a norm, and None for norms of the package itself.

    Raises:
        ArgumentError: there is none.
    """
    found: dict[str, Target | None] = {}
    for cell in made.cells:
        if isinstance(cell, PreparedCall):
            continue
        if isinstance(cell.implementation, TargetNorm):
            if (title := cell.task.case.meaning) in made.targets:
                found[title] = made.targets[title]
        elif any(package_of(module, project.packages) for module in modules_of(cell)):
            found[cell.task.spec.name] = None
    if not found:
        raise ArgumentError("error_rate", True, "none of the targets here is a norm that the study could train")
    return found


def why_not(target: Target) -> str | None:
    """Return the reason why a norm has no cell, or None."""
    if target.spec is None:
        return "nothing says which norm it is like"
    if not target.shapes:
        return "has no shapes"
    short = next((shape for shape in target.shapes if len(shape) < 2), None)
    if short is not None and target.spec.affine == "channel":
        return f"has the shape {short}, which has no channels"
    try:
        for shape in target.shapes:
            _groups(target, target.spec, shape)
    except ArgumentError as error:
        return error.reason
    return None


def _path(target: Target) -> str:
    """Return the import path by which another process finds what makes a target.

    Raises:
        ArgumentError: it has none.
    """
    path = target.path
    if path is None:
        raise ArgumentError("target", target.title, "has no import path that another process could use")
    return path


def _of(target: Target, modes: Sequence[str], device: str) -> list[Cell]:
    spec, made = target.spec, TargetNorm(name_of(_path(target), target.args, target.kwargs))
    assert spec is not None  # or `why_not` says so
    found: list[Workload] = []
    for shape in target.shapes:
        groups, sizes = _groups(target, spec, shape), _normalized(target, spec, shape)
        case = Case.of_shape(shape, groups, target.title, normalized_shape=sizes)
        for mode in (mode for mode in modes if tasks.has_mode(spec, mode)):
            for dtype in target.dtypes:
                found.append(Workload(made, Task(spec, case, mode, target.activation, dtype, device)))
    if device == "cpu" or not found:
        return [*found]
    smallest = min(found, key=lambda cell: cell.task.bytes).task
    there = [cell for cell in found if (cell.task.case, cell.task.dtype) == (smallest.case, smallest.dtype)]
    return [*found, *map(with_host_time, there)]


def _groups(target: Target, spec: NormSpec, shape: Sequence[int]) -> int:
    if spec.groups != "given":
        return 1
    groups = target.num_groups or target.kwargs.get("num_groups")
    sizes: list = []
    if groups is None:  # torch.nn's constructor and function have it first, others may have it after the channels
        sizes = [size for size in target.args[:2] if type(size) is int]
        groups = next((size for size in sizes if size != shape[1]), shape[1] if len(sizes) > 1 else None)
    if groups is None:
        said = f"{shape[1]} may be the channels or the groups" if sizes else "nothing says how many groups"
        raise ArgumentError("num_groups", None, f"{said}: say num_groups")
    spec.num_groups(shape[1], groups)
    return groups


def _normalized(target: Target, spec: NormSpec, shape: Sequence[int]) -> tuple[int, ...] | None:
    if spec.affine != "element":
        return None
    first = next(iter(target.args), None)
    is_size = type(first) is int or isinstance(first, list | tuple)  # a function's first setting may be another one
    sizes = target.kwargs.get("normalized_shape", first if is_size else shape[-1])
    return arguments.given_sizes(sizes)
