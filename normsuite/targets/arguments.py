"""Arguments of a user's norm, filled by the names that torch.nn and torch.nn.functional give them."""

import ast
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence

from ..errors import ArgumentError
from ..spec import NormSpec

INPUT = ("input", "x", "inputs", "hidden_states", "tensor")
TENSORS = ("weight", "bias", "running_mean", "running_var")
MODE_FLAGS = ("training", "use_input_stats")
SIZES = ("num_features", "num_channels", "channels", "dim", "hidden_size", "normalized_shape")
"""Arguments of constructors that say how many channels there are, or which trailing sizes."""


def parse(text: str) -> tuple[tuple, dict[str, object]]:
    """Return arguments written as "4, 64, eps=1e-6": Python's literals, by place and by name.

    Raises:
        ArgumentError: something else.
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or any(
            keyword.arg is None for keyword in call.keywords
        ):
            raise ValueError
        by_place = tuple(ast.literal_eval(value) for value in call.args)
        by_name = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if len(by_name) < len(call.keywords):
            raise ValueError
        return by_place, by_name
    except (SyntaxError, ValueError, TypeError):  # of a list as a key, too
        raise ArgumentError("args", text, "must be Python's literals with commas, such as 4,64 or eps=1e-6") from None


def parameters(call: Callable) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function or class by name, or None where Python does not know them."""
    try:
        return dict(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        return None


def takes_input(call: Callable) -> bool:
    """Return whether a function's first parameter is a tensor, as torch.nn.functional's are."""
    return next(iter(parameters(call) or {}), None) in INPUT


def required(found: Mapping[str, inspect.Parameter]) -> list[str]:
    """Return the names of the parameters that have no default."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in found.items() if p.default is p.empty and p.kind not in kinds]


def of_constructor(
    make: Callable, args: Sequence, kwargs: Mapping, *, title: str, fill: Mapping[str, object]
) -> tuple[tuple, dict]:
    """Return a constructor's arguments: the user's, and for those that are missing torch.nn's by name.

    Args:
        make: the class or adapter.
        args, kwargs: the user's.
        title: its name in an error.
        fill: values by torch.nn's names, such as num_features.

    Raises:
        ArgumentError: an argument without a value, or one that is not taken.
    """
    found = parameters(make)
    if found is None:
        return tuple(args), dict(kwargs)
    try:
        bound = inspect.signature(make).bind_partial(*args, **kwargs)
    except TypeError as error:
        given = f"{', '.join(map(repr, args))}{', ' if args and kwargs else ''}{dict(kwargs) or ''}"
        raise ArgumentError("args", given, f"{title} does not take them ({error})") from None
    filled = dict(kwargs)
    for name in required(found):
        if name in bound.arguments:
            continue
        if name not in fill:
            adapter = f"{getattr(make, '__name__', 'Norm')}(…, {name}=…)"
            raise _lacking(args, f"{title} needs {name} too", "torch.nn's norms: give it by args or kwargs", adapter)
        filled[name] = fill[name]
    return tuple(args), filled


def of_function(
    function: Callable,
    *,
    title: str,
    args: Sequence = (),
    kwargs: Mapping[str, object] = {},
    values: Mapping[str, object],
) -> tuple[list[str], dict[str, object]]:
    """Return how to call a function in torch.nn.functional's signature.

    Args:
        function: takes the input first.
        title: its name in an error.
        args: the user's values of those parameters that are neither tensors nor modes, in their order.
        kwargs: the user's, by name.
        values: values by torch.nn.functional's names; tensors are named, not given.

    Returns:
        The names of the tensors and modes that it takes behind the input, and the settings by name.

    Raises:
        ArgumentError: an argument without a value, or one that is not taken.
    """
    found = parameters(function) or {}
    by_name = list(found)[1:]
    settings = [name for name in by_name if name not in (*TENSORS, *MODE_FLAGS) and name not in kwargs]
    if len(args) > len(settings):
        raise ArgumentError("args", tuple(args), f"{title} has only {len(settings)} settings: {', '.join(settings)}")
    given = {**kwargs, **dict(zip(settings, args, strict=False))}
    unknown = [name for name in kwargs if name not in found]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in found.values()):
        raise ArgumentError("kwargs", unknown[0], f"{title} takes {', '.join(by_name)}")
    needed = required(found)
    for name in by_name:
        if name in given or name in (*TENSORS, *MODE_FLAGS):
            continue
        if values.get(name) is not None:
            given[name] = values[name]
        elif name in needed:
            adapter = f"lambda input: {getattr(function, '__name__', 'norm')}(input, {name}=…)"
            of = "torch.nn.functional's norms: give it by kwargs"
            raise _lacking(args, f"{title} needs {name} too", of, adapter)
    return [name for name in by_name if name in (*TENSORS, *MODE_FLAGS)], given


def given_sizes(wanted: object) -> tuple[int, ...]:
    """Return a `normalized_shape` as sizes: torch.nn's constructors take one or several.

    Raises:
        ArgumentError: it is neither.
    """
    try:
        return tuple(map(operator.index, wanted if isinstance(wanted, Sequence) else (wanted,)))  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError("normalized_shape", wanted, "must be a size or a list of sizes") from None


def _lacking(args: Sequence, needs: str, of: str, adapter: str) -> ArgumentError:
    said = f"{needs}, which is no argument of {of}, or write an adapter, def make(): return {adapter}"
    return ArgumentError("args", tuple(args), said)


def channels_of(spec: NormSpec | None, shape: Sequence[int]) -> int:
    """Return how many parameters a norm has for inputs of that shape, which is not empty: the size of one dimension."""
    by_element = spec is not None and spec.affine == "element"
    return shape[-1] if by_element or len(shape) < 2 else shape[1]


def sizes(spec: NormSpec | None, shape: Sequence[int], num_groups: int | None) -> dict[str, object]:
    """Return what a constructor may ask for, for inputs of that shape, by torch.nn's names."""
    if not shape:
        return {}
    channels = channels_of(spec, shape)
    found: dict[str, object] = {**dict.fromkeys(SIZES, channels), "normalized_shape": (channels,)}
    return found if num_groups is None else {**found, "num_groups": num_groups}
