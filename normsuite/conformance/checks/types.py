"""Types mixed in one call."""

from dataclasses import replace

import torch

from ..result import DIFFERS, OK, Finding
from ..subject import ULPS, NotApplicable, Subject
from ..truth import OUTPUT, array, outcome, truth
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
    if found.status == OK and y.dtype != torch.bfloat16:
        return Finding(DIFFERS, "returns float32", figure, None, ULPS)
    return found


@check(optional=True)
def autocast(subject: Subject) -> Finding:
    """Under autocast to bfloat16 a bfloat16 input and float32 parameters give the right output and gradients."""
    built, x = subject.built(dtype=torch.float32), subject.input(dtype=torch.bfloat16)
    dy = subject.gradient(x)

    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(subject.device, dtype=torch.bfloat16):
            y = built(x)
        return y.to(dy.dtype)

    found = outcome(call, built, x, dy)
    true = truth(subject.target, built, x, dy, found)
    figures = {name: subject.ulps(values, true[name], torch.bfloat16, name) for name, values in found.items()}
    worst = max(figures, key=figures.__getitem__)
    judged = subject.judged(figures[worst], None)
    return judged if judged.status == OK else replace(judged, text=f"{worst} {judged.text}")
