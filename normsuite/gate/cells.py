"""What a gate measures: norm × backend × case × mode, a cell each."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .. import document
from ..errors import ArgumentError
from ..measure import task as tasks
from ..measure.task import Task

NORMS = tuple(example.norm for example in document.EXAMPLES)
BACKENDS = ("torch", "numba")
CASES = ("tiny", "study", "stage-14")
"""A call that costs more than its arithmetic, one that fits the first caches, one that fits the last."""

MODES = ("forward", "step")


@dataclass(frozen=True)
class Cell:
    """One norm applied to one case by one backend, in one mode."""

    task: Task
    backend: str

    @property
    def name(self) -> str:
        """GroupNorm/numba/study/step, with /relu behind it where that activation follows."""
        task = self.task
        further = [part for part in (task.activation, None if task.dtype == "float32" else task.dtype) if part]
        return "/".join([task.spec.name, self.backend, task.case.name, task.mode, *further])

    def as_dict(self) -> dict:
        return {**self.task.as_dict(), "backend": self.backend}

    @classmethod
    def from_dict(cls, found: dict) -> "Cell":
        """What `as_dict` says, perhaps after a journey as JSON."""
        return cls(Task.from_dict(found), found["backend"])


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
    """The cells of a table.

    Args:
        norms, backends, cases, modes, activations, dtypes: names; the default table's where left out.
        only: patterns of cells' names, such as "GroupNorm/*/step"; a * takes / too.
        device: "cpu" or the accelerator's name.

    Raises:
        ArgumentError: a name that does not exist, or a pattern that no cell matches.
    """
    from .. import backends as known

    if "backward" in modes:
        raise ArgumentError("mode", "backward", "the gate measures it within a step")
    for name in backends:
        known.get(name)
    found = [
        Cell(task, backend)
        for task in tasks.plan(
            norms=norms or NORMS,
            names=cases or CASES,
            modes=modes or MODES,
            activations=activations or (tasks.NO_ACTIVATION,),
            dtypes=dtypes or ("float32",),
            device=device,
        )
        for backend in dict.fromkeys(backends or BACKENDS)
    ]
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in found):
            raise ArgumentError("only", pattern, f"matches none of the {len(found)} cells, such as {found[0].name}")
    return [cell for cell in found if not only or any(fnmatchcase(cell.name, pattern) for pattern in only)]
