"""Inputs far from zero, tiny, huge, constant, and not finite."""

from dataclasses import replace

import numpy as np
import torch

from ... import oracle
from ...spec import NormSpec
from ...targets.build import Built, torch_beside
from ..result import DIFFERS, FAILS, Finding
from ..subject import BOUND, NotApplicable, Subject
from ..truth import OUTPUT, array
from . import check

_CONDITION = 4.0
"""ULPs that two passes may lose for each deviation that the mean lies from zero: the mean itself is rounded."""


def _without_bias(subject: Subject) -> Built:
    """Return the target with a bias of zero, since a large bias would hide an error."""
    built = subject.built()
    if (bias := built.tensor("bias")) is not None:
        bias.detach().zero_()
    return built


def _at(subject: Subject, mean: float) -> Finding:
    if 2 * mean > torch.finfo(subject.dtype).max:
        raise NotApplicable(f"{subject.dtype} does not hold such values".replace("torch.", ""))
    built, x = _without_bias(subject), subject.input(mean=mean)
    return subject.compared(built, x, sound=BOUND + _CONDITION * _condition(built, x))


def _condition(built: Built, x: torch.Tensor) -> float:
    """Return the largest |mean| / deviation of all groups, or that of all values where the groups are not known."""
    values = array(x)
    labels = np.zeros(values.shape, dtype=np.int64)
    if (spec := built.settings.spec) is not None:
        labels = _labels(built, spec, x)
    mean, var = oracle.statistics(values, labels)
    return float((np.abs(mean) / np.sqrt(var + (built.settings.eps or 0.0) + 1e-12)).max())


def _labels(built: Built, spec: NormSpec, x: torch.Tensor) -> np.ndarray:
    """Return the number of the group that each value of the input belongs to."""
    settings = built.settings
    shape = tuple(x.shape) if settings.normalized_shape is None else (-1, *settings.normalized_shape)
    rows = np.empty(tuple(x.shape)).reshape(shape).shape
    return oracle.group_labels(spec, rows, settings.num_groups).reshape(tuple(x.shape))


@check()
def mean_100(subject: Subject) -> Finding:
    """Output and gradient hold for inputs of mean 100 and deviation 1."""
    return _at(subject, 1e2)


@check()
def mean_10000(subject: Subject) -> Finding:
    """Output and gradient hold for inputs of mean 10,000 and deviation 1."""
    return _at(subject, 1e4)


@check()
def mean_1000000(subject: Subject) -> Finding:
    """Output and gradient hold for inputs of mean 1,000,000 and deviation 1."""
    return _at(subject, 1e6)


def _scaled(subject: Subject, scale: float) -> Finding:
    limits = torch.finfo(subject.dtype)
    if not limits.tiny * 1e3 < scale < limits.max / 1e3:
        raise NotApplicable(f"{subject.dtype} does not hold such values".replace("torch.", ""))
    built = _without_bias(subject)
    mine, theirs = subject.errors(built, subject.input(scale=scale), (OUTPUT,))
    found = subject.judged(mine[OUTPUT], theirs.get(OUTPUT))
    if found.status == FAILS and OUTPUT not in theirs and scale**2 > limits.max:
        with torch.no_grad():
            y = _without_bias(subject)(subject.input(scale=scale))
        if not y.isfinite().any() or not y.any():  # as torch's own norms give, where there is one to compare with
            return replace(found, status=DIFFERS, text="squares of such values overflow in this type")
    return found


@check()
def tiny_values(subject: Subject) -> Finding:
    """The output holds for inputs of deviation 1e-20, whose squares are next to nothing."""
    return _scaled(subject, 1e-20)


@check()
def huge_values(subject: Subject) -> Finding:
    """The output holds for inputs of deviation 1e25, whose squares overflow in float32."""
    return _scaled(subject, 1e25)


@check(each_dtype=True)
def deviation_300(subject: Subject) -> Finding:
    """The output holds for inputs of deviation 300, whose squares overflow in float16."""
    found = subject.compared(_without_bias(subject), subject.input(scale=300.0), (OUTPUT,))
    name = str(subject.dtype).removeprefix("torch.")
    if found.status != FAILS or name in subject.target.dtypes:
        return found
    return replace(found, status=DIFFERS, text=f"{found.text}, in a type that it is not declared for")


@check()
def constant_input(subject: Subject) -> Finding:
    """An input without any variance gives what float64 gives, and no NaN."""
    built, x = _without_bias(subject), torch.full_like(subject.input(), 3.0)
    subject.remember(x, mean=3.0, scale=0.0)
    return subject.compared(built, x, (OUTPUT,))


def _within_group(subject: Subject, value: float) -> Finding | None:
    built = subject.built()
    spec = built.settings.spec
    if spec is None:
        raise NotApplicable("is like no norm, so that its groups are not known")
    x = subject.input()
    labels = _labels(built, spec, x)
    with torch.no_grad():
        before = array(built(x))
        spoilt = x.clone()
        spoilt.flatten()[0] = value
        subject.remember(spoilt)
        after = array(subject.built()(spoilt))
        other = torch_beside(subject.built())
        theirs = None if other is None else array(other(spoilt))
    group = labels == labels.flat[0]
    moved = ~np.isclose(after, before, rtol=1e-5, atol=1e-5, equal_nan=True) & ~group
    if moved.any():
        return subject.fails(f"{value} in one group changes {int(moved.sum())} values of others")
    finite = np.isfinite(after[group])
    if finite.all() and (theirs is None or not np.isfinite(theirs[group]).all()):
        return subject.fails(f"{value} in a group leaves no trace in its output")
    return None


@check()
def nan_in_its_group(subject: Subject) -> Finding | None:
    """A NaN spoils its own group and no other."""
    return _within_group(subject, float("nan"))


@check()
def inf_in_its_group(subject: Subject) -> Finding | None:
    """An infinity spoils its own group and no other."""
    return _within_group(subject, float("inf"))
