"""Checks done in this process, one after the other, and failures made small."""

import re
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch

from ..errors import NormsuiteError, one_line
from ..measure.process_state import unchanged
from ..targets import arguments
from ..targets.build import Settings
from ..targets.target import Target
from .checks import Check
from .result import DIFFERS, FAILS, OK, UNSUPPORTED, Finding, Result, worst
from .subject import NotApplicable, Subject, Wrong, not_applicable

_MOST_TRIALS = 60
_MOST_S = 10.0
"""Seconds for making a failure smaller: the check has a time limit, at which the failure itself would be lost."""


def results(target: Target, checks: Sequence[Check]) -> Iterator[Result]:
    """Run those checks on a target.

    Args:
        target: whose norm.
        checks: in this order.

    Raises:
        NormsuiteError: the target cannot be made at all.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for check in checks:
        yield result(target, check, shapes)


def result(target: Target, check: Check, shapes: dict[str, tuple[int, ...]] | None = None) -> Result:
    """Run one check on a target, on each of its shapes, and return the worst; raise as `results` does.

    Args:
        shapes: shapes that fit the target, found so far.
    """
    shapes = {} if shapes is None else shapes
    if not target.shapes and "" not in shapes:
        shapes[""] = Subject(target, getattr(torch, target.dtypes[0])).shape
    finding = worst([_on(target, check, shape) for shape in target.shapes or (shapes[""],)])
    return Result(check.name, check.sentence, finding, expected_reason(target, check))


def _on(target: Target, check: Check, shape: tuple[int, ...]) -> Finding:
    dtype, begun = getattr(torch, check.dtype or target.dtypes[0]), time.monotonic()
    finding = _done(check, Subject(target, dtype, shape))
    if finding.status == FAILS and time.monotonic() - begun < _MOST_S:  # else a trial may take as long again
        finding = _shrunk(check, target, dtype, shape, finding)
    return judged(target, check, finding)


def is_declared(target: Target, check: Check) -> bool:
    """Return whether a check is in a type that the target declares, or in its first."""
    return check.dtype is None or check.dtype in target.dtypes


def judged(target: Target, check: Check, finding: Finding) -> Finding:
    """Return a finding; a failure in a type that the target does not declare is a difference."""
    if finding.status != FAILS or is_declared(target, check):
        return finding
    return replace(finding, status=DIFFERS, text=f"not declared, and wrong in {check.dtype}: {finding.text}")


def expected_reason(target: Target, check: Check) -> str | None:
    """Return the reason why the target is known not to pass a check, or None."""
    return target.expected.get(check.name) or target.expected.get(check.name.partition("[")[0])


def _done(check: Check, subject: Subject) -> Finding:
    random = torch.random.get_rng_state()
    try:
        with unchanged(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the target and of torch: a check says what it looks at
            return check.run(subject) or Finding(OK)
    except NotApplicable as reason:
        return not_applicable(str(reason))
    except Wrong as wrong:
        return wrong.finding
    except NormsuiteError as error:
        if not check.is_optional:
            raise
        return Finding(UNSUPPORTED, str(error))
    except SystemExit as left:
        return Finding(FAILS, f"ends the process: SystemExit({left.code!r})", smallest=subject.last or None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the target's own, or what torch says of it
        status = UNSUPPORTED if check.is_optional else FAILS
        return Finding(status, one_line(error), smallest=subject.last or None if status == FAILS else None)
    finally:
        torch.random.set_rng_state(random)


def _shrunk(check: Check, target: Target, dtype: torch.dtype, shape: tuple[int, ...], failure: Finding) -> Finding:
    """Return the same failure on the smallest shape that was found to show it still."""
    found, end = {shape: failure}, time.monotonic() + _MOST_S

    def fails(trial: tuple[int, ...]) -> bool:
        if time.monotonic() > end:
            return False
        try:
            finding = _done(check, Subject(target, dtype, trial))
        except NormsuiteError:  # a shape that the target cannot be made for
            return False
        found[trial] = finding
        return finding.status == FAILS and _kind(finding) == _kind(failure)

    fixed = own_axes(target, Subject(target, dtype, shape).settings, len(shape))
    return found[smaller(shape, fails, fixed)]


def own_axes(target: Target, settings: Settings, rank: int) -> frozenset[int]:
    """Return the axes whose sizes a target was made for."""
    if settings.normalized_shape is not None:
        return frozenset(range(rank - len(settings.normalized_shape), rank))
    made = target.loaded()
    takes_size = isinstance(made, type) and set(arguments.parameters(made) or ()) & set(arguments.SIZES)
    return frozenset(() if takes_size and not target.args and not target.kwargs else {1})


def smaller(
    shape: tuple[int, ...], holds: Callable[[tuple[int, ...]], bool], fixed: Collection[int] = ()
) -> tuple[int, ...]:
    """Return a smallest shape for which a predicate that holds for `shape` still holds.

    Every size is set to 1, halved or lowered by one as long as that is possible.

    Args:
        shape: for which the predicate holds.
        holds: the predicate.
        fixed: axes whose sizes stay.
    """
    trials = 0
    changed = True
    while changed:
        changed = False
        for axis in (axis for axis in range(len(shape)) if axis not in fixed):
            for size in dict.fromkeys((1, shape[axis] // 2, shape[axis] - 1)):
                if not 0 < size < shape[axis] or trials >= _MOST_TRIALS:
                    continue
                trials += 1
                trial = (*shape[:axis], size, *shape[axis + 1 :])
                if holds(trial):
                    shape, changed = trial, True
                    break
    return shape


def _kind(finding: Finding) -> str:
    return re.sub(r"[\d.×e+-]+", "#", finding.text)
