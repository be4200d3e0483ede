"""The network that every norm is tried in: five small convolutions, the norm after each of them."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from .. import modules
from ..errors import ArgumentError, UnknownNameError
from ..functional import DEFAULT_BACKEND
from ..spec import NormSpec
from ..targets.target import Target
from ..vocabulary import AFFINES
from . import target_norms


@dataclass(frozen=True)
class _Stage:
    """One convolution; a pooling that halves the map comes before the norm, where it costs a quarter."""

    channels: int
    kernel: int = 3
    stride: int = 1
    pool: bool = False


_STAGES = (_Stage(8, kernel=5, stride=2), _Stage(16, pool=True), _Stage(16), _Stage(16), _Stage(16))
_SIZE = 28
_CLASSES = 10


class Affine(nn.Module):
    """y = x · weight + bias, of any shape that x ends in: an affine map that a norm does not have itself."""

    bias: torch.Tensor | None

    def __init__(self, shape: tuple[int, ...], with_bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if with_bias else None)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input · weight + bias."""
        return input * self.weight if self.bias is None else torch.addcmul(self.bias, input, self.weight)


def _norm(spec: NormSpec, channels: int, size: int, num_groups: int, affine: str | None, backend: str) -> nn.Module:
    """Return the norm and the activation, in one pass where nothing comes between them."""
    own = affine in (None, spec.affine)
    make = partial(modules.make, spec, channels, (size, size), num_groups=num_groups, affine=own, backend=backend)
    if own:
        return make(activation="relu")
    shape = (channels, 1, 1) if affine == "channel" else (channels, size, size)
    return nn.Sequential(make(), Affine(shape, with_bias=spec.centred), nn.ReLU())


def _target_norm(target: Target, channels: int, size: int, num_groups: int) -> nn.Module:
    """Return a target and the activation, unless it applies one itself."""
    module = target_norms.norm(target, channels, size, num_groups)
    return module if target.activation is not None else nn.Sequential(module, nn.ReLU())


def maps() -> list[tuple[int, int]]:
    """Return channels and height of what each norm gets."""
    found, size = [], _SIZE
    for stage in _STAGES:
        size //= stage.stride * (2 if stage.pool else 1)
        found.append((stage.channels, size))
    return found


def build(
    norm: NormSpec | Target | None,
    *,
    seed: int,
    num_groups: int = 4,
    affine: str | None = None,
    backend: str = DEFAULT_BACKEND,
) -> nn.Sequential:
    """Return the network with that norm, or with none.

    Equal seeds give equal weights whatever the norm: norms draw no random numbers. 8,506 parameters without the norms'.

    Args:
        norm: after each convolution (and its pooling), before the activation; None leaves it out. A target brings
            its own affine map.
        seed: of the initial weights.
        num_groups: for a norm whose groups are given; divides 8 and 16.
        affine: one of `AFFINES`, whatever the norm has by itself; None leaves it to the norm.
        backend: what computes the norms.

    Returns:
        A module from (N, 1, 28, 28) to (N, 10), in torch's channels_last layout, which its convolutions prefer.

    Raises:
        ArgumentError: groups that do not divide the channels, or an affine map beside a target.
        NormsuiteError: a target that cannot be made.
        UnknownNameError: no such affine map.
    """
    if affine is not None and affine not in AFFINES:
        raise UnknownNameError.among("affine", affine, AFFINES)
    if affine is not None and isinstance(norm, Target):
        raise ArgumentError("affine", affine, f"is not for {norm.title}, which has its own affine map or none")
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    before = 1
    for stage, (channels, size) in zip(_STAGES, maps(), strict=True):
        padding = stage.kernel // 2
        layers.append(nn.Conv2d(before, channels, stage.kernel, stride=stage.stride, padding=padding))
        before = channels
        if stage.pool:
            layers.append(nn.MaxPool2d(2))
        if isinstance(norm, Target):
            layers.append(_target_norm(norm, channels, size, num_groups))
        else:
            layers.append(nn.ReLU() if norm is None else _norm(norm, channels, size, num_groups, affine, backend))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, _CLASSES)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


LEARNING = (nn.Conv2d, nn.Linear)
"""The layers whose weights do the work: each norm stands behind one of them."""


def parameter_counts(network: nn.Module) -> tuple[int, int]:
    """Return the number of learnable parameters of the network without its norms, and of its norms."""
    own = sum(p.numel() for m in network.children() if isinstance(m, LEARNING) for p in m.parameters())
    return own, sum(p.numel() for p in network.parameters()) - own
