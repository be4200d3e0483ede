"""Implementations of norms: every module in this folder names its `IMPLEMENTATIONS`, and is found by its file.

None imports its library before it is used: a library that is not installed is a reason in the table, not an error.
"""

import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import ClassVar

import torch

from ...errors import UnknownNameError
from ..labels import AGAIN, BASELINE, COPY, PREALLOCATED
from ..operands import Operands
from ..task import EPS, MOMENTUM, Task

PEERS = "pip install 'normsuite[peers]'"


@dataclass(frozen=True)
class Implementation(ABC):
    """One way to compute norms: a library's, torch's or ours.

    Attributes:
        name: what a user types after --backend.
        preallocated: writes into an output that exists, instead of making one.
        by_default: measured where none is named.
        on_accelerators: measured on an accelerator where none is named.
        pool: threads that it computes with; those of equal name share them.
        torch_memory: makes its tensors with torch, so that its bytes can be counted.
        is_norm: computes what torch.nn computes, so that its result can be checked.
        packages: distributions that it needs, whose versions a record names.
    """

    name: str
    preallocated: bool = False
    by_default: bool = True
    on_accelerators: bool = False
    pool: ClassVar[str] = "openmp"
    torch_memory: ClassVar[bool] = True
    is_norm: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """Return its name in records and tables."""
        return f"{self.name}{PREALLOCATED}" if self.preallocated else self.name

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the modules that a version of its package is asked for; none where no version of it is compared."""
        return ()

    def why_not(self, task: Task) -> str | None:
        """Return the reason why it cannot do the task, or None."""
        return None

    @abstractmethod
    def prepare(self, task: Task, given: Operands) -> Callable[[], object]:
        """Prepare all that is done once, and return a call without arguments that runs the task once.

        The call is made with gradients switched on or off as the task has it.

        Raises:
            UnsupportedError: it turns out that it cannot do the task.
        """

    def prepare_each(self, task: Task, sets: Sequence[Operands]) -> list[Callable[[], object]]:
        """Return a call as of `prepare` for each set of operands; raises what `prepare` does."""
        return [self.prepare(task, given) for given in sets]

    def lacks(self, task: Task) -> tuple[str, ...]:
        """Return which of "weight" and "bias" it leaves out of the task."""
        return ()

    def of(self, package: ModuleType) -> "Implementation":
        """Return the same implementation by another version of its package; itself where that makes no difference."""
        return self

    def tensors(self, value: object) -> tuple[torch.Tensor, ...]:
        """Return a call's result as torch's tensors: y alone in forward and evaluation tasks.

        In a step the gradients of input, weight and bias stand behind it; in a backward pass they stand alone.
        """
        return value if isinstance(value, tuple) else (value,)


def in_mode(task: Task, given: Operands, forward: Callable[[], torch.Tensor]) -> Callable[[], object]:
    """Return the call that a task times: the forward pass, a whole step, or torch's backward pass alone.

    For the backward pass alone, the forward pass is done now.
    """
    if not task.gradients:
        return forward
    wanted = [t for t in (given.input, given.weight, given.bias) if t is not None]
    dy = given.dy

    if task.mode == "backward":
        with torch.enable_grad():
            edge = torch.autograd.graph.get_gradient_edge(forward())  # y itself need not stay in memory
        return lambda: torch.autograd.grad(edge, wanted, dy, retain_graph=True)

    def step() -> tuple[torch.Tensor, ...]:
        y = forward()
        return (y, *torch.autograd.grad(y, wanted, dy))

    return step


def by_place(call: Callable, task: Task, given: Operands) -> list[object]:
    """Return the arguments that a norm's function takes by place, by their names in torch.nn.functional."""
    running_mean, running_var = task.running()
    values = {
        "input": given.input,
        "weight": given.weight,
        "bias": given.bias,
        "running_mean": running_mean,
        "running_var": running_var,
        "training": task.training,
        "use_input_stats": task.training,
        "momentum": MOMENTUM,
        "eps": EPS,
        "num_groups": task.num_groups,
        "normalized_shape": task.normalized_shape,
    }
    arguments = inspect.signature(call).parameters.values()
    return [values[a.name] for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD]


def written_out(
    function: Callable,
    arguments: Sequence[object],
    keywords: Mapping[str, object] | None = None,
    then: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Callable[[], torch.Tensor]:
    """Return a call of `function` with those arguments, and of `then` with its result, as written out by hand.

    Stars and functools.partial make a tuple and a dictionary at each call, which takes a thirtieth of a small norm's
    time.
    """
    keywords = keywords or {}
    places = {f"argument_{place}": value for place, value in enumerate(arguments)}
    written = f"function({', '.join([*places, *(f'{name}={name}' for name in keywords)])})"
    if then is not None:
        written = f"then({written})"
    return eval(f"lambda: {written}", {"function": function, "then": then, **places, **keywords})


def not_installed(*packages: str, command: str = PEERS) -> str | None:
    """Return which of the packages is missing and how to get it, or None."""
    missing = [package for package in packages if find_spec(package) is None]
    return f"{' and '.join(missing)} not installed: {command}" if missing else None


@cache
def everyone() -> tuple[Implementation, ...]:
    """Return all implementations but our modules: torch.nn and the copies first, then ours, then the rivals."""
    first = ("torch_nn", "copy", "ours")
    others = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in first)
    modules = [import_module(f".{name}", __name__) for name in (*first, *others)]
    return tuple(implementation for module in modules for implementation in module.IMPLEMENTATIONS)


def find(label: str) -> Implementation:
    """Return the implementation of that label: also our modules, as "auto BatchNorm2d", and "module:Norm(8)".

    Raises:
        UnknownNameError: there is none.
    """
    from .ours import module
    from .target_norms import named

    known = {implementation.label: implementation for implementation in everyone()}
    found = known.get(label) or module(label) or named(label)
    if found is None:
        raise UnknownNameError.among("backend", label, known)
    return found


def choose(names: Sequence[str] = (), *, device: str = "cpu") -> list[Implementation]:
    """Return the implementations of the given names, or those of the default table of that device.

    torch.nn and the copies are always among them, as what the others are compared with.

    Raises:
        UnknownNameError: there is none of that name.
    """
    from .ours import module
    from .target_norms import named

    known = list(dict.fromkeys(implementation.name for implementation in everyone()))
    modules = []
    for name in dict.fromkeys(name for name in names if name not in known):
        found = module(name) or named(name)
        if found is None:
            raise UnknownNameError.among("backend", name, known)
        modules.append(found)
    if device != "cpu" and not names:
        return [c for c in everyone() if c.on_accelerators]
    always = (BASELINE, AGAIN, COPY)
    return [c for c in everyone() if c.name in always or (c.name in names if names else c.by_default)] + modules
