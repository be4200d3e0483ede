"""Checks of users' norms as pytest items: `parametrize_with_checks`."""

from collections.abc import Iterable, Sequence

import pytest

from .conformance import run
from .conformance.checks import Check, choose, refuse_unknown
from .conformance.result import FAILS, NOT_APPLICABLE, UNSUPPORTED, ConformanceError, Report
from .errors import ArgumentError
from .targets import Target


class BoundCheck:
    """One check of one target, to be called without arguments.

    Attributes:
        target: whose norm.
        check: what is looked at.
    """

    def __init__(self, target: Target, check: Check):
        self.target, self.check = target, check

    def __call__(self) -> None:
        """Run the check.

        Raises:
            ConformanceError: the target fails it, or is expected to and does not.
        """
        found = run.result(self.target, self.check)
        if found.status in (NOT_APPLICABLE, UNSUPPORTED):
            pytest.skip(f"{found.status}: {found.line()}")
        if found.expected is not None:
            if found.status == FAILS:
                pytest.xfail(found.expected)
            if found.passes_unexpectedly:
                said = (
                    f"{self.target.title} passes {found.check}, and expected says that it does not ({found.expected})"
                )
                raise ConformanceError(f"{said}: remove that entry")
        Report(self.target.title, self.target.like, (found,)).assert_ok()

    def __repr__(self) -> str:
        return f"{self.target.title}-{self.check.name}"


def parametrize_with_checks(targets: Sequence[Target], *, only: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Parametrize a test with all checks of those targets: its argument `check` is to be called.

    Args:
        targets: whose norms.
        only: names of checks, or patterns such as "mean_*"; all where left out.

    Raises:
        ArgumentError: no target, or something else than targets.
        UnknownNameError: a name that no check has, in `only` or among those that a target is expected not to pass.

    >>> @parametrize_with_checks([Target(mynorms.RMSNorm, args=(768,), like="RMSNorm")])
    ... def test_conforms(check):
    ...     check()
    """
    is_list = isinstance(targets, Iterable) and not isinstance(targets, Target)
    targets = list(targets) if is_list else targets
    if not (is_list and targets) or not all(isinstance(target, Target) for target in targets):
        raise ArgumentError("targets", targets, "must be a list of normsuite.Target")
    chosen = (only,) if isinstance(only, str) else tuple(only)
    for target in targets:
        refuse_unknown(target.expected)
    bound = [BoundCheck(target, check) for target in targets for check in choose(chosen, target.dtypes)]
    return pytest.mark.parametrize("check", bound, ids=repr)
