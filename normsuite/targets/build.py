"""Targets made ready to call: every one becomes a module with a weight and bias of known values."""

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..conventions.raised import raised_as
from ..errors import ArgumentError, NormsuiteError, one_line
from ..spec import NormSpec
from . import arguments
from .target import Target
from .wrapped import Activated, CallableNorm, FunctionNorm

SEED = 0
EPS = 1e-5
MOMENTUM = 0.1
EPS_NAMES = ("eps", "variance_epsilon", "epsilon")
PARAMETER_NAMES = {"weight": ("weight", "gamma", "scale"), "bias": ("bias", "beta", "offset", "shift")}
_ROLES = {**PARAMETER_NAMES, "running_mean": ("running_mean",), "running_var": ("running_var",)}
_RANKS = ((6, 5), (7,), (3, 4, 5), ())
"""Spatial sizes that are tried where no shape is given."""


class TargetError(NormsuiteError):
    """A target that cannot be made or does not take its input; the message has its name and its own error."""


@dataclass(frozen=True)
class Settings:
    """The numbers that the norm's formula needs beside its tensors.

    Attributes:
        spec: the norm that the target is like, or None.
        num_groups, normalized_shape: as that norm wants them.
        eps: inside the root; None for torch's choice of RMSNorm, which depends on the type.
        momentum: weight of the new running statistics; None for the average of all.
        activation: what the target applies to the result.
        assumes_eps: nothing says eps: it is torch's default.
    """

    spec: NormSpec | None
    num_groups: int | None
    normalized_shape: tuple[int, ...] | None
    eps: float | None
    momentum: float | None
    activation: str | None
    assumes_eps: bool = False

    def eps_for(self, dtype: torch.dtype) -> float:
        """Return the number added to the variance of inputs of that type."""
        return torch.finfo(torch.promote_types(dtype, torch.float32)).eps if self.eps is None else self.eps


@dataclass
class Built:
    """A target made for inputs of one shape and type.

    Attributes:
        title: of the target.
        module: computes it; a function is wrapped into a module that owns its tensors.
        settings: of the norm that it is like.
        shape: of the inputs.
        is_function: the module is such a wrapper, whose state says nothing of the target.
    """

    title: str
    module: nn.Module
    settings: Settings
    shape: tuple[int, ...]
    is_function: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return the module's output for input x."""
        return self.module(x)

    def tensor(self, role: str) -> Tensor | None:
        """Return the "weight", "bias", "running_mean" or "running_var" that it has now, or None."""
        return tensor_of(self.module, role)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return those of the four that it has."""
        return {role: found for role in _ROLES if (found := self.tensor(role)) is not None}

    @property
    def has_running(self) -> bool:
        """Return whether the target has running statistics, both mean and variance."""
        return self.tensor("running_mean") is not None and self.tensor("running_var") is not None

    @property
    def is_frozen(self) -> bool:
        """Return whether its statistics never move, which those of a norm do whose weight is no parameter either."""
        weight = self.tensor("weight")
        return self.has_running and weight is not None and not isinstance(weight, nn.Parameter)

    @property
    def uses_input_stats(self) -> bool:
        """Return whether it takes the statistics of its input now."""
        return not self.has_running or (self.module.training and not self.is_frozen)


def build(
    target: Target,
    *,
    shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Built:
    """Make a target for inputs of one shape, in training mode, with seeded values in its weight and bias.

    Args:
        target: whose norm.
        shape: of the inputs; the target's first, or one that fits it, where left out.
        dtype, device: of its tensors.

    Raises:
        ImportPathError: it cannot be imported.
        ArgumentError: an argument without a value; the message names it.
        TargetError: making it raises an error, or no shape fits it.
    """
    if target.make is None:
        raise ArgumentError("prepare", target.prepare, "returns a call, not a norm: it can only be timed")
    shape = tuple(shape) if shape is not None else next(iter(target.shapes), None)
    guess = shape or _first_guess(target)
    with _seeded():  # two that are built are the same one
        module, is_function = _module(target, guess)
    module.to(device=device, dtype=dtype)
    module.train()  # a user's own may return nothing
    settings = _settings(target, module, guess)
    _seed(module)
    built = Built(target.title, module, settings, guess, is_function)
    if shape is None:
        built.shape = _fitting_shape(built, dtype, device)
    return built


@contextmanager
def _seeded() -> Iterator[None]:
    """Set the seed of torch's random numbers on the CPU within the block, and restore their state after it."""
    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(SEED)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)


def made(target: Target, shape: Sequence[int]) -> nn.Module:
    """Return a target's module for inputs of that shape as its users get it: with its own initial weights.

    Raises:
        ImportPathError, ArgumentError, TargetError: as `build`.
    """
    return _module(target, tuple(shape))[0]


def torch_beside(built: Built) -> Built | None:
    """Return torch's own function on copies of the target's tensors, or None where torch has none for it."""
    settings, spec = built.settings, built.settings.spec
    if spec is None or spec.torch_call is None:
        return None
    function = getattr(functional, spec.torch_call)
    values = {
        "eps": settings.eps,
        "momentum": settings.momentum if settings.momentum is not None else MOMENTUM,
        "num_groups": settings.num_groups,
        "normalized_shape": settings.normalized_shape,
    }
    taken, filled = arguments.of_function(function, title=spec.torch_call, values=values)
    by_element = settings.normalized_shape is not None
    sizes = {name: settings.normalized_shape if by_element else (t.numel(),) for name, t in built.tensors.items()}
    activation = settings.activation
    call = function if activation is None else Activated(function, getattr(functional, activation))
    module = FunctionNorm(call, taken, filled, sizes)
    for name, theirs in built.tensors.items():
        mine = getattr(module, name, None)
        if mine is not None:
            if mine.numel() != theirs.numel():  # such as one number for all
                return None
            mine.data = theirs.detach().clone().reshape(settings.normalized_shape or (-1,))
    module.train(built.uses_input_stats)
    return Built("torch", module, settings, built.shape, True)


def tensor_of(module: nn.Module, role: str) -> Tensor | None:
    """Return a module's weight, bias or running statistics, by the names that people give them."""
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    for name in _ROLES[role]:
        # A buffer called scale may be any constant; one called weight is a frozen one.
        for found, tensor in (parameters | buffers if name == role else parameters).items():
            if found.rpartition(".")[2] == name:
                return tensor
    return None


def draw(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    mean: float = 0.0,
    scale: float = 1.0,
    seed: int = SEED,
) -> Tensor:
    """Return seeded normal numbers: the same ones for every type, before rounding."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tuple(shape), generator=generator, dtype=torch.float64) * scale + mean
    return x.to(device=device, dtype=dtype)


def _module(target: Target, shape: Sequence[int]) -> tuple[nn.Module, bool]:
    made, title = target.loaded(), target.title
    if isinstance(made, nn.Module):
        if target.args or target.kwargs:
            raise ArgumentError("args", target.args, f"{title} is a module already, which takes no more arguments")
        return copy.deepcopy(made), False
    if not callable(made):
        raise ArgumentError("make", target.make, f"is {type(made).__name__}, and neither a module nor a function")
    if not isinstance(made, type) and arguments.takes_input(made):
        return _wrapped(target, made, shape), True
    if not isinstance(made, type) and arguments.parameters(made) is None:
        raise ArgumentError(
            "make",
            title,
            f"has arguments that Python does not know: write an adapter, def make(): return lambda input: "
            f"{getattr(made, '__name__', 'norm')}(input, …)",
        )
    args, kwargs = arguments.of_constructor(
        made, target.args, target.kwargs, title=title, fill=arguments.sizes(target.spec, shape, target.num_groups)
    )
    with raised_as(lambda said: TargetError(f"{title} cannot be made: {said}")):
        result = made(*args, **kwargs)
    if isinstance(result, nn.Module):
        return result, False
    if callable(result) and not isinstance(result, type):
        return CallableNorm(result), True
    raise ArgumentError(
        "make",
        title,
        f"made {type(result).__name__}: it must be a class of modules, a function whose first parameter is called "
        f"{' or '.join(arguments.INPUT)}, or an adapter that returns either, def make(): return lambda input: …",
    )


def _wrapped(target: Target, function: Callable, shape: Sequence[int]) -> FunctionNorm:
    spec = target.spec
    channels: tuple[int, ...] = (arguments.channels_of(spec, shape),)
    values = {"num_groups": target.num_groups, "normalized_shape": channels}
    taken, settings = arguments.of_function(
        function, title=target.title, args=target.args, kwargs=target.kwargs, values=values
    )
    if (wanted := settings.get("normalized_shape")) is not None:
        settings["normalized_shape"] = channels = arguments.given_sizes(wanted)
    sizes = dict.fromkeys(("weight", "bias"), channels)
    if spec is None or spec.running == "always":
        sizes |= dict.fromkeys(("running_mean", "running_var"), channels)
    return FunctionNorm(function, taken, settings, sizes)


def _setting(target: Target, module: nn.Module, *names: str) -> Any:
    """Return a setting by the first of those names that has one.

    It is the user's, the module's, or the default of a function's signature.
    """
    for name in names:
        if target.kwargs.get(name) is not None:
            return target.kwargs[name]
    found = [m for m in (module, *module.children()) if not isinstance(m, CallableNorm)]
    for part in found:
        for name in names:
            if not callable(value := getattr(part, name, None)) and value is not None:
                return value
    if isinstance(module, FunctionNorm):
        known = arguments.parameters(module.function) or {}
        for name in names:
            if name in module.settings:
                return module.settings[name]
            if name in known and known[name].default is not known[name].empty:
                return known[name].default
    return None


def _settings(target: Target, module: nn.Module, shape: Sequence[int]) -> Settings:
    spec = target.spec
    groups: Any = target.num_groups or _setting(target, module, "num_groups") or _argument(target, "num_groups")
    if spec is not None and spec.groups == "given" and groups is None:
        raise ArgumentError("num_groups", None, f"{target.title} does not say it, and {spec.name} needs it")
    normalized: tuple[int, ...] | None = None
    if spec is not None and spec.affine == "element":
        given, weight = _setting(target, module, "normalized_shape"), tensor_of(module, "weight")
        if given is None:  # a single number is a gain of all
            given = tuple(weight.shape) if weight is not None and weight.numel() > 1 else (shape[-1],)
            while len(given) > 1 and given[0] == 1:  # as of a weight of (1, 1, C): sizes of 1 average nothing
                given = given[1:]
        normalized = arguments.given_sizes(given)
    eps = _setting(target, module, *EPS_NAMES)
    if eps is None:
        eps = _argument(target, *EPS_NAMES)
    assumes_eps = eps is None
    if eps is None and (spec is None or spec.centred):
        eps = EPS
    momentum = _setting(target, module, "momentum")
    has_momentum = hasattr(module, "momentum")
    return Settings(
        spec=spec,
        num_groups=groups if spec is not None and spec.groups == "given" else None,
        normalized_shape=normalized,
        eps=None if eps is None else float(eps),
        momentum=momentum if momentum is not None or has_momentum else MOMENTUM,
        activation=target.activation,
        assumes_eps=assumes_eps,
    )


def _argument(target: Target, *names: str) -> object:
    """Return what a constructor or adapter is given for one of those names, or has as its default; None for neither."""
    made = target.loaded()
    try:
        bound = inspect.signature(made).bind_partial(*target.args, **target.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # a module that is made already, or arguments that Python does not know
        return None
    bound.apply_defaults()
    return next((value for name in names if (value := bound.arguments.get(name)) is not None), None)


def _seed(module: nn.Module) -> None:
    """Fill weights with values about 1 and biases with values about 0, so that an error in either shows."""
    with torch.no_grad():
        for number, role in enumerate(("weight", "bias")):
            tensor = tensor_of(module, role)
            if tensor is not None:
                noise = draw(tensor.shape, dtype=torch.float64, scale=0.1, seed=SEED + 1 + number)
                tensor.copy_(noise + 1 if role == "weight" else noise)


def _first_guess(target: Target) -> tuple[int, ...]:
    by_element = target.spec is not None and target.spec.affine == "element"
    groups = target.num_groups or 4
    return (4, 6, 16) if by_element else (4, 2 * groups, *_RANKS[0])


def _fitting_shape(built: Built, dtype: torch.dtype, device: str) -> tuple[int, ...]:
    normalized, weight = built.settings.normalized_shape, built.tensor("weight")
    if normalized is not None:
        return (4, 6, *normalized)
    if weight is None:
        weight = built.tensor("running_mean")
    channels = weight.numel() if weight is not None else 1
    if channels == 1:  # one number may be a gain of all
        channels = _attribute(built.module, built.shape[1])
    state = copy.deepcopy(built.module.state_dict())
    failures: list[Exception] = []
    tried = [(4, channels, *rank) for rank in _RANKS] + [(4, 6, channels), (4, 6, 5, channels)]
    taken: list[tuple[int, ...]] = []
    for shape in tried:
        try:
            with torch.no_grad():
                y = built.module(draw(shape, dtype=dtype, device=device))
        except Exception as error:  # a shape that it does not take
            failures.append(error)
            continue
        built.module.load_state_dict(state)
        taken.append(shape)
        if isinstance(y, torch.Tensor) and tuple(y.shape) == shape:
            return shape  # else it may be broadcast
    if taken:
        return taken[0]
    raise TargetError(
        f"{built.title} takes none of the shapes {', '.join('×'.join(map(str, s)) for s in tried)}, give it one by "
        f"shapes; the first fails: {one_line(failures[0])}"
    ) from failures[0]


def _attribute(module: nn.Module, otherwise: int) -> int:
    for name in arguments.SIZES:
        value = getattr(module, name, None)
        if isinstance(value, int) and value > 1:  # else it is an axis
            return value
        if isinstance(value, Sequence) and value:
            return math.prod(value)
    return otherwise
