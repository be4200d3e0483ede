"""A user's norm in the study's network: made for each of its sizes, and tried once before anything is trained."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..conventions.raised import raised_as
from ..errors import ArgumentError
from ..spec import NO_NORM, NORMS
from ..targets import arguments
from ..targets.build import TargetError, made
from ..targets.target import Target

_SET_BY_THE_NETWORK = (*arguments.SIZES, "num_groups")
_BATCH = 4


class Rows(nn.Module):
    """A norm over trailing sizes, which gets all numbers of an image as one row."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, input: Tensor) -> Tensor:
        """Apply the norm to input (N, C, *S) as N rows; the output has the input's shape."""
        return self.norm(input.flatten(1)).reshape(input.shape)


def norm(target: Target, channels: int, size: int, num_groups: int) -> nn.Module:
    """Return a target's module for maps (N, channels, size, size), with its own initial weights.

    A norm that is like one over the trailing sizes is made for channels · size · size numbers. The random numbers of
    others are not touched.

    Raises:
        ImportPathError: its path leads nowhere.
        ArgumentError: an argument without a value.
        TargetError: making it raises an error.
    """
    by_element = target.spec is not None and target.spec.affine == "element"
    shape = (_BATCH, channels * size * size) if by_element else (_BATCH, channels, size, size)
    with torch.random.fork_rng(devices=[]):
        module = made(_without_sizes(target, num_groups), shape)
    return Rows(module) if by_element else module


def check(target: Target) -> None:
    """Refuse a target that cannot take part.

    Raises:
        ArgumentError: it is a prepared call, has no import path, or the name of a norm.
    """
    if target.make is None:
        raise ArgumentError("with", target.title, "is a prepared call and no norm")
    if target.path is None:
        raise ArgumentError("with", target.title, "has no import path that another process could use")
    if target.title in (NO_NORM, *NORMS):
        raise ArgumentError("with", target.title, "is called as a norm of the study: give it another name")


def try_out(target: Target, channels: int, size: int, num_groups: int) -> None:
    """Make a target for maps of that size, and call it forward, backward and in evaluation mode.

    Raises:
        NormsuiteError: it cannot be made, raises an error, or returns something else than a tensor like its input.
    """
    module = norm(target, channels, size, num_groups)
    x = torch.linspace(-1, 1, _BATCH * channels * size * size).reshape(_BATCH, channels, size, size).requires_grad_()
    with raised_as(lambda said: TargetError(f"{target.title} fails on {_BATCH}×{channels}×{size}×{size}: {said}")):
        y = module(x)
        kept = isinstance(y, Tensor) and (y.shape, y.dtype) == (x.shape, x.dtype)
        gradient = torch.autograd.grad(y.sum(), x)[0] if kept else None
        with torch.no_grad():
            module.eval()(x)
    if gradient is None:
        found = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise TargetError(f"{target.title} returns {found} for an input of {tuple(x.shape)} {x.dtype}")
    if not math.isfinite(float(y.detach().sum())):
        raise TargetError(f"{target.title} returns numbers that are not finite for finite ones")


def _without_sizes(target: Target, num_groups: int) -> Target:
    """Return the target without the arguments that the network decides: how many channels, and how many groups."""
    made = target.loaded()
    if isinstance(made, nn.Module):
        raise ArgumentError("make", target.title, "is a module, made for one size: name its class")
    if not callable(made):
        raise ArgumentError("make", target.title, "cannot be called")
    names = list(arguments.parameters(made) or ())
    if not isinstance(made, type) and arguments.takes_input(made):
        names = [name for name in names[1:] if name not in (*arguments.TENSORS, *arguments.MODE_FLAGS)]
    by_place = dict(zip(names, target.args, strict=False))
    return replace(
        target, args=target.args[len(names) :], kwargs=_kept({**by_place, **target.kwargs}), num_groups=num_groups
    )


def _kept(given: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name not in _SET_BY_THE_NETWORK}
