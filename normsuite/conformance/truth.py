"""Values and gradients in float64 that a target should give: by the oracle of its norm, by the user's, or by itself."""

import inspect
import math
from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ArgumentError, one_line
from ..measure.exact import RightResults
from ..spec import NormSpec
from ..targets.build import Built, build
from ..targets.target import Target

OUTPUT, INPUT, WEIGHT, BIAS = "output", "input gradient", "weight gradient", "bias gradient"
_STEP = 2.0**-17
"""Step of central differences, for which their truncation and rounding errors in float64 are about equal, 1e-10."""

_PLACES = 500
"""Most elements of a gradient that are computed by differences, each by two calls of the user's oracle."""

Arrays = dict[str, np.ndarray]


class OracleError(ArgumentError):
    """A user's oracle cannot be asked for the truth; the message says why."""


def tensors_of_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a module's state_dict, which may have more than those."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values in float64, which later changes of the tensor leave as they are."""
    return tensor.detach().to("cpu", torch.float64, copy=True).numpy()


def copied(x: Tensor) -> Tensor:
    """Return a copy of a tensor in memory of its own, with the same gaps and the same places that elements share."""
    room = x.untyped_storage().nbytes() // x.element_size()
    return x.detach().as_strided((room,), (1,), 0).clone().as_strided(x.shape, x.stride(), x.storage_offset())


def outcome(call: Callable[[Tensor], Tensor], built: Built, x: Tensor, dy: Tensor | None) -> Arrays:
    """Return output and gradients of a call, in float64.

    Args:
        call: of the input.
        built: whose weight and bias take a gradient.
        x, dy: the input, and the output's gradient, or None where the output alone is asked for.
    """
    x = copied(x).requires_grad_()
    y = call(x)
    tensors = {INPUT: x, WEIGHT: built.tensor("weight"), BIAS: built.tensor("bias")}
    wanted = {name: t for name, t in tensors.items() if t is not None and t.requires_grad}
    found = {OUTPUT: array(y)}
    if dy is None:
        return found
    gradients = torch.autograd.grad(y, list(wanted.values()), dy, allow_unused=True)
    for (name, tensor), gradient in zip(wanted.items(), gradients, strict=True):
        found[name] = np.zeros(tuple(tensor.shape)) if gradient is None else array(gradient)
    return found


def truth(target: Target, built: Built, x: Tensor, dy: Tensor | None = None, found: Arrays | None = None) -> Arrays:
    """Return what the target should give for that input with the tensors that it has now.

    Args:
        target, built: what is judged.
        x, dy: the input, and the output's gradient, or None where the output alone is asked for.
        found: the target's own results that are judged; all where left out. Where an activation's slope jumps, the
            side on which its output lies is taken. A user's oracle is asked for `_PLACES` elements of a gradient at
            most, drawn at random; the others are the target's own, and so are not judged.

    Raises:
        ArgumentError: the oracle cannot be called, or there is none and the target does not compute in float64.
    """
    function = target.loaded_oracle()
    if function is not None:
        return _by_differences(_users(function, built), built, x, dy, found)
    if (spec := target.spec) is not None:
        return _by_norm(spec, built, x, dy, None if found is None else found[OUTPUT])
    return _by_itself(target, built, x, dy)


def precision(target: Target, dtype: torch.dtype, name: str = OUTPUT) -> float:
    """Return the relative precision to which the truth itself is known: of gradients by differences it is limited."""
    epsilon = torch.finfo(dtype).eps
    return max(epsilon, 1e-8) if target.oracle is not None and name != OUTPUT else epsilon


def _by_norm(spec: NormSpec, built: Built, x: Tensor, dy: Tensor | None, found: np.ndarray | None) -> Arrays:
    settings, shape = built.settings, tuple(x.shape)
    # A norm over the trailing sizes sees rows of them, whatever stands before.
    rows = shape if settings.normalized_shape is None else (-1, *settings.normalized_shape)
    weight, bias = (None if (t := built.tensor(name)) is None else array(t) for name in ("weight", "bias"))

    def of_rows(parameter: np.ndarray | None) -> np.ndarray | None:
        """Return a parameter in the shape that is normalised: some have sizes of 1 before it."""
        sizes = settings.normalized_shape
        if sizes is None or parameter is None or parameter.size != math.prod(sizes):
            return parameter
        return parameter.reshape(sizes)

    right = RightResults(
        spec, array(x).reshape(rows), weight=of_rows(weight), bias=of_rows(bias), eps=settings.eps_for(x.dtype),
        num_groups=settings.num_groups, running=_running(built), activation=settings.activation,
    )  # fmt: skip
    made = {OUTPUT: right.output.reshape(shape)}
    if dy is None:
        return made
    g = array(dy).reshape(right.output.shape)
    g = g * right.slope(None if found is None else found.reshape(g.shape))
    made[INPUT] = right.of_input(g).reshape(shape)
    for name, parameter, of in ((WEIGHT, weight, right.of_weight), (BIAS, bias, right.of_bias)):
        if parameter is not None:
            gradient = of(g)
            # A single number is a gain or a shift of all.
            made[name] = (gradient if gradient.size == parameter.size else gradient.sum()).reshape(parameter.shape)
    return made


def _running(built: Built) -> tuple[np.ndarray, np.ndarray] | None:
    if built.uses_input_stats:
        return None
    tensors = built.tensors
    return array(tensors["running_mean"]), array(tensors["running_var"])


def _users(function: Callable, built: Built) -> Callable[[Arrays], np.ndarray]:
    """Return the user's oracle as a function of the arrays by name; it is given those of its arguments that exist."""
    settings = built.settings
    mean, var = _running(built) or (None, None)
    fixed: dict[str, object] = {
        "eps": settings.eps,
        "num_groups": settings.num_groups,
        "normalized_shape": settings.normalized_shape,
        "running_mean": mean,
        "running_var": var,
    }
    tensors = [role for role in ("weight", "bias") if built.tensor(role) is not None]
    taken = _taken(function, fixed, tensors)

    def call(arrays: Arrays) -> np.ndarray:
        values = {**fixed, "weight": arrays.get(WEIGHT), "bias": arrays.get(BIAS)}
        given = {name: values[name] for name in taken if name in values}
        try:
            y = np.asarray(function(arrays[INPUT], **given), dtype=np.float64)
        except Exception as error:  # the user's: the target is not to blame for it
            raise OracleError("oracle", _named(function), f"fails: {one_line(error)}") from error
        if y.shape != arrays[INPUT].shape:
            reason = f"returns shape {y.shape} for an input of shape {arrays[INPUT].shape}"
            raise OracleError("oracle", _named(function), reason)
        return y

    return call


def _taken(function: Callable, known: Collection[str], tensors: Collection[str]) -> list[str]:
    """Return the names of an oracle's arguments behind the input.

    Raises:
        OracleError: one of them has another name than the values that there are, so that nothing would be given.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        every = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError) as error:
        raise OracleError("oracle", _named(function), f"has arguments that Python does not know ({error})") from error
    parameters = [p for p in every if p.kind in kinds]
    names = [p.name for p in parameters]
    strange = [p for p in parameters if p.name not in {*known, "weight", "bias"}]
    needed = [p.name for p in strange if p.default is p.empty]
    if needed or (strange and not set(tensors) <= set(names)):
        said = ", ".join(needed or [p.name for p in strange])
        allowed = ", ".join(("weight", "bias", *sorted(known)))
        raise ArgumentError(
            "oracle", _named(function), f"takes {said}: behind the input it is given {allowed}, by name"
        )
    return names


def _named(function: Callable) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _by_differences(
    call: Callable[[Arrays], np.ndarray], built: Built, x: Tensor, dy: Tensor | None, found: Arrays | None
) -> Arrays:
    """Return the output, and gradients by central differences, all in float64."""
    arrays = {INPUT: array(x).copy()}
    for name, role in ((WEIGHT, "weight"), (BIAS, "bias")):
        if (tensor := built.tensor(role)) is not None:
            arrays[name] = array(tensor).copy()
    made = {OUTPUT: call(arrays)}
    if dy is None:
        return made
    along, draw = array(dy), np.random.default_rng(0)
    for name, values in arrays.items():
        if found is not None and name not in found:
            continue
        spread = max(1.0, float(values.std()))
        made[name] = np.empty_like(values) if found is None else found[name].reshape(values.shape).copy()
        numbers = np.arange(values.size)
        if found is not None and values.size > _PLACES:
            # Of the others only that they are numbers is known to be right: where they are none, they are computed.
            strange = np.flatnonzero(~np.isfinite(made[name]))[:_PLACES]
            numbers = np.union1d(draw.choice(values.size, _PLACES, replace=False), strange)
        for place in zip(*np.unravel_index(numbers, values.shape), strict=True):
            middle = float(values[place])
            # Against the spread, since what is far from zero is rounded more: both errors are then about as large.
            step = _STEP * spread * np.cbrt(max(1.0, abs(middle) / spread))
            ends = []
            for sign in (1, -1):
                values[place] = middle + sign * step
                ends.append((call(arrays) * along).sum())
            values[place] = middle
            made[name][place] = (ends[0] - ends[1]) / (2 * step)
    return made


def _by_itself(target: Target, built: Built, x: Tensor, dy: Tensor | None) -> Arrays:
    exact = build(target, shape=built.shape, dtype=torch.float64)
    tensors = {name: t.detach().cpu().double() for name, t in tensors_of_state(built.module).items()}
    exact.module.load_state_dict({**built.module.state_dict(), **tensors})
    exact.module.train(built.module.training)
    wide = x.detach().cpu().double()
    try:
        if dy is None:
            with torch.no_grad():
                return {OUTPUT: array(exact(wide))}
        return outcome(exact, exact, wide, dy.detach().cpu().double())
    except Exception as error:  # the target's own, in a type that it need not take
        said = f"{target.title} does not compute in float64, which is the truth without like and oracle"
        raise ArgumentError("like", None, f"{said} ({one_line(error)})") from error
