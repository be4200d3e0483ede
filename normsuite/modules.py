"""The norms as modules: torch.nn's classes with another forward pass.

They derive from torch's own classes, so that constructor arguments, attributes, state_dict, loading, casting, weight
decay rules and `isinstance` checks written for torch.nn hold; only what computes is ours, and `backend` says what.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import fusion

from . import backends, functional, tracing
from .errors import ArgumentError, ShapeError, UnknownNameError, UnsupportedError
from .functional import DEFAULT_BACKEND
from .spec import NORMS, NormSpec

_BATCH_NORM = NORMS["BatchNorm"]
_SYNC = nn.SyncBatchNorm.convert_sync_batchnorm.__func__  # type: ignore[attr-defined]  # of a class method
_CONVERSIONS = {each.__code__ for each in (_SYNC, fusion.fuse_conv_bn_eval, fusion.fuse_linear_bn_eval)}
"""Torch's own conversion functions, which treat our modules as torch.nn's, since ours are subclasses."""


class _WithBackend(nn.Module):
    """Accept `backend` and `activation` beside torch's arguments, and show them where they are not the default."""

    _activation: str | None = None  # also for a module that `convert` made ours
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # what torch's class of the norm has

    def __init__(
        self, *arguments: Any, backend: str = DEFAULT_BACKEND, activation: str | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.backend = backend
        self.activation = activation

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ != __name__:
            if "__init__" in vars(cls):  # a signature that is inherited is not its own
                own = list(inspect.signature(cls.__init__).parameters.values())[1:]
                setattr(cls, "__signature__", inspect.Signature(own))  # noqa: B010  # no type has it
            return
        base = next((c for c in cls.__mro__ if c.__module__.startswith("torch.nn")), nn.Module)
        if base is not nn.Module:  # help() shows torch's arguments and ours, and skip_init asks for torch's
            theirs = inspect.signature(base).parameters.values()
            made = [vars(c)["__init__"] for c in cls.__mro__ if c.__module__ == __name__ and "__init__" in vars(c)]
            ours = [p for of in made for p in inspect.signature(of).parameters.values() if p.kind is p.KEYWORD_ONLY]
            setattr(cls, "__signature__", inspect.Signature([*theirs, *ours]))  # noqa: B010

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("activation", "backend", "eps") and isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)  # torch's own would make a module or a parameter a part of this one
        else:
            super().__setattr__(name, value)

    @property
    def backend(self) -> str:
        """Name of the backend that computes: one of `normsuite.backends.NAMES`."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        backends.get(name)
        self._backend = name

    @property
    def activation(self) -> str | None:
        """Activation after the norm, in the same pass: one of `normsuite.backends.ACTIVATIONS`, or None."""
        return self._activation

    @activation.setter
    def activation(self, name: str | None) -> None:
        if name is not None and name not in backends.ACTIVATIONS:
            raise UnknownNameError.among("activation", name, backends.ACTIVATIONS)
        self._activation = name

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse torch.jit.script, which asks for the module to compile."""
        advice = "torch.jit.script cannot compile it: call normsuite.revert(model) first, or use torch.jit.trace"
        raise UnsupportedError("module", type(self).__qualname__, advice)

    def extra_repr(self) -> str:
        shown = super().extra_repr()
        own = {"activation": (self.activation, None), "backend": (self.backend, DEFAULT_BACKEND)}
        return shown + "".join(f", {name}={value}" for name, (value, usual) in own.items() if value != usual)


class _Joined:
    """A group of processes, which a copy of a module shares: it cannot be copied."""

    def __init__(self, group: "torch.distributed.ProcessGroup"):
        self.group = group

    def __deepcopy__(self, _memo: dict[int, Any]) -> "_Joined":
        return self


class _BatchNormForward(_WithBackend):
    """Accept `process_group` too: processes whose batches count as one while training."""

    _joined: "_Joined | None" = None  # also for a module that `convert` made ours

    def __init__(
        self, *arguments: Any, process_group: "torch.distributed.ProcessGroup | None" = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.process_group = process_group

    @property
    def process_group(self) -> "torch.distributed.ProcessGroup | None":
        """Processes whose batches are joined with those of this one while training, or None."""
        return None if self._joined is None else self._joined.group

    @process_group.setter
    def process_group(self, group: "torch.distributed.ProcessGroup | None") -> None:
        self._joined = None if group is None else _Joined(group)

    @property
    def eps(self) -> float:
        """Added to the variance. Torch's own conversions ask for it, and would drop an activation without a word."""
        frame = None if self._activation is None else sys._getframe(1)
        if frame and (frame.f_code in _CONVERSIONS or frame.f_globals.get("__name__") == "torch.utils.mkldnn"):
            advice = f"{frame.f_code.co_qualname} would drop it: set it to None, put torch.nn's module behind the norm"
            raise UnsupportedError("activation", self._activation, advice)
        return self.__dict__["eps"]  # type: ignore[no-any-return]

    @eps.setter
    def eps(self, value: float) -> None:
        self.__dict__["eps"] = value

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        self._check_input_dim(input)
        update = self.training and self.track_running_stats
        use_input_stats = self.training or (self.running_mean is None and self.running_var is None)
        keep = update or not use_input_stats
        momentum, counted = self.momentum, self.num_batches_tracked if update else None
        if momentum is None:
            momentum = 0.0
            if counted is not None and self.running_mean is not None:
                # Stays a tensor: reading it would break a compiled graph. This batch is counted once it is accepted.
                wide = torch.promote_types(self.running_mean.dtype, torch.float32)
                momentum = (counted + 1).to(wide).reciprocal()
        return functional.compute(
            _BATCH_NORM, input, self.weight, self.bias, self.running_mean if keep else None,
            self.running_var if keep else None, use_input_stats, momentum, self.__dict__["eps"], None, None,
            self._joined.group if self.training and self._joined is not None else None,
            self._activation, None, self._backend, counted,
        )  # fmt: skip


class _InstanceNormForward(_WithBackend):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        return super().forward(input)  # type: ignore[no-any-return]

    def _apply_instance_norm(self, input: torch.Tensor) -> torch.Tensor:
        # Torch's forward checks the rank, warns of a channel count that does not fit, adds a batch dimension where
        # there is none, and then calls this.
        return functional.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
            activation=self._activation,
            backend=self._backend,
        )


class BatchNorm1d(_BatchNormForward, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d, computed as `functional.batch_norm` is: for (N, C) and (N, C, L).

    Raises what torch.nn's raises, and UnknownNameError for an unknown backend. `momentum=None` averages all batches
    with equal weight and, unlike torch's, does not break a compiled graph. Source: Ioffe and Szegedy 2015.
    """


class BatchNorm2d(_BatchNormForward, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d, computed as `functional.batch_norm` is: for (N, C, H, W). See `BatchNorm1d`."""


class BatchNorm3d(_BatchNormForward, nn.BatchNorm3d):
    """torch.nn.BatchNorm3d, computed as `functional.batch_norm` is: for (N, C, D, H, W). See `BatchNorm1d`."""


class BatchNorm(_BatchNormForward, _BatchNorm):
    """`BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d` in one: for (N, C) to (N, C, D, H, W).

    Raises:
        ShapeError: an input of another rank, or of another number of channels than weight or running statistics.
        UnknownNameError: no such backend.
    """

    def _check_input_dim(self, input: torch.Tensor) -> None:
        _check_rank(input, lowest=2)


class InstanceNorm1d(_InstanceNormForward, nn.InstanceNorm1d):
    """torch.nn.InstanceNorm1d, computed by `functional.instance_norm`: for (N, C, L) and (C, L).

    Raises and warns as torch.nn's, and raises UnknownNameError for an unknown backend. Source: Ulyanov et al. 2016.
    """


class InstanceNorm2d(_InstanceNormForward, nn.InstanceNorm2d):
    """torch.nn.InstanceNorm2d, computed by `functional.instance_norm`: for (N, C, H, W) and (C, H, W)."""


class InstanceNorm3d(_InstanceNormForward, nn.InstanceNorm3d):
    """torch.nn.InstanceNorm3d, computed by `functional.instance_norm`: for (N, C, D, H, W) and (C, D, H, W)."""


class InstanceNorm(_InstanceNormForward, _InstanceNorm):
    """`InstanceNorm1d`, `InstanceNorm2d` and `InstanceNorm3d` in one, for batched input: (N, C, L) to (N, C, D, H, W).

    An input without a batch dimension is refused: the rank alone does not tell it from a batched one.

    Raises:
        ShapeError: an input of another rank or another number of channels.
        UnknownNameError: no such backend.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply the norm to input (N, C, *S) with C = num_features; the output has its shape."""
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        _check_rank(input, lowest=3)
        if input.shape[1] != self.num_features:
            raise ShapeError("input.shape", tuple(input.shape), f"must have {self.num_features} channels")
        return self._apply_instance_norm(input)


class LayerNorm(_WithBackend, nn.LayerNorm):
    """torch.nn.LayerNorm, computed by `functional.layer_norm`.

    Raises ShapeError for an input that does not end in `normalized_shape`, and UnknownNameError for an unknown backend.
    Source: Ba, Kiros and Hinton 2016.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply the norm to input (*, *normalized_shape); the output has its shape."""
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        return functional.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps, activation=self._activation,
            backend=self._backend,
        )  # fmt: skip


class RMSNorm(_WithBackend, nn.RMSNorm):
    """torch.nn.RMSNorm, computed by `functional.rms_norm`.

    Raises as `LayerNorm`. Source: Zhang and Sennrich 2019.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the norm to x (*, *normalized_shape), called as in torch.nn; the output has its shape."""
        if type(x) is not torch.Tensor and tracing.is_part(self, x):
            return tracing.node(self, x)
        return functional.rms_norm(
            x, self.normalized_shape, self.weight, self.eps, activation=self._activation, backend=self._backend
        )


class GroupNorm(_WithBackend, nn.GroupNorm):
    """torch.nn.GroupNorm, computed by `functional.group_norm`.

    Raises ArgumentError for groups that do not divide the channels, ShapeError for an input with another number of
    channels than its weight, and UnknownNameError for an unknown backend. Source: Wu and He 2018.
    """

    def __init__(self, num_groups: int, num_channels: int, *arguments: Any, **options: Any) -> None:
        NORMS["GroupNorm"].num_groups(num_channels, num_groups)
        super().__init__(num_groups, num_channels, *arguments, **options)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply the norm to input (N, C, *S) with C = num_channels; the output has its shape."""
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        return functional.group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps, activation=self._activation, backend=self._backend
        )


class Norm(_WithBackend):
    """Any norm without running statistics, for inputs (N, C, *S) of one size: what a new `NormSpec` gets at once.

    Args:
        spec: the norm.
        channels: C.
        spatial: *S, which a norm with an affine map per element needs.
        num_groups: for a norm whose groups are given.
        eps: added to the variance.
        affine: whether a weight and a bias follow.
        activation, backend: what follows in the same pass, or None; what computes.
    """

    def __init__(
        self,
        spec: NormSpec,
        channels: int,
        spatial: Sequence[int] = (),
        *,
        num_groups: int | None = None,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
        backend: str = DEFAULT_BACKEND,
    ):
        super().__init__(backend=backend, activation=activation)
        self.spec, self.num_groups, self.eps = spec, num_groups, eps
        self.normalized_shape = (channels, *spatial) if spec.affine == "element" else None
        shape = self.normalized_shape or (channels,)
        self.register_parameter("weight", nn.Parameter(torch.ones(shape)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if affine and spec.centred else None)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply the norm to input (N, C, *S); the output has its shape."""
        if type(input) is not torch.Tensor and tracing.is_part(self, input):
            return tracing.node(self, input)
        return functional.normalize(
            self.spec,
            input,
            self.weight,
            self.bias,
            eps=self.eps,
            num_groups=self.num_groups,
            normalized_shape=self.normalized_shape,
            activation=self._activation,
            backend=self._backend,
        )

    def extra_repr(self) -> str:
        """Return the norm's name, the shape of its weight, eps, and what all modules here show."""
        own = super().extra_repr()
        shape = None if self.weight is None else tuple(self.weight.shape)
        return f"{self.spec.name}, {shape}, eps={self.eps}{own}"


_MAKERS: dict[str, Callable[..., nn.Module]] = {
    "BatchNorm": lambda channels, spatial, groups, affine, own: BatchNorm(channels, affine=affine, **own),
    "LayerNorm": lambda channels, spatial, groups, affine, own: LayerNorm(
        (channels, *spatial), elementwise_affine=affine, **own
    ),
    "GroupNorm": lambda channels, spatial, groups, affine, own: GroupNorm(groups, channels, affine=affine, **own),
    "InstanceNorm": lambda channels, spatial, groups, affine, own: InstanceNorm(channels, affine=affine, **own),
    # With the eps of the others, so that the norms differ in nothing else.
    "RMSNorm": lambda channels, spatial, groups, affine, own: RMSNorm(
        (channels, *spatial), eps=1e-5, elementwise_affine=affine, **own
    ),
}


def make(
    spec: NormSpec,
    channels: int,
    spatial: Sequence[int],
    *,
    num_groups: int | None = None,
    affine: bool = True,
    activation: str | None = None,
    backend: str = DEFAULT_BACKEND,
) -> nn.Module:
    """Return the module of that norm for inputs (N, channels, *spatial), with an affine map unless `affine` is false.

    Raises:
        ArgumentError: `num_groups` is missing or does not divide the channels, or a new norm with running statistics.
    """
    spec.num_groups(channels, num_groups)
    own: dict[str, Any] = {"activation": activation, "backend": backend}
    if spec.name in _MAKERS:
        return _MAKERS[spec.name](channels, spatial, num_groups, affine, own)
    if spec.running == "always":
        raise ArgumentError("norm", spec.name, "keeps running statistics, which the general module does not")
    groups = num_groups if spec.groups == "given" else None
    return Norm(spec, channels, spatial, num_groups=groups, affine=affine, **own)


def _check_rank(input: torch.Tensor, lowest: int) -> None:
    if not lowest <= input.dim() <= 5:
        raise ShapeError("input.shape", tuple(input.shape), f"must have from {lowest} to 5 dimensions")
