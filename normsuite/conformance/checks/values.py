"""Values and gradients against float64, in every type."""

import torch

from ...measure.process_state import unchanged
from ...targets.build import PARAMETER_NAMES
from ..result import FAILS, OK, Finding
from ..subject import NotApplicable, Subject
from ..truth import BIAS, INPUT, OUTPUT, WEIGHT
from . import check


def _judged(subject: Subject, name: str) -> Finding:
    built, x = subject.built(), subject.input()
    mine, theirs = subject.errors(built, x, (name,))
    if name not in mine:
        raise NotApplicable(f"has no {name.partition(' ')[0]}")
    return subject.judged(mine[name], theirs.get(name))


@check()
def result_kind(subject: Subject) -> Finding | None:
    """Returns one tensor of the input's shape, type and device, and changes no setting of the process."""
    built, x = subject.built(), subject.input()
    with unchanged() as changed:
        y = built(x)
    if changed:
        return subject.fails(f"changes {changed[0]}")
    if not isinstance(y, torch.Tensor):
        return subject.fails(f"returns {type(y).__name__} and not a tensor")
    subject.same_kind(x, y)
    for what in ("dtype", "device"):
        if getattr(y, what) != getattr(x, what):
            return subject.fails(f"returns {getattr(y, what)} for an input of {getattr(x, what)}")
    return None


@check(each_dtype=True)
def output(subject: Subject) -> Finding:
    """The output is what float64 gives, in the type of the input."""
    built, x = subject.built(), subject.input()
    with torch.no_grad(), unchanged():  # whose changes another check names
        y = built(x)
    if isinstance(y, torch.Tensor) and y.dtype != x.dtype:
        return subject.fails(f"returns {y.dtype} for an input of {x.dtype}")
    return _judged(subject, OUTPUT)


@check(each_dtype=True)
def input_gradient(subject: Subject) -> Finding:
    """The gradient of the input is what float64 gives."""
    return _judged(subject, INPUT)


@check(each_dtype=True)
def weight_gradient(subject: Subject) -> Finding:
    """The gradient of the weight is what float64 gives."""
    return _judged(subject, WEIGHT)


@check(each_dtype=True)
def bias_gradient(subject: Subject) -> Finding:
    """The gradient of the bias is what float64 gives."""
    return _judged(subject, BIAS)


@check()
def gradients_reach_parameters(subject: Subject) -> Finding | None:
    """Every parameter that takes a gradient gets one."""
    built, x = subject.built(), subject.input()
    if not any(p.requires_grad for p in built.module.parameters()):
        raise NotApplicable("has no parameters")
    built(x).backward(subject.gradient(x))
    named = dict(built.module.named_parameters())
    without = [name for name, p in named.items() if p.requires_grad and p.grad is None]
    if without:
        return Finding(FAILS, f"no gradient reaches {', '.join(without)}")
    known = [built.tensor(role) for role in PARAMETER_NAMES]
    others = [name for name, p in named.items() if p.requires_grad and not any(p is of for of in known)]
    if not others:
        return None
    names = " and ".join(f"a {role} is called {', '.join(of_role)}" for role, of_role in PARAMETER_NAMES.items())
    return Finding(OK, f"only one weight and one bias are compared, and not {', '.join(others)} ({names})")
