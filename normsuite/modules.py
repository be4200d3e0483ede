"""The norms as modules: torch.nn's constructor arguments, attributes and state_dict keys, for any rank, with `backend`.

They derive from torch's own classes, so that loading, casting, weight decay rules and `isinstance` checks written for
torch.nn hold; only the forward pass is ours.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from . import backends, functional
from .errors import ArgumentError, ShapeError
from .functional import DEFAULT_BACKEND
from .spec import NormSpec


class _WithBackend(nn.Module):
    """Holds the name of a backend that exists, and shows it where it is not the default."""

    @property
    def backend(self) -> str:
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        backends.get(name)
        self._backend = name

    def extra_repr(self) -> str:
        shown = super().extra_repr()
        return shown if self.backend == DEFAULT_BACKEND else f"{shown}, backend={self.backend}"


class BatchNorm(_WithBackend, _BatchNorm):
    """`functional.batch_norm` with its parameters and running statistics, for (N, C) to (N, C, D, H, W).

    Arguments, attributes and state_dict are those of torch.nn.BatchNorm1d, 2d and 3d, which it replaces all three;
    `backend` is ours. `momentum=None` averages all batches seen with equal weight.

    Raises:
        ShapeError: an input of another rank or another number of channels.
        UnknownNameError: no such backend.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device=None,
        dtype=None,
        *,
        backend: str = DEFAULT_BACKEND,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.backend = backend

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        _check_channels(input, self.num_features, lowest_rank=2)
        update = self.training and self.track_running_stats
        use_input_stats = self.training or self.running_mean is None
        keep = update or not use_input_stats
        return functional.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            use_input_stats,
            _count_batch(self) if update else 0.0,
            self.eps,
            backend=self.backend,
        )


class InstanceNorm(_WithBackend, _InstanceNorm):
    """`functional.instance_norm` with its parameters and running statistics, for (N, C, L) to (N, C, D, H, W).

    Arguments, attributes and state_dict are those of torch.nn.InstanceNorm1d, 2d and 3d, which it replaces all three
    for batched input; `backend` is ours.

    Raises:
        ShapeError: an input of another rank or another number of channels.
        UnknownNameError: no such backend.

    Source: Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022. An input without a batch dimension, which torch
    takes, is refused here: the rank alone does not tell it from a batched one.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device=None,
        dtype=None,
        *,
        backend: str = DEFAULT_BACKEND,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.backend = backend

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        _check_channels(input, self.num_features, lowest_rank=3)
        return functional.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
            backend=self.backend,
        )


class LayerNorm(_WithBackend, nn.LayerNorm):
    """`functional.layer_norm` with its parameters: torch.nn.LayerNorm's arguments and state_dict, and `backend`.

    Raises:
        ShapeError: an input that does not end in `normalized_shape`.
        UnknownNameError: no such backend.

    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device=None,
        dtype=None,
        *,
        backend: str = DEFAULT_BACKEND,
    ):
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)
        self.backend = backend

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps, backend=self.backend
        )


class GroupNorm(_WithBackend, nn.GroupNorm):
    """`functional.group_norm` with its parameters: torch.nn.GroupNorm's arguments and state_dict, and `backend`.

    Raises:
        ArgumentError: `num_groups` does not divide `num_channels`.
        ShapeError: an input with another number of channels.
        UnknownNameError: no such backend.

    Source: Wu and He 2018, arXiv:1803.08494.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device=None,
        dtype=None,
        *,
        backend: str = DEFAULT_BACKEND,
    ):
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError("num_groups", num_groups, f"must divide num_channels = {num_channels}")
        super().__init__(num_groups, num_channels, eps, affine, device, dtype)
        self.backend = backend

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        _check_channels(input, self.num_channels, lowest_rank=2)
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps, backend=self.backend)


def make(
    spec: NormSpec,
    channels: int,
    spatial: Sequence[int],
    *,
    num_groups: int | None = None,
    backend: str = DEFAULT_BACKEND,
) -> nn.Module:
    """The module of that norm for inputs (N, channels, *spatial), with a weight and a bias whatever its default.

    Raises:
        ArgumentError: `num_groups` is missing or does not divide the channels.
    """
    spec.num_groups(channels, num_groups)
    if spec.affine == "element":
        return LayerNorm((channels, *spatial), backend=backend)
    if spec.groups == "given":
        return GroupNorm(num_groups, channels, backend=backend)
    return (BatchNorm if "batch" in spec.axes else InstanceNorm)(channels, affine=True, backend=backend)


def _check_channels(input: torch.Tensor, channels: int, lowest_rank: int) -> None:
    shape = tuple(input.shape)
    if not lowest_rank <= len(shape) <= 5:
        raise ShapeError("input.shape", shape, f"must have from {lowest_rank} to 5 dimensions")
    if shape[1] != channels:
        raise ShapeError("input.shape", shape, f"must have {channels} channels, as the module has")


def _count_batch(module: _BatchNorm) -> float:
    """Count one more batch, and say which weight its statistics get."""
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        if module.momentum is None:
            return 1.0 / float(module.num_batches_tracked)
    return module.momentum if module.momentum is not None else 0.0
