"""The checks: every function in this folder that `check` marks is one, named like the function.

A check gets a `Subject` and returns a `Finding`, or None where all is well. An error of the target is a failure, or for
a check of something that a norm may lack, "unsupported". The first sentence of the docstring explains it to the user.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from ... import vocabulary
from ...errors import UnknownNameError
from ..subject import CheckFunction

_ORDER = ("values", "ranges", "running", "behaviour", "layouts", "types", "derivatives", "state", "resources")


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        name: its function's, with a type in brackets for one that is done for every type.
        sentence: what it looks at.
        run: does it.
        is_optional: an error that the target raises means that it does not support this.
        dtype: of the tensors, by name; the target's first where None.
    """

    name: str
    sentence: str
    run: CheckFunction
    is_optional: bool = False
    dtype: str | None = None


_marked: dict[str, list[tuple[CheckFunction, bool, bool]]] = {}


def check(*, optional: bool = False, each_dtype: bool = False) -> Callable[[CheckFunction], CheckFunction]:
    """Mark a function as a check.

    Args:
        optional: an error of the target means that it does not support this.
        each_dtype: is done for every type.
    """

    def mark(run: CheckFunction) -> CheckFunction:
        _marked.setdefault(run.__module__.rpartition(".")[2], []).append((run, optional, each_dtype))
        return run

    return mark


@cache
def _modules() -> tuple[str, ...]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for name in names:
        import_module(f".{name}", __name__)
    return tuple(sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))


def every(dtypes: tuple[str, ...] = ("float32",)) -> list[Check]:
    """Return all checks in the order of the table.

    Args:
        dtypes: the target's types; the others of 64, 32 and 16 bits are tried too, but need not be supported.
    """
    found = []
    for module in _modules():
        for run, optional, each_dtype in _marked.get(module, []):
            sentence = (inspect.getdoc(run) or "").split("\n\n")[0].replace("\n", " ")
            if not each_dtype:
                found.append(Check(run.__name__, sentence, run, optional))
                continue
            for dtype in dict.fromkeys((*dtypes, *vocabulary.DTYPES)):
                found.append(Check(f"{run.__name__}[{dtype}]", sentence, run, optional or dtype not in dtypes, dtype))
    return found


def refuse_unknown(expected: Iterable[str]) -> None:
    """Raise UnknownNameError for a name that no check has; where one is done for each type, it may lack the type."""
    known = [found.name for found in every()]
    names = list(dict.fromkeys(name.partition("[")[0] for name in known))
    for name in expected:
        if name not in {*known, *names}:
            raise UnknownNameError.among("expected", name, names)


def choose(only: tuple[str, ...], dtypes: tuple[str, ...] = ("float32",)) -> list[Check]:
    """Return the checks of those names, a * standing for any part; all where none is named.

    Raises:
        UnknownNameError: a name that no check has.
    """
    from fnmatch import fnmatchcase

    known = every(dtypes)
    if not only:
        return known

    def matches(found: Check, pattern: str) -> bool:
        return pattern in (found.name, found.name.partition("[")[0]) or fnmatchcase(found.name, pattern)

    for pattern in only:
        if not any(matches(found, pattern) for found in known):
            raise UnknownNameError.among("check", pattern, list(dict.fromkeys(c.name.partition("[")[0] for c in known)))
    return [found for found in known if any(matches(found, pattern) for pattern in only)]
