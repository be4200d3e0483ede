"""Ways to compute a norm: every module in this folder is one backend, named like its file.

A backend is four functions, three of them over a `Call`:

    why_not(call) -> str | None     the reason why it cannot compute this call, or None if it can
    apply(call) -> Tensor     the output; updates the running statistics in place where there are any
    again(call) -> Again | None     a shorter way to `apply` for more calls of its kind, if there is one
    unchecked(spec, activation) -> Unchecked | None     a way for small calls that looks at them itself, if any

Arguments are checked before `why_not` and `apply` see them. Calls are of one kind where all settings are equal, which
tensors are given, the input's sizes (how many numbers, for a norm over trailing sizes) and whether it is contiguous,
and whether a gradient may be asked for. The rest is for `again` to look at, if what it calls does not look anyway.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from torch import Tensor, distributed, is_grad_enabled  # not torch itself: here that name is the backend's
from torch.nn import functional

from ..errors import UnknownNameError, UnsupportedError
from ..spec import NormSpec, View


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One application of a norm, checked.

    Attributes:
        spec, view: the norm, and how it sees `input`.
        input: (N, C, *S), any floating-point type.
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
        """Whether a backward pass may follow."""
        return is_grad_enabled() and (
            self.input.requires_grad or (self.weight is not None and self.weight.requires_grad)
        )

    def activate(self, y: Tensor) -> Tensor:
        """The activation in torch's own operations, for a backend that does not have it in the same pass."""
        return y if self.activation is None else getattr(functional, self.activation)(y)

    def deliver(self, y: Tensor) -> Tensor:
        """The output where it was asked for, from a backend that cannot write there itself."""
        return y if self.out is None else self.out.copy_(y)


Again = Callable[
    [Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, float, Tensor | None], Tensor | None
]
"""Computes calls of one kind from what differs between them: input, weight, bias, running_mean, running_var, momentum
and out. None, or any error before anything is changed, where this one is to be checked and applied as if it were the
first."""


Unchecked = Callable[
    [Tensor, Sequence[int] | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None, float], Tensor | None
]
"""Computes calls that nobody has looked at, of a norm over trailing sizes, or by running statistics where no gradient
is recorded, from input, normalized_shape, weight, bias, running_mean, running_var and eps. None or any error where
those do not fit, or where another way is faster."""

ACTIVATIONS = ("relu", "silu")
"""What can follow a norm in one pass, as torch.nn.functional names it."""

NAMES: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""Every backend, found by its file; none is imported before it is used."""

_loaded: dict[str, ModuleType] = {}


def get(name: str) -> ModuleType:
    """The backend of that name.

    Raises:
        UnknownNameError: there is none.
        UnsupportedError: what it is built on is not installed.
    """
    if name not in _loaded:
        if name not in NAMES:
            raise UnknownNameError.among("backend", name, NAMES)
        try:
            _loaded[name] = import_module(f".{name}", __name__)
        except ImportError as error:
            raise UnsupportedError("backend", name, f"cannot be imported ({error})") from error
    return _loaded[name]


def apply(call: Call, backend: str) -> Tensor:
    """Compute the call with that backend.

    Raises:
        UnknownNameError: there is no such backend.
        UnsupportedError: it cannot compute this call.
    """
    module = get(backend)
    reason = module.why_not(call)
    if reason is not None:
        raise UnsupportedError("backend", backend, reason)
    return module.apply(call)
