"""Checks done in this process, one after the other, and failures made small."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from ..errors import NormsuiteError
from ..targets.loading import said
from ..targets.target import Target
from .checks import Check
from .result import FAILS, OK, UNSUPPORTED, Finding, Result
from .subject import NotApplicable, Subject, Wrong, not_applicable

_MOST_TRIALS = 60


def results(target: Target, checks: Sequence[Check]) -> Iterator[Result]:
    """Do those checks on a target.

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
    """Do one check on a target; raises as `results`.

    Args:
        shapes: shapes that fit the target, found so far.
    """
    shapes = {} if shapes is None else shapes
    shape = shapes.get("") or (target.shapes[0] if target.shapes else None)
    dtype = getattr(torch, check.dtype or target.dtypes[0])
    if shape is None:
        shape = shapes[""] = Subject(target, getattr(torch, target.dtypes[0])).shape
    finding = _done(check, Subject(target, dtype, shape))
    if finding.status == FAILS:
        finding = _shrunk(check, target, dtype, shape, finding)
    return Result(check.name, check.sentence, finding, expected_reason(target, check))


def expected_reason(target: Target, check: Check) -> str | None:
    """Return the reason why the target is known not to pass a check, or None."""
    return target.expected.get(check.name) or target.expected.get(check.name.partition("[")[0])


def _done(check: Check, subject: Subject) -> Finding:
    random = torch.random.get_rng_state()
    try:
        return check.run(subject) or Finding(OK)
    except NotApplicable as reason:
        return not_applicable(str(reason))
    except Wrong as wrong:
        return wrong.finding
    except NormsuiteError as error:
        if not check.is_optional:
            raise
        return Finding(UNSUPPORTED, str(error))
    except Exception as error:  # the target's own, or what torch says of it
        status = UNSUPPORTED if check.is_optional else FAILS
        return Finding(status, said(error), smallest=subject.last or None if status == FAILS else None)
    finally:
        torch.random.set_rng_state(random)


def _shrunk(check: Check, target: Target, dtype: torch.dtype, shape: tuple[int, ...], failure: Finding) -> Finding:
    """The same failure on the smallest shape on which it still shows."""

    def fails(trial: tuple[int, ...]) -> Finding | None:
        try:
            finding = _done(check, Subject(target, dtype, trial))
        except NormsuiteError:  # a shape that the target cannot be made for
            return None
        return finding if finding.status == FAILS and _kind(finding) == _kind(failure) else None

    smallest = smaller(shape, lambda trial: fails(trial) is not None)
    return failure if smallest == shape else replace(fails(smallest) or failure)


def smaller(shape: tuple[int, ...], holds: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Return a smallest shape for which a predicate that holds for `shape` still holds.

    Every size is halved as long as that is possible, then lowered by one.
    """
    trials = 0
    changed = True
    while changed:
        changed = False
        for axis in range(len(shape)):
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
