"""Norms of a model that change their class, in place: `convert` to this package's, `revert` to torch.nn's."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from . import backends, modules
from .functional import DEFAULT_BACKEND
from .modules import _WithBackend

_ANY = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _WithBackend)
"""Bases of every norm, torch's and this package's."""

_RANKED = [f"{norm}{rank}d" for norm in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)]
_OURS: dict[type[nn.Module], type[_WithBackend]] = {
    getattr(nn, name): getattr(modules, name) for name in (*_RANKED, "LayerNorm", "GroupNorm", "RMSNorm")
}
_THEIRS: dict[type[nn.Module], type[nn.Module]] = {ours: theirs for theirs, ours in _OURS.items()}


@dataclass(frozen=True)
class Conversion:
    """The modules that `convert` or `revert` changed and left.

    Attributes:
        changed: names of the modules now of another class.
        left: names of norms left alone, with their class: subclasses, whose forward pass may be their own, instances
            whose forward was replaced (as hooks of other libraries do), kinds that have no counterpart here, and for
            `revert` those with an activation or a process group, which torch.nn's would leave out.
    """

    changed: tuple[str, ...]
    left: dict[str, str]


def convert(model: nn.Module, *, backend: str = DEFAULT_BACKEND) -> Conversion:
    """Make every norm of a model compute with that backend, in place.

    A module stays the object that it is and only changes its class: parameters, buffers, hooks, training state, the
    optimizer's references and places that share it are all kept. Exact types of torch.nn only; norms converted before
    get the backend. `nn.TransformerEncoderLayer` in evaluation without gradients does not call its norms.

    Args:
        model: any module, a norm itself too.
        backend: one of `normsuite.backends.NAMES`.

    Raises:
        UnknownNameError: no such backend; the model is unchanged.
    """
    backends.get(backend)
    changed, left = [], {}
    for name, module in _norms(model):
        if "forward" in vars(module):
            left[name] = f"{type(module).__qualname__} with a forward of its own"
        elif type(module) not in _OURS and not isinstance(module, _WithBackend):
            left[name] = type(module).__qualname__
        else:
            module.__class__ = _OURS.get(type(module), type(module))
            setattr(module, "backend", backend)  # noqa: B010  # nn.Module has no such attribute for a type checker
            changed.append(name)
    return Conversion(tuple(changed), left)


def revert(model: nn.Module) -> Conversion:
    """Undo `convert`: every norm that torch.nn has a class for is torch.nn's again, in place."""
    changed, left = [], {}
    for name, module in _norms(model):
        if type(module) in _THEIRS and "forward" in vars(module):
            left[name] = f"{type(module).__qualname__} with a forward of its own"
        elif type(module) in _THEIRS and not _does_more(module):
            module.__class__ = _THEIRS[type(module)]
            module.__dict__.pop("_backend")
            module.__dict__.pop("_activation", None)
            changed.append(name)
        elif type(module) not in _OURS:
            left[name] = type(module).__qualname__
    return Conversion(tuple(changed), left)


def _does_more(module: nn.Module) -> bool:
    """Return whether a module has an activation or a process group, neither of which torch.nn's class has."""
    return module.activation is not None or getattr(module, "process_group", None) is not None


def _norms(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, _ANY))
