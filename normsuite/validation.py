"""Check what a norm is given before anything is computed or changed; a refusal names the argument and its value."""

import operator
import sys
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from . import backends
from .errors import ArgumentError, ShapeError, UnknownNameError, UnsupportedError
from .spec import NORMS, NormSpec, View
from .tensors import addresses

_BATCH_NORM = NORMS.get("BatchNorm")
_C: Any = torch._C  # whose stubs have not all of it

Size = torch.Size | None


def real(name: str, value: Any) -> float:
    """Return the number as a float.

    Raises:
        ArgumentError: it is no real number, or larger than any float.
    """
    if is_compiling():  # which has settings of its own for numbers, and leaves some of them open
        return value
    if isinstance(value, int | Fraction) and not -sys.float_info.max <= value <= sys.float_info.max:
        given = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
        raise ArgumentError(name, given, "must be a number that a float can hold")
    if not isinstance(value, Real):
        raise ArgumentError(name, value, "must be a real number")
    return float(value)


def weight_of_new(value: object) -> float | Tensor:
    """Return the momentum, which a tensor of one number may hold."""
    if not isinstance(value, Tensor):
        return real("momentum", value)
    if value.numel() != 1 or not value.is_floating_point():
        given = f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
        raise ArgumentError("momentum", given, "must be a real number or a floating-point tensor of one")
    return value.reshape(()) if value.dim() else value


def flag(name: str, value: object) -> bool:
    """Return the switch, which must be True or False."""
    if type(value) is not bool:
        raise ArgumentError(name, value, "must be True or False")
    return value


def index(name: str, value: Any, reason: str) -> int:
    """Return the integer; a float that happens to be whole is none."""
    if type(value) is int or is_compiling():
        return value
    whole = isinstance(value, Tensor) and value.numel() == 1 and not (value.is_floating_point() or value.is_complex())
    if not whole and (isinstance(value, Tensor) or not hasattr(value, "__index__")):
        raise ArgumentError(name, value, reason)
    return operator.index(value)


def sizes(name: str, value: object) -> tuple[int, ...]:
    """Return the sizes as a tuple of integers.

    Raises:
        ArgumentError: it is no sequence of integers.
    """
    if isinstance(value, str | bytes | Tensor) or not hasattr(value, "__iter__"):
        raise ArgumentError(name, value, "must be a sequence of sizes")
    if type(value) is tuple and all(type(size) is int for size in value):
        return value
    return tuple(index(name, size, "must be a sequence of integers") for size in value)


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """Raise UnknownNameError for anything but None and those names."""
    if value is not None and not (isinstance(value, str) and value in known):
        raise UnknownNameError.among(name, value, known)


def shape(t: Tensor) -> torch.Size:
    """Return the tensor's sizes.

    Raises:
        ArgumentError: a nested tensor of the layout that has none.
    """
    if t.is_nested and t.layout is torch.strided:
        raise ArgumentError("input", "a nested tensor of the strided layout", "has no shape; one of torch.jagged has")
    state = _C._get_tracing_state() if not is_compiling() else None
    if state is None:
        return t.shape
    _C._set_tracing_state(None)  # while torch.jit records, sizes are tensors, and to look at one is a warning
    try:
        return t.shape
    finally:
        _C._set_tracing_state(state)


def _shape_of(name: str, given: object, input: Tensor) -> Size:
    """Return the shape of a tensor beside the input, None for one that is not given.

    Raises:
        ArgumentError: it is neither a tensor nor None, or holds other numbers than floating-point ones beside a
            floating-point input.
        UnsupportedError: a gradient is asked for of running statistics.
    """
    if given is None:
        return None
    if not isinstance(given, Tensor):
        raise ArgumentError(name, type(given).__name__, "must be a torch.Tensor or None")
    if input.is_floating_point() and not given.is_floating_point():
        raise ArgumentError(f"{name}.dtype", given.dtype, f"must be a floating-point type beside {input.dtype}")
    if name.startswith("running") and given.requires_grad and torch.is_grad_enabled():
        raise UnsupportedError(f"{name}.requires_grad", True, "no gradient of the running statistics is computed")
    return shape(given)


def view(
    spec: NormSpec,
    shape: torch.Size,
    beside: dict[str, Size],
    use_input_stats: bool,
    eps: float,
    num_groups: int | None,
    normalized_shape: tuple[int, ...] | None,
    alone: bool,
) -> View:
    """Return the norm's view of the input, if all shapes and settings fit it; raise what `normalize` says.

    Args:
        spec: the norm.
        shape: of the input.
        beside: shapes of weight, bias and running statistics by name; None for one that is not given.
        use_input_stats, eps, num_groups, normalized_shape: of the call.
        alone: no other process has a part of the batch.
    """
    running_mean, running_var = beside["running_mean"], beside["running_var"]
    running = running_mean if running_mean is not None else running_var
    _refuse_settings(spec, use_input_stats, eps, running, normalized_shape)
    found = spec.view(shape, num_groups=num_groups, normalized_shape=normalized_shape)
    channels = tuple(shape[1:2])
    affine_shape = normalized_shape if spec.affine == "element" else channels
    for name, given in beside.items():
        expected = channels if name.startswith("running") else affine_shape
        if given is not None and tuple(given) != expected:
            raise ShapeError(f"{name}.shape", tuple(given), f"must be {expected}")
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ArgumentError(missing, None, "running_mean and running_var are given together or not at all")
    if not use_input_stats and running_mean is None:
        raise ArgumentError("running_mean", None, "is needed where the statistics of the input are not used")
    _refuse_few_values(spec, shape, found, use_input_stats, alone)
    return found


def refuse_no_sizes(spec: NormSpec, normalized_shape: object) -> None:
    """Raise ArgumentError for a norm over trailing sizes that are not given."""
    if normalized_shape is None and spec.affine == "element":
        raise ArgumentError("normalized_shape", None, "must be a sequence of sizes")


def _refuse_settings(
    spec: NormSpec,
    use_input_stats: bool,
    eps: float,
    running: Size,
    normalized_shape: tuple[int, ...] | None,
) -> None:
    """Raise for what a norm does not take, whatever the shapes."""
    if eps != eps:  # NaN, in words that torch.compile can trace
        raise ArgumentError("eps", eps, "must be a number")
    if spec.running == "always" and use_input_stats and eps <= 0:
        raise ArgumentError("eps", eps, "must be positive during training")
    if spec.running == "always" and eps < 0:
        raise ArgumentError("eps", eps, "must not be negative")
    refuse_no_sizes(spec, normalized_shape)
    if normalized_shape is not None and spec.affine != "element":
        raise ArgumentError("normalized_shape", normalized_shape, f"{spec.name} has none")
    if running is not None and spec.running == "never" and (use_input_stats or spec.affine == "element"):
        raise ArgumentError("running_mean", tuple(running), f"{spec.name} keeps no running statistics")


def _refuse_few_values(spec: NormSpec, shape: torch.Size, found: View, use_input_stats: bool, alone: bool) -> None:
    """Raise where statistics would be those of no value, or of one, as torch does.

    Processes that join their batches may have one value each. A norm without running statistics may see one value for
    a mean, as LayerNorm of one number does, unless it averages over nothing at all; GroupNorm refuses one value in all.
    """
    if spec.groups == "given" and 0 in found.shape[1:]:
        raise ShapeError("input.shape", tuple(shape), "needs at least one channel and one value in each")
    if not use_input_stats:
        return
    if alone and found.count == 1 and (spec.running != "never" or not found.dims):
        raise ShapeError("input.shape", tuple(shape), "expected more than 1 value per channel when training")
    if spec.groups == "given" and found.count * found.shape[0] == 1:
        raise ShapeError("input.shape", tuple(shape), "expected more than 1 value per group when training")


def _refuse_shared(**running: Tensor | None) -> None:
    """Raise for running statistics whose channels share one number, which cannot be updated."""
    for name, t in running.items():
        if t is None or t.layout is not torch.strided or t.dim() != 1:
            continue
        if t.stride(0) == 0 and shape(t)[0] > 1:
            raise ArgumentError(
                f"{name}.stride()", t.stride(), "must give each channel a number of its own in training"
            )


def output(out: object, input: Tensor, weight: Tensor | None, bias: Tensor | None, *running: Tensor | None) -> None:
    """Raise for an `out` that the result cannot be written to."""
    if not isinstance(out, Tensor):
        raise ArgumentError("out", type(out).__name__, "must be a torch.Tensor")
    if out.shape != input.shape or out.dtype != input.dtype or out.device != input.device:
        found = f"{tuple(out.shape)}, {out.dtype}, {out.device}"
        wanted = f"{tuple(input.shape)}, {input.dtype}, {input.device}"
        raise ShapeError("out", found, f"must be like the input, {wanted}")
    if out.stride() != input.stride():
        raise ShapeError("out.stride()", out.stride(), f"must be the input's, {input.stride()}")
    if any(stride == 0 and size > 1 for size, stride in zip(out.shape, out.stride(), strict=True)):
        raise ShapeError("out.stride()", out.stride(), "must give each number a place of its own")
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (out, input, weight, bias)):
        raise ArgumentError("out", tuple(out.shape), "cannot be given where a gradient is asked for")
    if not is_compiling():
        addresses.refuse_gone(out=out)
    if not is_compiling() and out.is_inference() and not torch.is_inference_mode_enabled():
        raise ArgumentError("out", tuple(out.shape), "was made in inference mode and can only be written to there")
    for name, given in zip(("running_mean", "running_var"), running, strict=False):
        if given is out:
            raise ArgumentError("out", tuple(out.shape), f"must not be {name}")


def call(
    spec: NormSpec,
    input: Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    use_input_stats: Any,
    momentum: Any,
    eps: Any,
    num_groups: Any,
    normalized_shape: Any,
    process_group: Any,
    activation: Any,
    out: Any,
) -> backends.Call:
    """Return the call, with all arguments checked, which may be anything; raise what `normalize` says."""
    tensors = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    shapes = {name: _shape_of(name, given, input) for name, given in tensors.items()}
    use_input_stats = flag("training" if spec is _BATCH_NORM else "use_input_stats", use_input_stats)
    eps, momentum = real("eps", eps), weight_of_new(momentum)
    if normalized_shape is not None:
        normalized_shape = sizes("normalized_shape", normalized_shape)
    if spec.groups == "given":
        num_groups = index("num_groups", num_groups, "must be a positive integer")
    choice("activation", activation, backends.ACTIVATIONS)
    if out is not None:
        output(out, input, weight, bias, running_mean, running_var)
    if use_input_stats and not is_compiling():
        _refuse_shared(running_mean=running_mean, running_var=running_var)
    alone = process_group is None
    seen = view(spec, shape(input), shapes, use_input_stats, eps, num_groups, normalized_shape, alone)
    if not is_compiling() and not addresses.observed():  # torch's own operations may read memory that is gone
        addresses.refuse_gone(input=input, **tensors)
    return backends.Call(
        spec, seen, input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, num_groups,
        normalized_shape, process_group, activation, out,
    )  # fmt: skip
