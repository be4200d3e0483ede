"""A user's norm by its import path and arguments, such as "timm.layers:RmsNorm(768)": its name says all of it."""

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn

from ...errors import NormsuiteError, UnsupportedError
from ...targets import arguments
from ...targets.build import EPS_NAMES, Built, build
from ...targets.loading import ImportPathError, path_in, search_here
from ...targets.target import Target
from ...targets.wrapped import Activated, FunctionNorm
from ..process_state import unchanged, why_not_silent
from ..task import DTYPES, EPS
from . import Implementation, in_mode, written_out

_NAME = re.compile(r"(?P<path>[\w.]+:[\w.]+)(?:\((?P<args>.*)\))?")
_ROUNDING = 16

IMPLEMENTATIONS = ()
"""Empty: a user's norms are named by the user."""


@dataclass(frozen=True)
class TargetNorm(Implementation):
    """A target as an implementation, on the operands of the task and with its eps.

    Attributes:
        package: the version of the target's package that is called, the importable one where None.
    """

    package: ModuleType | None = None

    @property
    def target(self) -> Target:
        """Return the target, like no norm in particular: of the version of its package, if one is given."""
        found = described(self.name)
        if self.package is None:
            return found
        return replace(found, make=path_in(self.package.__name__, str(found.make)))

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the module that the target is imported from."""
        return (str(described(self.name).make).partition(":")[0],)

    def of(self, package):
        """Return the same implementation by another version of the target's package."""
        return replace(self, package=package)

    def why_not(self, task):
        """Return the reason why it cannot do a task: a target makes its own output."""
        return "makes its own output" if self.preallocated else None

    def prepare(self, task, given):
        """Make the target, and return its call on the operands of the task.

        Raises:
            Unmeasurable: its times or errors would say nothing, or making it changes global state of the process.
            UnsupportedError: it cannot do the task.
        """
        if self.package is None:
            search_here()
        with unchanged() as changed:
            call = self._prepared(task, given)
        if changed:
            raise Unmeasurable(f"changes {changed[0]}")
        return call

    def lacks(self, task):
        """Return which of "weight" and "bias" the target does not have; raises as `prepare`."""
        if self.package is None:
            search_here()
        with unchanged():
            built = self._built(task)
        return tuple(role for role in ("weight", "bias") if built.tensor(role) is None)

    def _built(self, task):
        target = replace(self.target, like=task.spec.name, num_groups=task.num_groups, activation=task.activation)
        try:
            return build(target, shape=task.case.shape, dtype=DTYPES[task.dtype], device=task.device)
        except ImportPathError as error:  # it is not there; what is there and cannot be made fails
            raise UnsupportedError("backend", self.name, str(error)) from error

    def _prepared(self, task, given):
        built = self._built(task)
        module = _with_eps(built)
        groups = _groups(built)
        if task.spec.groups == "given" and groups is not None and groups != task.num_groups:
            raise Unmeasurable(f"has {groups} groups, not {task.num_groups}: say its num_groups")
        own = {"weight": given.weight, "bias": given.bias}
        for role, operand in own.items():
            own[role] = _shared(built, role, operand)
        module.train(task.training)
        running = dict(zip(("running_mean", "running_var"), task.running(), strict=True))
        for role, values in running.items():
            if values is not None and (buffer := built.tensor(role)) is not None:
                buffer.copy_(values)
        x = given.input
        try_out(module, x)
        return in_mode(task, replace(given, **own), _call(module, x))


def _call(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """Return a call of a target: of a module, or of a function alone, as torch.nn's own is called."""
    if not isinstance(module, FunctionNorm):
        return lambda: module(x)
    function = module.function
    if isinstance(function, Activated):
        return written_out(function.function, [x], module.keywords(), then=function.activation)
    return written_out(function, [x], module.keywords())


def _groups(built: Built) -> int | None:
    """Return the number of groups that a target was made with, as far as torch.nn's name shows it."""
    module = built.module
    found = (
        module.settings.get("num_groups") if isinstance(module, FunctionNorm) else getattr(module, "num_groups", None)
    )
    return found if type(found) is int else None


@cache
def parsed(name: str) -> Target | None:
    """Return the target that a name such as "module:Norm(4, 64, eps=1e-6)" describes, or None for another name.

    Raises:
        ArgumentError: arguments that are no literals of Python.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    args, kwargs = arguments.parse(found["args"] or "")
    return Target(found["path"], args=args, kwargs=kwargs)


def described(name: str) -> Target:
    """Return the target that a name describes; raises as `parsed`.

    Raises:
        ImportPathError: the name begins with no import path.
    """
    found = parsed(name)
    if found is None:
        raise ImportPathError("target", name, 'must begin with an import path such as "package.module:Name"')
    return found


def named(name: str) -> TargetNorm | None:
    """Return the implementation of such a name, or None; raises as `parsed`."""
    return None if parsed(name) is None else TargetNorm(name)


def name_of(path: str, args: Sequence = (), kwargs: Mapping[str, object] = {}) -> str:
    """Return the name of a path with arguments."""
    written = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"{path}({', '.join(written)})" if written else path


class Unmeasurable(NormsuiteError):
    """A target's times or errors would say nothing; the message says why."""


def try_out(module: nn.Module, x: Tensor) -> None:
    """Call a target three times, and leave it and its input as they were.

    Raises:
        Unmeasurable: it returns something else than a tensor like its input, changes its input, prints, or its output
            depends on earlier calls.
    """
    state = {name: tensor.clone() for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    x = x.detach()
    kept, said = x.clone(memory_format=torch.preserve_format), io.StringIO()
    try:
        with torch.no_grad(), contextlib.redirect_stdout(said):
            first = module(x)
            if not isinstance(first, Tensor):
                raise Unmeasurable(f"returns {type(first).__name__} and no tensor")
            if (first.shape, first.dtype) != (x.shape, x.dtype):
                raise Unmeasurable(f"returns {_kind(first)} for an input of {_kind(x)}")
            if not torch.equal(x, kept):
                raise Unmeasurable("changes its input")
            first = first.clone()
            module(kept * 5 + 3)
            again = module(x)
        close = _ROUNDING * torch.finfo(x.dtype).eps  # equal but for another order of additions
        if not torch.allclose(first, again, rtol=close, atol=close, equal_nan=True):
            raise Unmeasurable("keeps state between calls: the same input gives another output after another one")
        if (reason := why_not_silent(said)) is not None:
            raise Unmeasurable(reason)
    finally:
        x.copy_(kept)
        for name, tensor in module.state_dict().items():
            if name in state:
                tensor.copy_(state[name])


def _kind(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"


def _with_eps(built: Built) -> nn.Module:
    """Return the module with the task's eps, so that all compute the same."""
    module = built.module
    if isinstance(module, FunctionNorm):  # one without such a parameter has an eps of its own
        taken = arguments.parameters(module.function) or {}
        module.settings.update({name: EPS for name in EPS_NAMES if name in taken})
        return module
    for name in EPS_NAMES:
        if isinstance(value := getattr(module, name, None), Tensor):
            value.data.fill_(EPS)
        elif hasattr(module, name):
            setattr(module, name, EPS)
    return module


def _without_ones(shape: torch.Size) -> list[int]:
    """Return the sizes above 1: some norms have weights of (C, 1, 1)."""
    return [size for size in shape if size > 1]


def _shared(built: Built, role: str, operand):
    """Return the target's own parameter with the operand's values and memory, or None where it has none."""
    parameter = built.tensor(role)
    if parameter is None:
        return None
    if operand is None:
        parameter.requires_grad_(False)
        parameter.data.zero_()
        return None
    if _without_ones(parameter.shape) != _without_ones(operand.shape):
        raise UnsupportedError("backend", built.title, f"has a {role} of shape {tuple(parameter.shape)}")
    parameter.data = operand.detach().view(parameter.shape)
    parameter.requires_grad_(operand.requires_grad)
    return parameter
