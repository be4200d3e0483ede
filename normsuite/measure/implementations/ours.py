"""normsuite's own norms as users call them: the function of a norm, or one of the public modules, of any backend.

A norm without a function of its own, such as one from a TOML file, is called through `functional.normalize`, and its
module is the general one: that is what its users call.
"""

import inspect
import re
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import ClassVar

import torch
from torch import nn

from ... import _LAZY, backends, functional, modules
from ...errors import UnknownNameError, UnsupportedError
from ..labels import AUTO, MODULES
from ..task import EPS, MOMENTUM
from . import Implementation, by_place, in_mode, written_out

FUNCTIONS = tuple(name for name, home in _LAZY.items() if home == "functional")
"""The public functions."""


@dataclass(frozen=True)
class Ours(Implementation):
    """A public function or module of ours, by one backend.

    Attributes:
        package: the version of normsuite that is called, this one where None.
    """

    package: ModuleType | None = None
    packages: ClassVar[tuple[str, ...]] = ("numba", "triton")

    @property
    def backend(self) -> str:
        """Return its backend, one of `backends.NAMES`."""
        return self.name.split()[0]

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the modules that a version of the package is asked for."""
        return tuple(module.__name__ for module in (functional, modules, backends))

    def of(self, package):
        """Return the same implementation by another version of normsuite."""
        return replace(self, package=package)

    def entry(self, task) -> str:
        """Return the name of the public function or module that is called."""
        raise NotImplementedError

    def missing(self, task) -> str | None:
        """Return what the version that is called lacks of what this task needs, or None."""
        package = self.package
        if package is None:
            return None
        if task.spec.name not in package.NORMS:
            return f"no norm {task.spec.name}"
        if self.backend not in getattr(getattr(package, "backends", None), "NAMES", ()):
            return f"no backend {self.backend}"
        home, kind = self._home()
        return None if hasattr(home, self.entry(task)) else f"no {kind} {self.entry(task)}"

    def _home(self) -> tuple[ModuleType, str]:
        """Return the module in which the entry is found, and what the entry is."""
        raise NotImplementedError

    def _callee(self, task):
        missing = self.missing(task)
        if missing is not None:
            raise UnsupportedError("version", self.package.__name__, f"has {missing}")
        return getattr(self._home()[0], self.entry(task))

    def _keywords(self, task) -> dict[str, object]:
        return {"backend": self.backend, **({} if task.activation is None else {"activation": task.activation})}


class Function(Ours):
    """The norm's function, with an output of its own or into one that exists."""

    def why_not(self, task):
        """Return that an output that exists takes no gradients, or None."""
        return "an output that exists takes no gradients" if self.preallocated and task.gradients else None

    def entry(self, task):
        """Return the name of the function that users call for this norm."""
        named = functional.NAMED.get(task.spec.name)
        return "normalize" if named is None else named.__name__

    def _home(self):
        return functional if self.package is None else getattr(self.package, "functional", None), "function"

    def prepare(self, task, given):
        """Return the call of the norm's function on the operands of the task."""
        function, keywords = self._callee(task), self._keywords(task)
        if self.preallocated:
            keywords["out"] = torch.empty_like(given.input)
        if self.entry(task) != "normalize":
            return in_mode(task, given, written_out(function, by_place(function, task, given), keywords))
        running_mean, running_var = task.running()
        keywords |= {
            "running_mean": running_mean,
            "running_var": running_var,
            "use_input_stats": task.training,
            "momentum": MOMENTUM,
            "eps": EPS,
            "num_groups": task.num_groups,
            "normalized_shape": task.normalized_shape,
        }
        spec = task.spec if self.package is None else self.package.NORMS[task.spec.name]
        arguments = (spec, given.input, given.weight, given.bias)
        return in_mode(task, given, written_out(function, arguments, keywords))


class Module(Ours):
    """One of the public modules; its name is the backend's and the class's, such as "auto BatchNorm2d"."""

    def why_not(self, task):
        """Return that the class is of another norm or rank than the task, or None."""
        norm, dimensions = of_class(self.entry_class)
        if task.spec.name != norm:
            return f"{self.entry_class} is a {norm}"
        if dimensions is not None and len(task.case.shape) != dimensions:
            return f"{self.entry_class} takes {dimensions} dimensions"
        return None

    def entry(self, task):
        """Return the name of the module's class."""
        return self.entry_class

    @property
    def entry_class(self) -> str:
        """Return the name of the class."""
        return self.name.split()[1]

    def _home(self):
        return modules if self.package is None else getattr(self.package, "modules", None), "module"

    def prepare(self, task, given):
        """Make the module with the operands' memory as its parameters, and return its call."""
        module = self._made(self._callee(task), task)
        # The module has parameters of its own class, which share the operands' memory.
        of_module = {
            name: nn.Parameter(t.detach(), requires_grad=t.requires_grad)
            for name, t in (("weight", given.weight), ("bias", given.bias))
            if t is not None
        }
        for name, parameter in of_module.items():
            setattr(module, name, parameter)
        module.train(task.training)
        x = given.input
        return in_mode(task, replace(given, **of_module), lambda: module(x))

    def _made(self, cls: type[nn.Module], task) -> nn.Module:
        values = {
            "num_features": task.case.shape[1],
            "num_channels": task.case.shape[1],
            "num_groups": task.num_groups,
            "normalized_shape": task.normalized_shape,
            "eps": EPS,
            "momentum": MOMENTUM,
            "affine": True,
            "elementwise_affine": True,
            "track_running_stats": task.spec.running == "always",
        }
        taken = inspect.signature(cls).parameters
        module = cls(**{name: value for name, value in values.items() if name in taken}, **self._keywords(task))
        module.to(task.device)
        running_mean, running_var = task.running()
        if running_mean is not None:
            module.running_mean, module.running_var = running_mean, running_var
        return module


def of_class(name: str) -> tuple[str, int | None]:
    """Return the norm of a module's class, and how many dimensions its input has, None for any number."""
    found = re.fullmatch(r"(\w+?)(?:(\d)d)?", name)
    assert found is not None, "a class has a name"
    norm, rank = found.groups()
    return norm, None if rank is None else int(rank) + 2


@cache
def module(name: str) -> Module | None:
    """Return the implementation of a name such as "auto BatchNorm2d", or None where there is no such one.

    Raises:
        UnknownNameError: a backend of ours is named, but no module.
    """
    backend, _, cls = name.partition(" ")
    if backend not in (AUTO, *backends.NAMES) or not cls:
        return None
    if cls not in MODULES:
        raise UnknownNameError.among("module", cls, MODULES)
    return Module(name)


def case_of(name: str) -> str:
    """Return the small case that a module's class is called on, where its own overhead is most of the time."""
    dimensions = of_class(name)[1]
    return "tiny" if dimensions in (None, 4) else f"tiny-{dimensions - 2}d"


# The reference is slow on purpose and is timed when asked for; preallocated outputs are shown for what users get.
IMPLEMENTATIONS = tuple(
    Function(
        name,
        preallocated,
        by_default=name == AUTO or not (preallocated or name == "reference"),
        on_accelerators=name in (AUTO, "triton") and not preallocated,
    )
    for name in dict.fromkeys((AUTO, *backends.NAMES))
    for preallocated in (False, True)
)
