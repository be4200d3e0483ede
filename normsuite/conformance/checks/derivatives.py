"""Derivatives beyond the first backward pass, and batches of calls."""

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vmap

from ...targets.build import Built
from ..result import Finding
from ..subject import Subject
from ..truth import array
from . import check

_STEP = 1e-6
_CLOSE = 1e-6
_FEW = 64


def _small(subject: Subject) -> tuple[Built, Tensor]:
    """The target in float64 on an input of few values, so that every derivative can be tried."""
    shape = list(subject.shape)
    while shape[0] > 2:
        shape[0] = 2
    built = subject.built(dtype=torch.float64, shape=shape)
    return built, subject.input(dtype=torch.float64, shape=shape)


def _relative(found: Tensor, true: Tensor) -> float:
    return float((found - true).abs().max() / true.abs().max().clamp_min(1e-12))


@check(optional=True)
def double_backward(subject: Subject) -> Finding | None:
    """The derivative of the gradient is right, as a gradient penalty needs it."""
    built, x = _small(subject)
    dy, along = subject.gradient(x), subject.input(dtype=torch.float64, shape=x.shape, seed=12)

    def gradient(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(built(x), x, dy, create_graph=True)[0]

    given = x.detach().requires_grad_()
    (dx,) = torch.autograd.grad(built(given), given, dy, create_graph=True)
    if not dx.requires_grad:
        raise NotImplementedError("the gradient itself has no gradient")
    (found,) = torch.autograd.grad(dx, given, along)
    # The Hessian of <y, dy> is symmetric: its product with `along` is the derivative of the gradient along it.
    true = (gradient(x + _STEP * along) - gradient(x - _STEP * along)).detach() / (2 * _STEP)
    figure = _relative(found, true)
    return subject.fails("differs from differences of gradients", figure) if figure > 1e-4 else None


@check(optional=True)
def forward_mode(subject: Subject) -> Finding | None:
    """Forward-mode differentiation gives the directional derivative."""
    built, x = _small(subject)
    along = subject.input(dtype=torch.float64, shape=x.shape, seed=12)
    _, found = jvp(built.module, (x,), (along,))
    with torch.no_grad():
        true = (built(x + _STEP * along) - built(x - _STEP * along)) / (2 * _STEP)
    figure = _relative(found, true)
    return subject.fails("differs from differences of outputs", figure) if figure > _CLOSE else None


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
        return None

    def loss(given: dict, x: Tensor) -> Tensor:
        return functional_call(built.module, {**given, **buffers}, (x,)).pow(3).sum()

    x = torch.stack([subject.input(seed=13), subject.input(seed=14)])
    grad = torch.func.grad(loss)
    found = vmap(grad, in_dims=(None, 0))(parameters, x)
    for number, one in enumerate(x):
        for name, true in grad(parameters, one).items():
            figure = subject.ulps(array(found[name][number]), array(true))
            if figure > 64:
                return subject.fails(f"the gradient of {name} differs", figure, unit="ULP")
    return None
