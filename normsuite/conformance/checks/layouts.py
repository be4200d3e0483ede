"""Inputs in every layout, without any value, and with one value a group."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import one_line
from ...targets.build import torch_beside
from ..result import DIFFERS, OK, Finding
from ..subject import NotApplicable, Subject
from ..truth import OUTPUT, OracleError
from . import check

_RANK_5 = (3, 4, 5)


def _in_layout(subject: Subject, laid: Callable[[Tensor], Tensor]) -> Finding | None:
    """Return a finding on output and gradient for an input in that layout of memory."""
    return subject.compared(subject.built(), laid(subject.input()))


def _kept(subject: Subject, x: Tensor, layout: torch.memory_format, name: str) -> Finding | None:
    built = subject.built(shape=x.shape)
    found = subject.compared(built, x)
    if found.status != OK:
        return found
    with torch.no_grad():
        if built(x).is_contiguous(memory_format=layout):
            return found
        other = torch_beside(built)
        torchs = other is not None and not other(x).is_contiguous(memory_format=layout)
    return Finding(DIFFERS, f"returns another layout than {name}{', as torch does' if torchs else ''}")


@check()
def channels_last(subject: Subject) -> Finding | None:
    """An input in channels_last gives the right output, in channels_last."""
    if len(subject.shape) != 4:
        raise NotApplicable("takes no four sizes")
    x = subject.input().to(memory_format=torch.channels_last)
    return _kept(subject, x, torch.channels_last, "channels_last")


@check()
def channels_last_3d(subject: Subject) -> Finding | None:
    """An input in channels_last_3d gives the right output, in channels_last_3d."""
    spec = subject.target.spec
    if spec is not None and spec.affine == "element" and len(subject.shape) != 5:
        raise NotApplicable("takes no channels before its places")
    shape = subject.shape if len(subject.shape) == 5 else (*subject.shape[:2], *_RANK_5)
    x = subject.input(shape=shape)
    try:
        subject.built(shape=shape)(x)
    except Exception as error:  # of the target, which need not take five sizes: what it says is in the reason
        raise NotApplicable(f"takes no five sizes ({one_line(error)})") from error
    x = x.to(memory_format=torch.channels_last_3d)
    try:
        return _kept(subject, x, torch.channels_last_3d, "channels_last_3d")
    except OracleError as error:
        if shape == subject.shape:
            raise
        raise NotApplicable(f"the oracle takes no five sizes ({error.reason})") from error


@check()
def strided(subject: Subject) -> Finding | None:
    """An input with gaps between its values gives the right output and gradient."""

    def laid(x: Tensor) -> Tensor:
        room = torch.full((*x.shape[:-1], 2 * x.shape[-1]), torch.nan, dtype=x.dtype, device=x.device)
        view = room[..., ::2]
        return view.copy_(x)

    return _in_layout(subject, laid)


@check()
def transposed(subject: Subject) -> Finding | None:
    """An input whose last axis varies slowest gives the right output and gradient."""
    return _in_layout(subject, lambda x: x.transpose(0, -1).contiguous().transpose(0, -1))


@check()
def expanded(subject: Subject) -> Finding | None:
    """An input whose samples are one and the same in memory gives the right output."""
    built, x = subject.built(), subject.input()
    x = x[:1].expand(x.shape)
    subject.remember(x)
    return subject.compared(built, x, (OUTPUT,))


@check(optional=True)
def empty(subject: Subject) -> Finding | None:
    """A batch of no samples gives an output of no samples."""
    shape = (0, *subject.shape[1:])
    built, x = subject.built(), subject.input(shape=shape).requires_grad_()
    y = built(x)
    if tuple(y.shape) != shape:
        return subject.fails(f"returns shape {tuple(y.shape)}")
    y.sum().backward()
    return None if x.grad is not None and x.grad.shape == x.shape else subject.fails("gives no gradient")


@check()
def one_sample(subject: Subject) -> Finding | None:
    """A batch of one sample gives the right output and gradient."""
    spec = subject.target.spec
    if len(subject.shape) < 2 or (len(subject.shape) == 2 and spec is not None and "batch" in spec.axes):
        raise NotApplicable("takes no batch whose samples have more than one value")
    shape = (1, *subject.shape[1:])
    return subject.compared(subject.built(shape=shape), subject.input(shape=shape))


@check()
def one_value(subject: Subject) -> Finding | None:
    """One value a group, which has no variance, is refused or gives a finite output."""
    spec = subject.target.spec
    if spec is None or spec.affine == "element" or "spatial" not in spec.axes:
        raise NotApplicable("averages over sizes that are its own")
    shape = (1, subject.shape[1], *(1 for _ in subject.shape[2:]))
    built, x = subject.built(), subject.input(shape=shape)
    try:
        y = built(x)
    except (ValueError, RuntimeError, NotImplementedError, TypeError):  # as torch.nn does
        return None
    return None if torch.isfinite(y).all() else subject.fails("gives NaN or infinity")
