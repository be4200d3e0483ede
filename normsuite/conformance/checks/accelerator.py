"""Output and gradient on an accelerator, where there is one."""

import torch

from ..result import Finding
from ..subject import NotApplicable, Subject
from . import check


@check(optional=True)
def on_accelerator(subject: Subject) -> Finding:
    """Output and gradient are what float64 gives on the accelerator of this machine."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if there is None:
        raise NotApplicable("there is no accelerator here")
    moved = Subject(subject.target, subject.dtype, subject.shape, there.type)
    found = moved.compared(moved.built(), moved.input())
    subject.last = moved.last
    return found
