"""Values and gradients in float64 that a target should give: by the oracle of its norm, by the user's, or by itself."""

import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..measure.exact import RightResults
from ..spec import NormSpec
from ..targets.build import Built, build
from ..targets.target import Target

OUTPUT, INPUT, WEIGHT, BIAS = "output", "input gradient", "weight gradient", "bias gradient"
_STEP = 2.0**-17
"""Step of central differences, for which their truncation and rounding errors in float64 are about equal, 1e-10."""

Arrays = dict[str, np.ndarray]


def tensors_of_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a module's state_dict, which may have more than those."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values in float64, which later changes of the tensor leave as they are."""
    return tensor.detach().to("cpu", torch.float64, copy=True).numpy()


def outcome(call: Callable[[Tensor], Tensor], built: Built, x: Tensor, dy: Tensor | None) -> Arrays:
    """Return output and gradients of a call, in float64.

    Args:
        call: of the input.
        built: whose weight and bias take a gradient.
        x, dy: the input, and the output's gradient, or None where the output alone is asked for.
    """
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
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


def truth(target: Target, built: Built, x: Tensor, dy: Tensor | None = None, found: np.ndarray | None = None) -> Arrays:
    """Return what the target should give for that input with the tensors that it has now.

    Args:
        target, built: what is judged.
        x, dy: the input, and the output's gradient, or None where the output alone is asked for.
        found: the target's own output; where an activation's slope jumps, the side on which it lies is taken.
    """
    function = target.loaded_oracle()
    if function is not None:
        return _by_differences(_users(function, built), built, x, dy)
    if (spec := target.spec) is not None:
        return _by_norm(spec, built, x, dy, found)
    return _by_itself(target, built, x, dy)


def precision(target: Target, dtype: torch.dtype) -> float:
    """Return the relative precision to which the truth itself is known: of gradients by differences it is limited."""
    epsilon = torch.finfo(dtype).eps
    return max(epsilon, 1e-8) if target.oracle is not None else epsilon


def _by_norm(spec: NormSpec, built: Built, x: Tensor, dy: Tensor | None, found: np.ndarray | None) -> Arrays:
    settings, shape = built.settings, tuple(x.shape)
    # A norm over the trailing sizes sees rows of them, whatever stands before.
    rows = shape if settings.normalized_shape is None else (-1, *settings.normalized_shape)
    weight, bias = (None if (t := built.tensor(name)) is None else array(t) for name in ("weight", "bias"))
    right = RightResults(
        spec, array(x).reshape(rows), weight=weight, bias=bias, eps=settings.eps_for(x.dtype),
        num_groups=settings.num_groups, running=_running(built), activation=settings.activation,
    )  # fmt: skip
    made = {OUTPUT: right.output.reshape(shape)}
    if dy is None:
        return made
    g = array(dy).reshape(right.output.shape)
    g = g * right.slope(None if found is None else found.reshape(g.shape))
    made[INPUT] = right.of_input(g).reshape(shape)
    if weight is not None:
        made[WEIGHT] = right.of_weight(g).reshape(weight.shape)
    if bias is not None:
        made[BIAS] = right.of_bias(g).reshape(bias.shape)
    return made


def _running(built: Built) -> tuple[np.ndarray, np.ndarray] | None:
    if built.module.training or not built.has_running:
        return None
    tensors = built.tensors
    return array(tensors["running_mean"]), array(tensors["running_var"])


def _users(function: Callable, built: Built) -> Callable[[Arrays], np.ndarray]:
    """Return the user's oracle as a function of the arrays by name; it is given those of its arguments that exist."""
    settings = built.settings
    taken = list(inspect.signature(function).parameters)[1:]
    fixed: dict[str, object] = {
        "eps": settings.eps,
        "num_groups": settings.num_groups,
        "normalized_shape": settings.normalized_shape,
    }
    running = _running(built)
    if running is not None:
        fixed |= {"running_mean": running[0], "running_var": running[1]}

    def call(arrays: Arrays) -> np.ndarray:
        values = {**fixed, "weight": arrays.get(WEIGHT), "bias": arrays.get(BIAS)}
        return np.asarray(function(arrays[INPUT], **{n: values[n] for n in taken if n in values}), dtype=np.float64)

    return call


def _by_differences(call: Callable[[Arrays], np.ndarray], built: Built, x: Tensor, dy: Tensor | None) -> Arrays:
    """Return the output, and gradients by central differences of each element, all in float64."""
    arrays = {INPUT: array(x).copy()}
    for name, role in ((WEIGHT, "weight"), (BIAS, "bias")):
        if (tensor := built.tensor(role)) is not None:
            arrays[name] = array(tensor).copy()
    made = {OUTPUT: call(arrays)}
    if dy is None:
        return made
    along = array(dy)
    for name, values in arrays.items():
        made[name] = np.empty_like(values)
        for place in np.ndindex(values.shape):
            middle = float(values[place])
            step = _STEP * max(1.0, abs(middle))
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
    if dy is None:
        with torch.no_grad():
            return {OUTPUT: array(exact(wide))}
    return outcome(exact, exact, wide, dy.detach().cpu().double())
