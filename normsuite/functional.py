"""The norms as functions: torch.nn.functional's signatures, and a keyword `backend`.

All of them compute

    y = (x − mean) / √(var + eps) · weight + bias

with the mean and the biased variance var = Σ(x − mean)²/n over different elements. Inputs and outputs have the same
shape and type; every floating-point type is taken.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, is_grad_enabled
from torch.compiler import is_dynamo_compiling

from . import backends
from .errors import ArgumentError, ShapeError, UnknownNameError
from .spec import NORMS, NormSpec, View

DEFAULT_BACKEND = "torch"
backends.get(DEFAULT_BACKEND)  # now, since torch.compile traces no imports

_BATCH_NORM, _LAYER_NORM, _RMS_NORM = NORMS["BatchNorm"], NORMS["LayerNorm"], NORMS["RMSNorm"]


def normalize(
    spec: NormSpec,
    input: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    num_groups: int | None = None,
    normalized_shape: Sequence[int] | None = None,
    process_group: "torch.distributed.ProcessGroup | None" = None,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Apply any norm: check the arguments, then let the backend compute. The named norms below are this with torch's
    signatures.

    y = (x − mean) / √(var + eps) · weight + bias, with mean and variance as `spec` says.

    Args:
        spec: the norm.
        input: (N, C, *S), any floating-point type.
        weight, bias: (C,), or the normalised shape for a norm with an affine map per element; or None.
        running_mean, running_var: (C,) or both None.
        use_input_stats: use the statistics of the input; otherwise the running ones.
        momentum: weight of the new value in the running statistics.
        eps: added to the variance, inside the root.
        num_groups: G, for a norm whose groups are given.
        normalized_shape: trailing sizes, for a norm with an affine map per element; (C, *S) where left out.
        process_group: processes whose batches count as one, for a norm that averages over the batch.
        activation: "relu" or "silu" of the result, or None.
        out: where to write the result: a tensor of the input's shape, type and layout; not where a gradient is needed.
        backend: one of `normsuite.backends.NAMES`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError: a shape that does not fit.
        ArgumentError: running statistics needed and missing, or an eps that torch refuses.
        UnknownNameError: no such backend.
        UnsupportedError: the backend cannot compute this.
    """
    if not isinstance(input, Tensor):
        raise ArgumentError("input", type(input).__name__, "must be a torch.Tensor")
    if type(normalized_shape) is not tuple and spec.affine == "element" and not isinstance(normalized_shape, int):
        normalized_shape = tuple(input.shape[1:] if normalized_shape is None else normalized_shape)
    if out is not None:
        _check_out(out, input, weight, bias)
    kind = None
    if (
        type(input) is Tensor
        and (running_mean is None or type(momentum) is float)
        and (num_groups is None or type(num_groups) is int)  # 2.0 groups are not 2
        and process_group is None
        and not is_dynamo_compiling()
    ):
        kind = (
            spec,
            backend,
            activation,
            input.numel() if spec.affine == "element" else input.shape,  # asking for less takes less
            input.is_contiguous(),
            # `Call.differentiated`, of what is not a call yet.
            is_grad_enabled() and (input.requires_grad or (weight is not None and weight.requires_grad)),
            weight is None,
            bias is None,
            running_mean is None,
            running_var is None,
            use_input_stats,
            eps,
            num_groups,
            normalized_shape,
            out is None,
        )
        try:
            again = _known.get(kind)
        except TypeError:  # something that `_checked` will refuse
            kind = again = None
        if again is not None:
            try:
                y = again(input, weight, bias, running_mean, running_var, momentum, out)
            except Exception:  # said below in our words, if we have any
                y = None
            if y is not None:
                return y
    if activation is not None and activation not in backends.ACTIVATIONS:
        raise UnknownNameError.among("activation", activation, backends.ACTIVATIONS)
    call = backends.Call(
        spec=spec,
        view=_checked(
            spec,
            input.shape,
            *(None if given is None else given.shape for given in (weight, bias, running_mean, running_var)),
            use_input_stats,
            eps,
            num_groups,
            normalized_shape,
            process_group is None,
        ),
        input=input,
        weight=weight,
        bias=bias,
        running_mean=running_mean,
        running_var=running_var,
        use_input_stats=use_input_stats,
        momentum=momentum,
        eps=eps,
        num_groups=num_groups,
        normalized_shape=normalized_shape,
        process_group=process_group,
        activation=activation,
        out=out,
    )
    y = backends.apply(call, backend)
    if kind is not None:  # only now: what a backend refuses is asked again
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        module = backends.get(backend)
        _known[kind] = module.again(call)
        if (spec, backend, activation) not in _unchecked:
            _unchecked[spec, backend, activation] = module.unchecked(spec, activation) or _nobody
    return y


_known: dict[tuple, backends.Again | None] = {}
"""What computes calls of a kind that was checked and computed before, if anything does: a model makes the same ones in
every step, and checking and choosing take longer than a small norm."""
_MOST_KNOWN = 4096

_unchecked: dict[tuple, backends.Unchecked] = {}
"""What computes small calls of a spec, backend and activation that was computed before: even to look up its kind is too
much beside torch's norm of one row, and so would be a function around those lines of the named norms that ask it."""


def _nobody(*arguments: object) -> None:
    """Where a backend has no such way."""


def _checked(
    spec: NormSpec,
    shape: torch.Size,
    weight: torch.Size | None,
    bias: torch.Size | None,
    running_mean: torch.Size | None,
    running_var: torch.Size | None,
    use_input_stats: bool,
    eps: float,
    num_groups: int | None,
    normalized_shape: tuple[int, ...] | None,
    alone: bool,
) -> View:
    """The norm's view of the input, if all shapes and settings fit it; raises what `normalize` says."""
    if eps != eps:  # NaN, in words that torch.compile can trace
        raise ArgumentError("eps", eps, "must be a number")
    if spec.running == "always" and use_input_stats and eps <= 0:
        raise ArgumentError("eps", eps, "must be positive during training")
    if isinstance(normalized_shape, int):
        raise ArgumentError("normalized_shape", normalized_shape, "must be a sequence of sizes")
    view = spec.view(shape, num_groups=num_groups, normalized_shape=normalized_shape)
    channels = tuple(shape[1:2])
    affine_shape = normalized_shape if spec.affine == "element" else channels
    for name, parameter, expected in (
        ("weight", weight, affine_shape),
        ("bias", bias, affine_shape),
        ("running_mean", running_mean, channels),
        ("running_var", running_var, channels),
    ):
        if parameter is not None and tuple(parameter) != expected:
            raise ShapeError(f"{name}.shape", tuple(parameter), f"must be {expected}")
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ArgumentError(missing, None, "running_mean and running_var are given together or not at all")
    if not use_input_stats and running_mean is None:
        raise ArgumentError("running_mean", None, "is needed where the statistics of the input are not used")
    if spec.groups == "given" and 0 in view.shape[1:]:
        raise ShapeError("input.shape", tuple(shape), "needs at least one channel and one value in each")
    if alone and use_input_stats and view.count == 1 and (spec.running != "never" or not view.dims):
        raise ShapeError("input.shape", tuple(shape), "expected more than 1 value per channel when training")
    return view


def _check_out(out: torch.Tensor, input: torch.Tensor, *parameters: torch.Tensor | None) -> None:
    if not isinstance(out, torch.Tensor):
        raise ArgumentError("out", type(out).__name__, "must be a torch.Tensor")
    if out.shape != input.shape or out.dtype != input.dtype or out.device != input.device:
        found = f"{tuple(out.shape)}, {out.dtype}, {out.device}"
        wanted = f"{tuple(input.shape)}, {input.dtype}, {input.device}"
        raise ShapeError("out", found, f"must be like the input, {wanted}")
    if out.stride() != input.stride():
        raise ShapeError("out.stride()", out.stride(), f"must be the input's, {input.stride()}")
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (out, input, *parameters)):
        raise ArgumentError("out", tuple(out.shape), "cannot be given where a gradient is asked for")


def batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    process_group: "torch.distributed.ProcessGroup | None" = None,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Normalise every channel over the batch and its places.

    mean_c = Σ_{n,s} x[n, c, s] / (N·S); in evaluation the running statistics are used instead.

    Args:
        input: (N, C, *S), from (N, C) to (N, C, D, H, W).
        running_mean, running_var: (C,), updated in place while training: running ← (1 − momentum) · running +
            momentum · new, where the new variance is the unbiased one; or both None.
        weight, bias: (C,) or None.
        training: use the statistics of the input.
        momentum: weight of the new value in the running statistics.
        eps: added to the variance, inside the root.
        process_group: processes whose batches count as one while training, of any sizes, some empty; as
            torch.nn.SyncBatchNorm, on the CPU too. Needs the reference backend.
        activation: "relu" or "silu" of the result, or None; in the same pass over the tensor where the backend can.
        out: where to write the result, a tensor like the input; not where a gradient is needed.
        backend: one of `normsuite.backends.NAMES`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError: a rank below 2, a parameter that is not (C,), or one value a channel while training.
        ArgumentError: running statistics needed and missing, or an eps that torch refuses.
        UnknownNameError: no such backend.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Differs from torch in its errors, which are
    of torch's types and name the argument; other backends than "torch" also in how they round, and all of them keep
    channels_last.
    """
    if not training and out is None and process_group is None and not is_grad_enabled() and not is_dynamo_compiling():
        try:
            y = _unchecked[_BATCH_NORM, backend, activation](input, None, weight, bias, running_mean, running_var, eps)
        except Exception:  # said below in our words, if we have any
            y = None
        if y is not None:
            return y
    return normalize(
        _BATCH_NORM,
        input,
        weight,
        bias,
        running_mean=running_mean,
        running_var=running_var,
        use_input_stats=training,
        momentum=momentum,
        eps=eps,
        process_group=process_group,
        activation=activation,
        out=out,
        backend=backend,
    )


def instance_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Normalise every channel of every sample over its places.

    mean_{n,c} = Σ_s x[n, c, s] / S

    Args:
        input: (N, C, *S), from (N, C, L) to (N, C, D, H, W).
        running_mean, running_var: (C,) or both None; updated as in `batch_norm`, with the averages over the batch.
        weight, bias: (C,) or None.
        use_input_stats: use the statistics of the input; otherwise the running ones.
        momentum, eps, activation, out, backend: as in `batch_norm`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError, ArgumentError, UnknownNameError: as `batch_norm`.

    Source: Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022. Differs from torch as `batch_norm` does.
    """
    return normalize(
        NORMS["InstanceNorm"],
        input,
        weight,
        bias,
        running_mean=running_mean,
        running_var=running_var,
        use_input_stats=use_input_stats,
        momentum=momentum,
        eps=eps,
        activation=activation,
        out=out,
        backend=backend,
    )


def layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Normalise every sample over its last dimensions.

    mean_n = Σ_i x[n, i] / L, where i runs over the L elements of `normalized_shape`.

    Args:
        input: any shape that ends in `normalized_shape`: (N, C, *S) with (C, *S), or (N, L, C) with (C,).
        normalized_shape: the trailing sizes that share a mean.
        weight, bias: `normalized_shape`, one value per element, or None.
        eps, activation, out, backend: as in `batch_norm`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError: an input that does not end in `normalized_shape`, or a parameter that is not of that shape.
        ArgumentError, UnknownNameError: as `batch_norm`.

    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450. Differs from torch as `batch_norm` does.
    """
    if out is None and not is_dynamo_compiling():
        try:
            y = _unchecked[_LAYER_NORM, backend, activation](input, normalized_shape, weight, bias, None, None, eps)
        except Exception:  # said below in our words, if we have any
            y = None
        if y is not None:
            return y
    return normalize(
        _LAYER_NORM,
        input,
        weight,
        bias,
        eps=eps,
        normalized_shape=normalized_shape,
        activation=activation,
        out=out,
        backend=backend,
    )


def rms_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
    *,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Divide every sample by its root mean square over its last dimensions.

    y = x / √(Σ_i x[n, i]² / L + eps) · weight, where i runs over the L elements of `normalized_shape`.

    Args:
        input: any shape that ends in `normalized_shape`.
        normalized_shape: the trailing sizes that share a mean square.
        weight: `normalized_shape`, one value per element, or None.
        eps: added to the mean square; where left out, the distance from 1 to the next number of the type computed in.
        activation, out, backend: as in `batch_norm`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError, ArgumentError, UnknownNameError: as `layer_norm`.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467. Differs from torch as `batch_norm` does.
    """
    if eps is None:
        eps = torch.finfo(torch.promote_types(input.dtype, torch.float32)).eps
    if out is None and not is_dynamo_compiling():
        try:
            y = _unchecked[_RMS_NORM, backend, activation](input, normalized_shape, weight, None, None, None, eps)
        except Exception:  # said below in our words, if we have any
            y = None
        if y is not None:
            return y
    return normalize(
        _RMS_NORM,
        input,
        weight,
        eps=eps,
        normalized_shape=normalized_shape,
        activation=activation,
        out=out,
        backend=backend,
    )


def group_norm(
    input: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    out: torch.Tensor | None = None,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Normalise every group of channels of every sample, over the group and its places.

    mean_{n,g} = Σ_{k,s} x[n, g·K + k, s] / (K·S), K = C / num_groups

    Args:
        input: (N, C, *S), from (N, C) to (N, C, D, H, W).
        num_groups: G, a divisor of C; neighbouring channels form a group.
        weight, bias: (C,) or None.
        eps, activation, out, backend: as in `batch_norm`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError: C not divisible by `num_groups`, a rank below 2, or a parameter that is not (C,).
        ArgumentError: `num_groups` is no positive integer, or an eps that torch refuses.
        UnknownNameError: no such backend.

    Source: Wu and He 2018, arXiv:1803.08494. Differs from torch as `batch_norm` does.
    """
    return normalize(
        NORMS["GroupNorm"],
        input,
        weight,
        bias,
        eps=eps,
        num_groups=num_groups,
        activation=activation,
        out=out,
        backend=backend,
    )


NAMED = {
    "BatchNorm": batch_norm,
    "InstanceNorm": instance_norm,
    "LayerNorm": layer_norm,
    "RMSNorm": rms_norm,
    "GroupNorm": group_norm,
}
"""The functions above, by their norms' names."""
