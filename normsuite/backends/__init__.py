"""Ways to compute a norm: every module in this folder without a leading underscore is one backend, named like its file.

A backend is three functions over a `Call` (`Backend`, which is checked when one is loaded):

    why_not(call) -> str | None     the reason why it cannot compute this call, or None if it can
    apply(call) -> Tensor     the output; updates the running statistics in place where there are any
    again(call) -> Again | None     a shorter way to `apply` for more calls of its kind, if there is one

Arguments are checked before any of them sees them. What a backend refuses it refuses in `why_not`, or in `apply` before
anything has changed; an exception that ends a call is never caught.

Calls are of one kind where all settings are equal, and each tensor's class, dispatch keys, shape, strides, type, device
and `requires_grad`, with gradients enabled or not (`normsuite.fast_path`). What else an answer depends on `Again.fits`
looks at.
"""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol, runtime_checkable

from torch import (  # not torch itself: here that name is the backend's
    Tensor,
    distributed,
    float32,
    is_grad_enabled,
    ones_like,
    promote_types,
)
from torch.compiler import is_compiling
from torch.nn import functional

from ..errors import UnknownNameError, UnsupportedError, message_of
from ..machine import extras
from ..spec import NormSpec, View
from ..vocabulary import ACTIVATIONS as ACTIVATIONS
from ..vocabulary import BACKEND_ENTRY_POINTS


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One application of a norm, checked.

    Attributes:
        spec, view: the norm, and how it sees `input`.
        input: (N, C, *S).
        weight, bias: as many elements as `view.affine_shape`, or None.
        running_mean, running_var: (C,) or None.
        use_input_stats: statistics of the input; otherwise the running ones.
        momentum: weight of the new value in the running statistics (torch's sense); a tensor of one value where it is
            computed.
        eps: added to the variance, inside the root.
        num_groups, normalized_shape: as the user gave them, for the norms that have them.
        process_group: processes whose batches are one, or None.
        activation: what follows the norm, one of `ACTIVATIONS`, or None.
        out: where to write the output; only where nothing needs a gradient.
    """

    spec: NormSpec
    view: View
    input: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    running_mean: Tensor | None = None
    running_var: Tensor | None = None
    use_input_stats: bool = True
    momentum: float | Tensor = 0.1
    eps: float = 1e-5
    num_groups: int | None = None
    normalized_shape: tuple[int, ...] | None = None
    process_group: "distributed.ProcessGroup | None" = None
    activation: str | None = None
    out: Tensor | None = None

    @property
    def differentiated(self) -> bool:
        """Return whether a backward pass may follow."""
        return is_grad_enabled() and (
            self.input.requires_grad
            or (self.weight is not None and self.weight.requires_grad)
            or (self.bias is not None and self.bias.requires_grad)
        )

    @property
    def trailing(self) -> int:
        """Return over how many trailing dimensions the means are; 0 for a norm over what its axes say."""
        return len(self.normalized_shape) if self.normalized_shape is not None else 0

    @property
    def strided(self) -> bool:
        """Return whether the elements that are averaged may lie apart, so that kernels cannot read them.

        Kernels read elements that lie together or in equal steps.
        """
        return self.normalized_shape is None and "spatial" not in self.spec.axes and self.use_input_stats

    def activate(self, y: Tensor) -> Tensor:
        """Return the activation by torch's own operations, for a backend that does not have it in the same pass."""
        return y if self.activation is None else getattr(functional, self.activation)(y)

    def deliver(self, y: Tensor) -> Tensor:
        """Return the output where the caller asked for it, for a backend that cannot write into `out` itself."""
        return y if self.out is None else self.out.copy_(y)


Given = Tensor | None

_OF_AN_IMPORT = (ImportError, AttributeError, OSError, RuntimeError, ValueError, SystemError)
"""What importing a backend raises where a library is missing or refuses, as one that was built for another NumPy."""


def update(running: Tensor, new: Tensor, weight: float | Tensor) -> None:
    """Set running ← (1 − weight) · running + weight · new as torch does: a variance that is infinite stays so.

    Computed in float32 or wider and rounded once.
    """
    wide = promote_types(running.dtype, float32)
    if isinstance(weight, Tensor):
        weight = weight.to(wide)
    running.copy_((1 - weight) * running.to(wide) + weight * new.reshape(running.shape).to(wide))


def why_not_saved(call: Call, *names: str) -> str | None:
    """Return the reason why autograd would not save one of those tensors for the backward pass, or None.

    Functions of our own save tensors after they have computed, when running statistics have moved.
    """
    if is_compiling() or not call.differentiated:
        return None
    for name in names:
        if (given := getattr(call, name)) is not None and given.is_inference():
            return f"saves {name} for the backward pass, which was made in inference mode: clone it first"
    return None


def kernel_weight(weight: Given, bias: Given) -> Given:
    """Return the weight, or ones where there is only a bias, which kernels do not take alone."""
    return ones_like(bias) if weight is None and bias is not None else weight


def repeats_weight(spec: NormSpec) -> bool:
    """Return whether torch's call repeats the weight for each sample: it may change before the backward pass."""
    return spec.torch_call == "instance_norm"


def saved_weight(spec: NormSpec, weight: Given) -> Given:
    """Return the weight that the backward pass reads: a copy that can be differentiated, where torch's call has one."""
    if weight is not None and repeats_weight(spec) and weight.requires_grad and is_grad_enabled():
        return weight.clone()
    return weight


def with_value(seen: Given, source: Tensor) -> Tensor:
    """Return a tensor that has the values which the forward pass saw, and passes its gradient on to `source`.

    Without values it has zeros. The source itself may have been changed since.
    """
    change = source - source.detach()
    return change if seen is None else seen + change


def moves_last(spec: NormSpec, activation: str | None) -> bool:
    """Return whether running statistics are moved after the last tensor is saved for the backward pass, as in torch.nn.

    Gradient checkpointing stops its recomputation at that tensor, so this decides whether they move a second time.
    Torch's InstanceNorm moves them behind its norm, and so twice only where an activation saves something later.
    """
    return "batch" not in spec.axes and activation is None


class Again(NamedTuple):
    """A shorter way for calls of one kind.

    Attributes:
        compute: the output from what differs between such calls: input, weight, bias, running_mean, running_var,
            momentum (a float) and out. Keeps no tensor.
        fits: whether `compute` may have these, from the same without momentum; None where it may have all. Their guards
            are equal to those of the call's. It changes nothing and raises nothing: where it says no, the
            call is checked and applied as if it were the first.
    """

    compute: Callable[[Tensor, Given, Given, Given, Given, float, Given], Tensor]
    fits: Callable[[Tensor, Given, Given, Given, Given, Given], bool] | None = None


@runtime_checkable
class Backend(Protocol):
    """The functions that a module in this folder has to have."""

    def why_not(self, call: Call) -> str | None:
        """Return the reason why this backend cannot compute a call, or None if it can."""
        ...

    def apply(self, call: Call) -> Tensor:
        """Return the output of a call, and update its running statistics in place where it has any."""
        ...

    def again(self, call: Call) -> Again | None:
        """Return a shorter way to `apply` for more calls of this kind, or None if there is none."""
        ...


ENTRY_POINTS = BACKEND_ENTRY_POINTS
_OWN = frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
_ANNOUNCED = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _OWN}
"""Modules of other packages that announce themselves as backends."""

NAMES: tuple[str, ...] = tuple(sorted(_OWN | _ANNOUNCED.keys()))
"""Every backend, found by its file or its entry point; none is imported before it is used."""

_loaded: dict[str, Backend] = {}
_broken: dict[str, str] = {}
"""Why a backend that was asked for could not be loaded."""


def get(name: str) -> Backend:
    """Return the backend of that name.

    Raises:
        UnknownNameError: there is none.
        UnsupportedError: what it is built on is not installed, or it is not a `Backend`.
    """
    if not isinstance(name, str) or name not in NAMES:
        raise UnknownNameError.among("backend", name, NAMES)
    reason = why_not_loaded(name)
    if reason is not None:
        raise UnsupportedError("backend", name, reason)
    return _loaded[name]


def why_not_loaded(name: str) -> str | None:
    """Return the reason why the backend of that name cannot be used, or None.

    The first call of a name loads its module.
    """
    if name in _loaded:
        return None
    if name not in _broken:
        try:
            module = _ANNOUNCED[name].load() if name in _ANNOUNCED else import_module(f".{name}", __name__)
        except _OF_AN_IMPORT as error:
            if isinstance(error, TimeoutError) and error.errno is None:  # of a signal's handler, not of the system
                raise
            absent = error.name if isinstance(error, ModuleNotFoundError) else None
            _broken[name] = f"cannot be imported ({extras.advice(absent) if absent else message_of(error)})"
        else:
            missing = _missing(module)
            if not missing:
                _loaded[name] = module
                return None
            _broken[name] = f"is no backend: lacks {', '.join(missing)}"
    return _broken[name]


# torch.compile takes the answer instead of tracing an import. torch.compiler.assume_constant_result sets the same, and
# imports the compiler.
why_not_loaded._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _missing(module: object) -> list[str]:
    """Return the functions of the protocol that the module lacks or that do not take one call."""
    wanted = [name for name in vars(Backend) if not name.startswith("_")]
    return [f"{name}(call)" for name in wanted if not _takes_a_call(getattr(module, name, None))]


def _takes_a_call(function: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def checked(call: Call, backend: str) -> Backend:
    """Return the backend of that name, which can compute the call.

    Raises:
        UnknownNameError: there is no such backend.
        UnsupportedError: it cannot compute this call.
    """
    module = get(backend)
    reason = module.why_not(call)
    if reason is not None:
        raise UnsupportedError("backend", backend, reason)
    return module
