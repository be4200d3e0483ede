"""Two versions of this package in one process, each under a name of its own, and what both can be asked to do.

Only what is public and old is used of a version: `NORMS`, `backends.NAMES`, `functional.normalize`, and for the error
rate `study.digits` and `study.train`.
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import torch

from ..measure.cases import Operands
from ..measure.implementations import in_mode
from ..measure.task import EPS
from .cells import Cell
from .trees import PACKAGE

SIDES = BASE, HEAD = "base", "head"


class Absent(Exception):
    """This version does not have what a cell needs."""


def load(folder: Path, side: str, *modules: str) -> ModuleType:
    """The package in that folder, as `normsuite_base` or `normsuite_head`.

    Args:
        folder: holds the package.
        side: its name in this process.
        modules: of it, that are imported too.

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
    return package


def prepare(package: ModuleType, cell: Cell, given: Operands) -> Callable[[], object]:
    """What does the cell once; with gradients switched on or off as the cell's task has it.

    Raises:
        Absent: this version has no such norm or backend.
    """
    task = cell.task
    if task.spec.name not in package.NORMS:
        raise Absent(f"has no norm {task.spec.name}")
    if cell.backend not in package.backends.NAMES:
        raise Absent(f"has no backend {cell.backend}")
    further = {} if task.activation is None else {"activation": task.activation}
    running_mean, running_var = task.running() if not task.training else (None, None)
    forward = partial(
        package.functional.normalize,
        package.NORMS[task.spec.name],
        given.input,
        given.weight,
        given.bias,
        running_mean=running_mean,
        running_var=running_var,
        use_input_stats=task.training,
        eps=EPS,
        num_groups=task.num_groups,
        normalized_shape=task.normalized_shape,
        backend=cell.backend,
        **further,
    )
    return in_mode(task, given, forward)


def ready(package: ModuleType, cell: Cell, given: Operands) -> Callable[[], object]:
    """The same after a first call, which compiles what there is to compile.

    Raises:
        Absent: also where the call fails; the message says how.
    """
    call = prepare(package, cell, given)
    try:
        with torch.set_grad_enabled(cell.task.gradients):
            call()
    except Exception as error:  # of that version: the other cells are measured all the same
        raise Absent(f"fails with {type(error).__name__} ({' '.join(str(error).split())[:200]})") from error
    return call
