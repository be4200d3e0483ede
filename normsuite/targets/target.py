"""A target: a user's norm, what it is to be judged by, and on which inputs. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ArgumentError, UnknownNameError
from ..spec import NO_NORM, NormSpec, find
from ..vocabulary import ACTIVATIONS, DTYPES
from . import loading


@dataclass(frozen=True)
class Target:
    """A user's norm: what makes it, what it is like, and which inputs it is for.

    Attributes:
        make: an import path "module:name" or the object: a class of torch.nn's kind, a module, a function in
            torch.nn.functional's signature, or an adapter, which takes no tensor and returns a module or a function of
            the input alone.
        args, kwargs: of the constructor or adapter; for a function its settings, such as num_groups.
        like: the norm that it computes, by name; None where it is like no other.
        oracle: the truth beside `like`: a function of (x, weight, bias), NumPy arrays in float64, or its path.
        num_groups: for a norm whose groups are given, where the arguments do not say it.
        activation: of `vocabulary.ACTIVATIONS` where the target applies it to the norm's result, or None.
        shapes: of inputs; one that fits is found where left out.
        dtypes: of inputs and parameters, of `vocabulary.DTYPES`.
        expected: checks that are known not to pass, by name, with the reason.
        name: of tables and records; the import path where left out.
        prepare: a path or function that returns a call without arguments, for what is no norm; then `make` is None.
    """

    make: object = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    like: str | None = None
    oracle: object = None
    num_groups: int | None = None
    activation: str | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    dtypes: tuple[str, ...] = ("float32",)
    expected: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    prepare: object = None

    def __post_init__(self) -> None:
        if (self.make is None) == (self.prepare is None):
            raise ArgumentError("make", self.make, "a target has either make or prepare")
        for argument in ("make", "oracle", "prepare"):
            value = getattr(self, argument)
            if isinstance(value, str):
                loading.check_path(argument, value)
            elif value is not None and not callable(value):
                raise ArgumentError(argument, value, "must be an import path or something that can be called")
        set_ = object.__setattr__  # frozen
        set_(self, "args", _sequence("args", self.args))
        set_(self, "kwargs", _table("kwargs", self.kwargs))
        set_(self, "expected", _table("expected", self.expected))
        for check, reason in self.expected.items():
            if not isinstance(reason, str) or not reason.strip():
                raise ArgumentError(f"expected[{check!r}]", reason, "must be the reason, as a text")
        # "none": the target is like no norm, and its own run in float64 is the truth.
        like = None if isinstance(self.like, str) and self.like.lower() == NO_NORM else self.like
        set_(self, "like", like if like is None else find(like, "like").name)
        if self.activation not in (None, *ACTIVATIONS):
            raise UnknownNameError.among("activation", self.activation, ACTIVATIONS)
        set_(self, "dtypes", _sequence("dtypes", self.dtypes))
        if not self.dtypes:
            raise ArgumentError("dtypes", self.dtypes, "must name at least one type")
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UnknownNameError.among("dtypes", dtype, DTYPES)
        set_(self, "shapes", tuple(_shape(shape) for shape in _sequence("shapes", self.shapes)))
        if self.num_groups is not None and (type(self.num_groups) is not int or self.num_groups < 1):
            raise ArgumentError("num_groups", self.num_groups, "must be a positive integer")
        if self.name is not None and (not isinstance(self.name, str) or not self.name.strip()):
            raise ArgumentError("name", self.name, "must be a text")

    @property
    def spec(self) -> NormSpec | None:
        """Return the norm that it is like."""
        return None if self.like is None else find(self.like)

    @property
    def path(self) -> str | None:
        """Return the import path of what makes it, or None where only this process has it."""
        made = self.make if self.make is not None else self.prepare
        return made if isinstance(made, str) else loading.path_of(made)

    @property
    def title(self) -> str:
        """Return its name in tables and sentences."""
        made = self.make if self.make is not None else self.prepare
        return self.name or self.path or getattr(made, "__qualname__", None) or type(made).__qualname__

    def loaded(self) -> object:
        """Return the object that makes it.

        Raises:
            ImportPathError: its path leads nowhere.
        """
        argument = "make" if self.make is not None else "prepare"
        made = getattr(self, argument)
        return loading.load(argument, made) if isinstance(made, str) else made

    def loaded_oracle(self) -> Any:
        """Return the oracle's function, or None; raises as `loaded`."""
        return loading.load("oracle", self.oracle) if isinstance(self.oracle, str) else self.oracle

    def as_dict(self) -> dict[str, Any]:
        """Return the target as JSON has it.

        Raises:
            ArgumentError: an object that has no import path, or an argument that JSON does not hold as it is.
        """
        for argument, value in (("args", list(self.args)), ("kwargs", dict(self.kwargs))):
            if not _is_json(value):
                raise ArgumentError(
                    argument,
                    getattr(self, argument),
                    "holds what JSON cannot carry to another process: use numbers, texts, lists and tables",
                )
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) not in (None, (), {})}
        for argument in found.keys() & {"make", "oracle", "prepare"}:
            given = found[argument]
            path = given if isinstance(given, str) else loading.path_of(given)
            if path is None:
                raise ArgumentError(argument, given, "has no import path that another process could use")
            found[argument] = path
        if self.kwargs:
            found["kwargs"] = _without_tuples(self.kwargs)
        shapes, args = [list(shape) for shape in self.shapes], [_without_tuples(value) for value in self.args]
        return {**found, "shapes": shapes, "args": args}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Target":
        """Return the target that `as_dict` describes, also when it was stored as JSON.

        Raises:
            ArgumentError: a field that a target does not have, or one with a value that it cannot have.
        """
        known = [f.name for f in fields(cls)]
        for name in found:
            if name not in known:
                raise UnknownNameError.among("target", name, known)
        told = {name: _with_tuples(found[name]) for name in ("args", "kwargs") if name in found}
        return cls(**{**found, **told})


_TUPLE = "tuple:"
"""The one name of a table that stands for a tuple in JSON, which has none: a norm may want (8, 8) and no list."""


def _without_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_tuples(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        items = [_without_tuples(of) for of in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return value


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = {name: _with_tuples(of) for name, of in value.items()}
        is_tuple = found.keys() == {_TUPLE} and isinstance(found[_TUPLE], list)
        return tuple(found[_TUPLE]) if is_tuple else found
    return list(map(_with_tuples, value)) if isinstance(value, list) else value


def _sequence(argument: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ArgumentError(argument, value, "must be a list")
    return tuple(value)


def _table(argument: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ArgumentError(argument, value, "must be a table of names and values")
    return dict(value)


def _is_json(value: object) -> bool:
    """Return whether JSON holds the value, tuples as tables of one entry."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_json(of) for name, of in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or type(value) in (bool, int, float, str)


def _shape(value: object) -> tuple[int, ...]:
    shape = _sequence("shapes", value)
    if not shape or not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) > 2**40:
        raise ArgumentError("shapes", value, "must be lists of sizes such as [8, 64, 14, 14]")
    return shape
