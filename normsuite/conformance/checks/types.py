"""Types mixed in one call."""

import numpy as np
import torch

from ..result import Finding
from ..subject import NotApplicable, Subject
from ..truth import OUTPUT, array, truth
from . import check


@check(optional=True)
def mixed_types(subject: Subject) -> Finding:
    """A bfloat16 input beside float32 parameters gives the right output in bfloat16."""
    built = subject.built(dtype=torch.float32)
    if not built.tensors:
        raise NotApplicable("has no tensors of its own")
    x = subject.input(dtype=torch.bfloat16)
    with torch.no_grad():
        y = built(x)
    figure = subject.ulps(array(y), truth(subject.target, built, x)[OUTPUT], torch.bfloat16)
    if y.dtype not in (torch.bfloat16, torch.float32):
        return subject.fails(f"returns {y.dtype}")
    found = subject.judged(figure, None)
    if found.status == "ok" and y.dtype != torch.bfloat16:
        return Finding("differs", "returns float32", figure, None, "ULP")
    return found


@check(optional=True)
def autocast(subject: Subject) -> Finding:
    """Under autocast to bfloat16 a bfloat16 input and float32 parameters give the right output and gradients."""
    built, x = subject.built(dtype=torch.float32), subject.input(dtype=torch.bfloat16).requires_grad_()
    with torch.autocast(subject.device, dtype=torch.bfloat16):
        y = built(x)
    y.float().sum().backward()
    figure = subject.ulps(array(y), truth(subject.target, built, x)[OUTPUT], torch.bfloat16)
    if x.grad is None or not np.isfinite(array(x.grad)).all():
        return subject.fails("gives no finite gradient")
    return subject.judged(figure, None)
