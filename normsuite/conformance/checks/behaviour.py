"""Side effects of a call: on its input, on the next call, on the terminal."""

import contextlib
import io

import torch

from ...targets.build import build
from ..result import DIFFERS, OK, Finding
from ..subject import BOUND, ULPS, Subject
from ..truth import outcome
from . import check

_RUNS = 3


@check()
def keeps_its_input(subject: Subject) -> Finding | None:
    """Neither the forward nor the backward pass changes the input or the output's gradient."""
    built, x = subject.built(), subject.input()
    dy = subject.gradient(x)
    kept, kept_dy = x.clone(), dy.clone()
    with torch.no_grad():
        built(x)
    if not torch.equal(x, kept):
        return subject.fails("the forward pass changes its input")
    x.requires_grad_()
    built(x).backward(dy)
    if not torch.equal(x.detach(), kept):
        return subject.fails("the forward pass of training changes its input")
    return None if torch.equal(dy, kept_dy) else subject.fails("the backward pass changes the output's gradient")


@check()
def keeps_no_state(subject: Subject) -> Finding | None:
    """A call does not depend on those before it."""
    built, x = subject.built(), subject.input()
    other = subject.input(mean=3.0, scale=5.0, seed=11)
    with torch.no_grad():
        first = built(x).clone()
        built(other)
        again = built(x)
    subject.remember(x)
    return None if torch.equal(first, again) else subject.fails("the same input gives another output after another")


@check()
def prints_nothing(subject: Subject) -> Finding | None:
    """Neither making nor calling it writes to the terminal."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        built = build(subject.target, shape=subject.shape, dtype=subject.dtype, device=subject.device)
        built(subject.input())
    text = " ".join(said.getvalue().split())
    return Finding(DIFFERS, f"prints {text[:80]!r}") if text else None


@check()
def keeps_the_random_state(subject: Subject) -> Finding | None:
    """A call draws no random numbers, which would change everybody's."""
    built, x = subject.built(), subject.input()
    before = torch.random.get_rng_state()
    built(x)
    return None if torch.equal(before, torch.random.get_rng_state()) else subject.fails("changes torch's random state")


@check()
def determinism(subject: Subject) -> Finding | None:
    """Equal calls give equal bits, in the output and in all gradients."""
    x = subject.input()
    dy = subject.gradient(x)
    first = None
    for _ in range(_RUNS):
        built = subject.built()
        found = outcome(built, built, x, dy)
        first = first or found
        unequal = [name for name, values in found.items() if values.tobytes() != first[name].tobytes()]
        if unequal:
            return subject.fails(f"{', '.join(unequal)} differ between equal calls")
    return None


@check()
def threads(subject: Subject) -> Finding:
    """One thread gives the same as several, up to rounding."""
    x = subject.input()
    dy, several = subject.gradient(x), torch.get_num_threads()
    found = []
    try:
        for count in (1, max(2, several)):
            torch.set_num_threads(count)
            built = subject.built()
            found.append(outcome(built, built, x, dy))
    finally:
        torch.set_num_threads(several)
    one, more = found
    figure = max(subject.ulps(values, one[name]) for name, values in more.items())
    return (
        subject.fails("differs by threads", figure, unit=ULPS)
        if figure > BOUND
        else Finding(OK, "", figure, None, ULPS)
    )
