"""`normsuite.check`: all checks of one target."""

from collections.abc import Callable, Sequence
from typing import Any

from ..conventions.defaults import CHECK_LIMIT_S
from ..errors import ArgumentError
from ..targets.target import Target
from .result import Report, Result


def check(
    target: object,
    *,
    only: str | Sequence[str] = (),
    isolated: bool | None = None,
    limit_s: float = CHECK_LIMIT_S,
    on_result: Callable[[Result], object] = lambda result: None,
    **options: Any,
) -> Report:
    """Check a norm: values, gradients, layouts, types, derivatives, programs, state, memory.

    Args:
        target: a `Target`, or what makes one: an object or an import path, with the options below.
        only: a name of a check or a pattern such as "mean_*", or several; all where left out.
        isolated: in a process of its own, which may hang or end; where left out, if another process can make the target
            from import paths and arguments that JSON holds.
        limit_s: how long one check may take in such a process.
        on_result: is told every result as soon as there is one.
        options: the fields of a `Target`: args, kwargs, like, oracle, num_groups, activation, shapes, dtypes, expected.

    Returns:
        The report; `.assert_ok()` raises where a check fails.

    Raises:
        ArgumentError: an option that cannot be used, or an unknown check, also one that is expected not to pass.
        ImportPathError: a path that leads nowhere.
        TargetError: the target cannot be made.

    >>> normsuite.check("torch.nn:GroupNorm", args=(4, 8), like="GroupNorm").assert_ok()
    """
    if isinstance(target, Target):
        if options:
            raise ArgumentError("options", sorted(options), "are a part of the target: give them to it")
    else:
        target = Target(target, **options)
    from . import isolated as processes
    from . import run
    from .checks import choose, refuse_unknown

    chosen = choose((only,) if isinstance(only, str) else tuple(only), target.dtypes)
    refuse_unknown(target.expected)
    is_isolated = _can_be_told(target) if isolated is None else isolated
    notes: list[str] = []
    if is_isolated:
        found = processes.results(target, chosen, limit_s=limit_s, notes=notes)
    else:
        found = run.results(target, chosen)
    kept = []
    for result in found:
        on_result(result)
        kept.append(result)
    return Report(target.title, target.like, tuple(kept), tuple(notes))


def _can_be_told(target: Target) -> bool:
    """Return whether another process can make the target; not so a module object, whose state that does not have."""
    from torch import nn

    try:
        target.as_dict()
    except ArgumentError:
        return False
    return not isinstance(target.make, nn.Module)
