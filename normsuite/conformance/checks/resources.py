"""Memory: bytes at the peak of a call, and bytes kept for the backward pass."""

import torch

from ...measure import memory
from ...targets.build import Built, torch_beside
from ..result import DIFFERS, OK, Finding
from ..subject import NotApplicable, Subject
from . import check

_LARGE = 2**16
"""Elements of the input, so that statistics are few beside it."""
_ROOM = 1.1
_UNIT = "× the input"


def _large(subject: Subject) -> tuple[int, ...]:
    count = 1
    for size in subject.shape:
        count *= size
    return (subject.shape[0] * max(1, _LARGE // max(1, count)), *subject.shape[1:])


def _measured(subject: Subject, least: float, measure) -> Finding:
    """Return a finding on a number of bytes, in units of the input's size.

    It passes near `least`, the least possible, or near torch's own.
    """
    built = subject.built()
    if len(built.settings.normalized_shape or ()) == len(subject.shape) or 0 in subject.shape:
        raise NotApplicable("an input of many statistics, beside which these are few, cannot be made of this shape")
    x = subject.input(shape=_large(subject))
    size = x.numel() * x.element_size()
    figure, other = measure(built, x) / size, torch_beside(built)
    beside = None if other is None else measure(other, x) / size
    bound = _ROOM * max(least, beside or 0.0)
    if figure <= bound:
        return Finding(OK, "", figure, beside, _UNIT)
    return Finding(DIFFERS, f"the least possible is {least:g}", figure, beside, _UNIT)


@check()
def peak_bytes(subject: Subject) -> Finding:
    """A forward pass needs no more memory at once than its output."""

    def measure(built: Built, x: torch.Tensor) -> int:
        with torch.no_grad():
            return memory.peak_bytes(lambda: built(x), device=subject.device)

    return _measured(subject, 1.0, measure)


@check()
def saved_bytes(subject: Subject) -> Finding:
    """A forward pass keeps no more for the backward pass than its input."""

    def measure(built: Built, x: torch.Tensor) -> int:
        given, dy = x.detach().requires_grad_(), subject.gradient(x)
        return memory.saved_bytes(lambda: built(given).backward(dy), beside=built.module.parameters())

    return _measured(subject, 1.0, measure)
