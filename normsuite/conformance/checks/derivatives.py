"""Derivatives beyond the first backward pass, and batches of calls."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vmap

from ...targets.build import Built
from ..result import Finding
from ..subject import ULPS, NotApplicable, Subject
from ..truth import OUTPUT, array, truth
from . import check

_BOUND_OF_SAMPLES = 64.0
"""Bound of gradients by vmap in units in the last place: other operations than one backward pass has add them up."""


_CLOSE = 1e-10
"""How far apart inputs are that float64 tells from each other, and float32 does not."""


class _InDoubles:
    """The target on an input in float64, and how far apart differences are taken.

    Attributes:
        step: as small as the target's own precision allows: some compute in float32 whatever they are given.
        close: how exact such differences are.
    """

    def __init__(self, subject: Subject):
        self.built: Built = subject.built(dtype=torch.float64)
        self.x = subject.input(dtype=torch.float64)
        with torch.no_grad():
            y, true = self.built(self.x), truth(subject.target, self.built, self.x)[OUTPUT]
            is_exact = subject.ulps(array(y), true, torch.float64) < 2.0**20
            # Without like and oracle the truth is the target's own result. What computes in float32 takes a close
            # input for the same.
            close = self.built(self.x + _CLOSE * subject.input(dtype=torch.float64, seed=12))
            moves = (close != y)[y != 0]  # a relu's zeros stay
            is_exact = is_exact and float(moves.double().mean()) > 0.5
        if not is_exact and subject.target.activation == "relu":
            raise NotApplicable("relu's slope jumps within the differences of a target that is not exact in float64")
        self.step, self.close = (1e-6, 1e-5) if is_exact else (1e-2, 5e-2)

    def differences(self, function: Callable[[Tensor], Tensor], along: Tensor) -> Tensor:
        """Return the derivative of a function at the input along a direction, by central differences."""
        ends = [function(self.x + sign * self.step * along).detach() for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * self.step)


def _relative(found: Tensor, true: Tensor) -> float:
    return float((found - true).abs().max() / true.abs().max().clamp_min(1e-12))


@check(optional=True)
def double_backward(subject: Subject) -> Finding | None:
    """The derivative of the gradient is right, as a gradient penalty needs it."""
    trial = _InDoubles(subject)
    built, x = trial.built, trial.x
    dy, along = subject.gradient(x), subject.input(dtype=torch.float64, seed=12)
    subject.remember(x)

    def gradient(x: Tensor) -> Tensor:
        given = x.detach().requires_grad_()
        return torch.autograd.grad(built(given), given, dy)[0]

    given = x.detach().requires_grad_()
    (dx,) = torch.autograd.grad(built(given), given, dy, create_graph=True)
    if not dx.requires_grad:
        raise NotImplementedError("the gradient has no gradient")
    # The Hessian of the sum of y · dy is symmetric: its product with `along` is the gradient's derivative along it.
    (found,) = torch.autograd.grad(dx, given, along)
    figure = _relative(found, trial.differences(gradient, along))
    return None if figure <= trial.close else subject.fails("differs from differences of gradients", figure)


@check(optional=True)
def forward_mode(subject: Subject) -> Finding | None:
    """Forward-mode differentiation gives the directional derivative."""
    trial = _InDoubles(subject)
    along = subject.input(dtype=torch.float64, seed=12)
    subject.remember(trial.x)
    found = jvp(trial.built.module, (trial.x,), (along,))[1]
    with torch.no_grad():
        figure = _relative(found, trial.differences(trial.built, along))
    return None if figure <= trial.close else subject.fails("differs from differences of outputs", figure)


@check(optional=True)
def vmapped(subject: Subject) -> Finding | None:
    """torch.func.vmap over inputs gives what one call after the other gives."""
    built = subject.built()
    built.module.eval()  # running statistics cannot be updated by a batch of calls
    x = torch.stack([subject.input(seed=13), subject.input(seed=14)])
    with torch.no_grad():
        found = vmap(built.module)(x)
        true = torch.stack([built(one) for one in x])
    figure = subject.ulps(array(found), array(true))
    return subject.judged(figure, None)


@check(optional=True)
def vmapped_gradients(subject: Subject) -> Finding | None:
    """Gradients per sample by vmap of grad are what one backward pass after the other gives."""
    built = subject.built()
    built.module.eval()
    parameters = {name: p.detach() for name, p in built.module.named_parameters()}
    buffers = {name: b.detach() for name, b in built.module.named_buffers()}
    if not parameters:
        raise NotApplicable("has no parameters")

    def loss(given: dict, x: Tensor) -> Tensor:
        return functional_call(built.module, {**given, **buffers}, (x,)).pow(3).sum()

    x = torch.stack([subject.input(seed=13), subject.input(seed=14)])
    grad = torch.func.grad(loss)
    found = vmap(grad, in_dims=(None, 0))(parameters, x)
    for number, one in enumerate(x):
        for name, true in grad(parameters, one).items():
            figure = subject.ulps(array(found[name][number]), array(true))
            if figure > _BOUND_OF_SAMPLES:
                return subject.fails(f"the gradient of {name} differs", figure, unit=ULPS)
    return None
