"""The network that every norm is tried in: five small convolutions, the norm after each of them."""

from dataclasses import dataclass

import torch
from torch import nn

from .. import modules
from ..functional import DEFAULT_BACKEND
from ..spec import NormSpec


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


def build(norm: NormSpec | None, *, seed: int, num_groups: int = 4, backend: str = DEFAULT_BACKEND) -> nn.Sequential:
    """The network with that norm, or with none.

    Equal seeds give equal weights whatever the norm: norms draw no random numbers. 8,506 parameters without the norms'.

    Args:
        norm: after each convolution (and its pooling), before the activation; None leaves it out.
        seed: of the initial weights.
        num_groups: for a norm whose groups are given; divides 8 and 16.
        backend: what computes the norms.

    Returns:
        A module from (N, 1, 28, 28) to (N, 10), in torch's channels_last layout, which its convolutions prefer.

    Raises:
        ArgumentError: groups that do not divide the channels.
    """
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels, size = 1, _SIZE
    for stage in _STAGES:
        padding = stage.kernel // 2
        layers.append(nn.Conv2d(channels, stage.channels, stage.kernel, stride=stage.stride, padding=padding))
        channels, size = stage.channels, size // stage.stride
        if stage.pool:
            layers.append(nn.MaxPool2d(2))
            size //= 2
        if norm is not None:
            layers.append(modules.make(norm, channels, (size, size), num_groups=num_groups, backend=backend))
        layers.append(nn.ReLU())
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, _CLASSES)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def parameter_counts(network: nn.Module) -> tuple[int, int]:
    """Learnable numbers of the network without its norms, and of the norms."""
    plain = (nn.Conv2d, nn.Linear)
    own = sum(p.numel() for m in network.modules() if isinstance(m, plain) for p in m.parameters())
    return own, sum(p.numel() for p in network.parameters()) - own
