"""A workload: a named thing to run. One implementation does one task: a norm on a case in a mode and type on a device.

Everything that measures takes workloads, so that there is one place that says what is called: what a user calls, a
public function or module of ours, torch.nn's, a rival's, or a callable of a user's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Protocol, TypeVar

import torch

from ..errors import ArgumentError, UnsupportedError, one_line
from ..machine import device as devices
from ..spec import find
from . import cases, implementations
from .cases import Case
from .clock import Call
from .device_clock import operand_sets
from .implementations import Implementation
from .labels import HOST
from .metric import COUNTED, Metric
from .operands import Operands
from .task import Task

FREE_SHARE = 0.5
"""Share of an accelerator's free memory that a task may take."""


class Absent(Exception):
    """The implementation, or that version of normsuite, cannot do the task; the message says why."""


class CallFailed(Absent):
    """A first call raised an error; the message names it."""


@dataclass(frozen=True)
class Workload:
    """One implementation that does one task.

    Attributes:
        implementation: what computes: a function or module of ours, torch.nn, a rival, or a user's own.
        task: what is computed.
    """

    implementation: Implementation
    task: Task

    @property
    def name(self) -> str:
        """Return its name, such as GroupNorm/numba/study/step, with /relu behind it where that activation follows.

        Last stands /host where host time counts.
        """
        task = self.task
        parts = (task.activation, task.dtype != "float32" and task.dtype, task.host_time and HOST)
        further = [part for part in parts if part]
        return "/".join([task.spec.name, self.backend, task.case.name, task.mode, *further])

    @property
    def backend(self) -> str:
        """Return the implementation's label, which records call a backend."""
        return self.implementation.label

    def why_not(self) -> str | None:
        """Return the reason why it cannot be run, or None."""
        return self.implementation.why_not(self.task)

    def of(self, package: ModuleType) -> "Workload":
        """Return the same workload on another version of normsuite."""
        return Workload(self.implementation.of(package), self.task)

    def prepare(self, given: Operands | None = None) -> Call:
        """Return a call without arguments that does the task once; setup is done here and is not timed.

        The call is to be made with gradients switched on or off, as `task.gradients` says.

        Args:
            given: the operands; the task's own where left out.

        Raises:
            UnsupportedError: the implementation cannot do the task.
        """
        return self.implementation.prepare(self.task, self.task.operands() if given is None else given)

    def ready(self, sets: Sequence[Operands]) -> list[Call]:
        """Return a call for each set of operands, after a first call of each, which compiles what there is to compile.

        Raises:
            Absent: the implementation cannot do the task.
            CallFailed: a call raised an error.
            torch.AcceleratorError: the device is lost for this process, and not for this workload alone.
        """
        reason = self.why_not()
        if reason is not None:
            raise Absent(reason)
        try:
            with torch.set_grad_enabled(self.task.gradients):
                calls = self.implementation.prepare_each(self.task, sets)
                for call in calls:
                    call()
        except UnsupportedError as error:
            raise Absent(error.reason) from error
        except torch.AcceleratorError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of any library or version: the other workloads are measured all the same
            raise CallFailed(one_line(error)) from error
        return calls

    def as_dict(self) -> dict:
        """Return the workload for a record."""
        return {**self.task.as_dict(), "backend": self.backend}

    @classmethod
    def from_dict(cls, found: dict) -> "Workload":
        """Return the workload that `as_dict` describes, also when it was stored as JSON."""
        return cls(implementations.find(found["backend"]), Task.from_dict(found))


def named(
    norm: str,
    implementation: str,
    case: str | Case,
    mode: str = "forward",
    *,
    activation: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Workload:
    """Return the workload of those names.

    Args:
        norm: a norm's name.
        implementation: a label, such as "auto", "numba", "auto BatchNorm2d" or "torch.nn".
        case: a case, or its name.
        mode: one of `task.MODES`.
        activation, dtype, device: as in `Task`.

    Raises:
        UnknownNameError: there is no such norm, implementation or case.
    """
    case = cases.find(case) if isinstance(case, str) else case
    return Workload(implementations.find(implementation), Task(find(norm), case, mode, activation, dtype, device))


class Named(Protocol):
    """Whatever has a name in a table."""

    @property
    def name(self) -> str:
        """Return the name."""
        ...


Cells = TypeVar("Cells", bound=Named)


def matching(found: Sequence[Cells], only: Sequence[str]) -> list[Cells]:
    """Return those whose names match one of the patterns, all where there is no pattern.

    Args:
        found: workloads, or whatever has a name.
        only: patterns such as "GroupNorm/*/step"; a * takes / too, and an x in them stands for × between sizes, too.

    Raises:
        ArgumentError: a pattern that none matches.
    """

    def matches(name: str, pattern: str) -> bool:
        return fnmatchcase(name, pattern) or fnmatchcase(name.replace("×", "x"), pattern)

    for pattern in only:
        if not any(matches(each.name, pattern) for each in found):
            raise ArgumentError("only", pattern, f"matches none of the {len(found)} cells, such as {found[0].name}")
    return [each for each in found if not only or any(matches(each.name, pattern) for pattern in only)]


def sets(task: Task, *, held: int = 1) -> list[Operands]:
    """Return the operands of a task: one set, or on an accelerator so many that no call finds its input in a cache.

    Args:
        task: the task.
        held: how many implementations keep what their forward pass saved, where only the backward pass is timed.

    Raises:
        Absent: an accelerator has no room for a single set.
    """
    if not task.on_accelerator:
        return [task.operands()]
    number = sets_that_fit(task, devices.free_bytes(task.device), devices.cache_bytes(task.device), held=held)
    if not number:
        raise Absent(f"needs more than half of the memory that is free on {task.device}")
    return [task.operands(number) for number in range(number)]


def sets_that_fit(task: Task, free_bytes: int, cache_bytes: int, *, held: int = 1) -> int:
    """Return how many sets of operands a task gets; 0 where not even one has room.

    In memory at once are for each of them x, dy, what a graph makes (y, dx, and between them what goes from the norm to
    the activation), and for a backward pass what each implementation keeps of its forward pass.
    """
    tensors = 5 if task.gradients else 3
    if task.mode == "backward" and task.activation is not None:
        tensors += held
    wanted = operand_sets(task.bytes * (2 if task.gradients else 1), cache_bytes)
    return min(wanted, int(FREE_SHARE * free_bytes) // (tensors * task.bytes))


@dataclass(frozen=True)
class Subject:
    """A prepared workload, of which metrics count something.

    Attributes:
        task, given: what is computed, of which operands; None for those of a prepared call, which are its own.
        call: does the task.
        step: a call of a whole training step, or None where only another pass can be called.
    """

    task: Task
    given: Operands | None
    call: Call
    step: Call | None

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Return the weight and the bias, as far as there are any."""
        return [] if self.given is None else [t for t in (self.given.weight, self.given.bias) if t is not None]

    def counts(self) -> dict[Metric, float | None]:
        """Return the values of all metrics that count something of such a task."""
        asked = (m for m in COUNTED if self.task.gradients or not m.of_steps)
        return {m: m.count(self) for m in asked if m.count is not None}
