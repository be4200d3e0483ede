"""The workloads that a gate measures, a cell of its table each: the public functions and modules on a few cases."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from .. import backends as known_backends
from ..errors import ArgumentError, UnknownNameError
from ..measure import implementations
from ..measure import task as tasks
from ..measure.cases import tracked
from ..measure.implementations import ours
from ..measure.implementations.anybodys import Anybodys
from ..measure.implementations.ours import Ours
from ..measure.labels import AUTO
from ..measure.prepared import PreparedCall
from ..measure.workload import Workload
from ..spec import NORMS, find
from .planted import key

Cell = Workload | PreparedCall

_LEFT_OUT = {True: ("reference", "triton"), False: ("reference", "numba")}
"""On the processor and on accelerators: the reference is slow on purpose, and some kernels compute elsewhere only."""

BACKENDS, ACCELERATOR_BACKENDS = (
    (*(name for name in known_backends.NAMES if name not in (*left_out, AUTO)), AUTO) for left_out in _LEFT_OUT.values()
)
CASES = tracked(("tiny", "study", "stage-14"))
"""A call that costs more than its arithmetic, one that fits the first caches, one that fits the last."""

MODES = ("forward", "step")
MODULES = tuple(f"{AUTO} {name}" for name in ours.MODULES)
"""Every public module; on its small case alone, since what it adds to its function takes the same time for any size."""

PLANTED_FUNCTIONS = ("normalize", *ours.FUNCTIONS)
PLANTED_MODULES = ours.MODULES
"""Names that a self-check can make slower."""


def planted_key(cell: Cell) -> tuple:
    """Return what tells the cell's calls from others: see `planted.key`."""
    task = cell.task
    implementation: Ours = cell.implementation
    return key(implementation.entry(task), implementation.backend, task.case.shape, task.gradients)


def module_of(cell: Cell) -> str | None:
    """Return the module that a user's target lies in, or None for a norm of this package."""
    if isinstance(cell, PreparedCall):
        return cell.module
    implementation = cell.implementation
    return implementation.target.make.partition(":")[0] if isinstance(implementation, Anybodys) else None


def cell_from_dict(found: dict) -> Cell:
    """Return the cell that its `as_dict` describes, perhaps after a journey as JSON."""
    return (PreparedCall if "prepare" in found else Workload).from_dict(found)


def plan(
    *,
    norms: Sequence[str] = (),
    backends: Sequence[str] = (),
    cases: Sequence[str] = (),
    modes: Sequence[str] = (),
    activations: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    only: Sequence[str] = (),
    device: str = "cpu",
) -> list[Cell]:
    """Return the cells of a table.

    Args:
        norms, backends, cases, modes, activations, dtypes: names; the default table's where left out. A backend names
            the functions ("auto"), or one module of that backend ("auto BatchNorm2d").
        only: patterns of cells' names, such as "GroupNorm/*/step"; a * takes / too.
        device: "cpu" or the accelerator's name.

    Raises:
        ArgumentError: a name that does not exist, or a pattern that no cell matches.
    """
    if "backward" in modes:
        raise ArgumentError("mode", "backward", "the gate measures it within a step")
    chosen = [
        _ours(name) for name in dict.fromkeys(backends or (BACKENDS if device == "cpu" else ACCELERATOR_BACKENDS))
    ]
    further = {
        "modes": modes or MODES,
        "activations": activations or (tasks.NO_ACTIVATION,),
        "dtypes": dtypes or ("float32",),
        "device": device,
    }
    measured = tasks.plan(norms=norms, names=cases or CASES, **further)
    found = [
        Workload(each, task)
        for task in measured
        for each in chosen
        if isinstance(each, ours.Function) or not each.why_not(task)
    ]
    if not backends and not cases:
        found += _modules({find(name).name for name in norms} or set(NORMS), further)
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in found):
            raise ArgumentError("only", pattern, f"matches none of the {len(found)} cells, such as {found[0].name}")
    return [cell for cell in found if not only or any(fnmatchcase(cell.name, pattern) for pattern in only)]


def _modules(norms: set[str], further: dict) -> list[Cell]:
    cells = []
    for name in MODULES:
        module = implementations.find(name)
        norm, _ = ours.of_class(module.entry_class)
        if norm in norms:
            case = ours.case_of(module.entry_class)
            cells += [Workload(module, task) for task in tasks.plan(norms=[norm], names=[case], **further)]
    return cells


def _ours(name: str) -> Ours:
    found = implementations.find(name)
    if not isinstance(found, Ours) or found.preallocated:
        raise UnknownNameError.among("backend", name, (AUTO, *(n for n in known_backends.NAMES if n != AUTO)))
    return found
