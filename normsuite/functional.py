"""The norms as functions: torch.nn.functional's signatures, and a keyword `backend`.

All of them compute

    y = (x − mean) / √(var + eps) · weight + bias

with the mean and the biased variance var = Σ(x − mean)²/n over different elements. Inputs and outputs have the same
shape and type: float64, float32, bfloat16 or float16.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function

from . import backends, fast_path, validation
from .errors import ArgumentError
from .fast_path import are_sizes, checked_calls
from .spec import NORMS, NormSpec
from .tensors.guards import NO_BIAS, NO_WEIGHT

DEFAULT_BACKEND = "torch"
backends.get(DEFAULT_BACKEND)  # now, since torch.compile traces no imports

_BATCH_NORM, _LAYER_NORM, _GROUP_NORM, _INSTANCE_NORM, _RMS_NORM = (
    NORMS[name] for name in ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
)
_EPS = {t: torch.finfo(t).eps for t in (torch.float32, torch.float64, torch.complex128)}  # RMSNorm's; asking is slow

_GIVEN = tuple(inspect.signature(validation.call).parameters)[2:]  # names of `compute`'s arguments after the input


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
    """Apply any norm; the functions below apply single norms in the same way, with torch's signatures.

    y = (x − mean) / √(var + eps) · weight + bias, with mean and variance as `spec` says. Arguments are checked before
    the backend computes.

    Args:
        spec: the norm.
        input: (N, C, *S).
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
        The shape and type of the input; of `torch` and `auto` what torch returns under autocast on an accelerator.

    Raises:
        ShapeError: a shape that does not fit.
        ArgumentError: running statistics needed and missing, or an eps that torch refuses.
        UnknownNameError: no such backend.
        UnsupportedError: the backend cannot compute this.
        StorageError: the memory of a tensor was given back or cut short.
    """
    if not isinstance(spec, NormSpec):
        raise ArgumentError("spec", spec, "must be a NormSpec, such as those in normsuite.spec.NORMS")
    if spec.affine == "element" and normalized_shape is None and isinstance(input, Tensor):
        normalized_shape = tuple(validation.shape(input)[1:])
    return compute(
        spec, input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, num_groups,
        normalized_shape, process_group, activation, out, backend,
    )  # fmt: skip


def compute(
    spec: NormSpec,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float | Tensor,
    eps: float,
    num_groups: int | None,
    normalized_shape: Sequence[int] | None,
    process_group: "torch.distributed.ProcessGroup | None",
    activation: str | None,
    out: Tensor | None,
    backend: str,
    num_batches_tracked: Tensor | None = None,
) -> Tensor:
    """Compute any norm from all of its arguments by place, as `normalize` describes them.

    One is added to `num_batches_tracked` as soon as the call is accepted; one refusal comes later: processes that have
    one value a channel together. No exception is caught, since torch ends a checkpoint's recomputation by one.
    """
    settings: tuple[Any, ...] | None = None  # of a plain call
    tensors: tuple[Any, ...] = ()
    if (
        not is_dynamo_compiling()
        and type(input) is Tensor
        and type(eps) is float
        and type(momentum) is float
        and type(backend) is str
        and (activation is None or type(activation) is str)
        and (use_input_stats is True or use_input_stats is False)  # 1 is not True, and 2.0 groups are not 2
        and (num_groups is None or type(num_groups) is int)
        and process_group is None
    ):
        running = running_mean is not None or running_var is not None
        settings = (spec, backend, activation, eps, use_input_stats, num_groups, running, out is None, out is input,
                    is_grad_enabled())  # fmt: skip
        tensors = (input, NO_WEIGHT if weight is None else weight, NO_BIAS if bias is None else bias)
        if running:
            tensors += (running_mean, running_var)
        if out is not None and out is not input:  # the guards take a tensor once
            tensors += (out,)
        for known in checked_calls.get(input.numel(), ()):
            if (
                known.settings == settings
                and known.guards(*tensors)
                and (known.normalized_shape is normalized_shape or are_sizes(normalized_shape, known.normalized_shape))
                and (known.fits is None or known.fits(input, weight, bias, running_mean, running_var, out))
            ):
                if num_batches_tracked is not None:
                    num_batches_tracked.add_(1)
                return known.compute(input, weight, bias, running_mean, running_var, momentum, out)
    return _computed(
        backend, num_batches_tracked, settings, tensors, spec, input, weight, bias, running_mean, running_var,
        use_input_stats, momentum, eps, num_groups, normalized_shape, process_group, activation, out,
    )  # fmt: skip


def _computed(
    backend: str, num_batches_tracked: Tensor | None, settings: tuple[Any, ...] | None, tensors: tuple[Any, ...],
    spec: NormSpec, input: Tensor, *given: object,
) -> Tensor:  # fmt: skip
    """Check a call and return its result; let calls like it take the fast path, if it has settings."""
    if not isinstance(input, Tensor) or (not is_dynamo_compiling() and any(map(_is_proxy, given[:4]))):
        if num_batches_tracked is not None:
            raise ArgumentError("input", "a constant in a trace of torch.fx", "the trace would not count its batches")
        return _handed_over(spec, input, *given, backend)  # type: ignore[no-any-return]
    call = validation.call(spec, input, *given)
    chosen = backends.checked(call, backend)
    if num_batches_tracked is not None:  # before it is computed, where gradient checkpointing ends a recomputation
        num_batches_tracked.add_(1)
    y = chosen.apply(call)
    if settings is not None:
        fast_path.add(settings, tensors, call, chosen)
    return y


def _is_proxy(given: object) -> bool:
    """Return whether an argument stands for a tensor, as those of torch.fx do, which have `__torch_function__`."""
    return given is not None and not isinstance(given, Tensor) and has_torch_function((given,))


def _handed_over(spec: NormSpec, input: Any, *given: object) -> Any:
    """Call the norm's function on objects with `__torch_function__`, as torch.nn.functional does; refuse others."""
    proxies = tuple(filter(_is_proxy, (input, *given[:4])))
    if not proxies:
        raise ArgumentError("input", type(input).__name__, "must be a torch.Tensor")
    arguments: dict[str, Any] = dict(zip((*_GIVEN, "backend"), given, strict=True))
    validation.refuse_no_sizes(spec, arguments["normalized_shape"])  # a tracer does not know the input's
    if (function := NAMED.get(spec.name)) is None:
        return handle_torch_function(normalize, proxies, spec, input, **arguments)
    arguments["training"] = arguments["use_input_stats"]
    taken = {name: arguments[name] for name in inspect.signature(function).parameters if name in arguments}
    return handle_torch_function(function, proxies, input, **taken)


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
            torch.nn.SyncBatchNorm, on the CPU too. Needs the reference backend, which `auto` chooses.
        activation: "relu" or "silu" of the result, or None; in the same pass over the tensor where the backend can.
        out: where to write the result, a tensor like the input; not where a gradient is needed.
        backend: one of `normsuite.backends.NAMES`.

    Returns:
        The shape and type of the input.

    Raises:
        ShapeError: a rank below 2, a parameter that is not (C,), or one value a channel while training.
        ArgumentError: running statistics needed and missing, or an eps that torch refuses.
        UnknownNameError: no such backend.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Differs from torch in its errors, which name the argument, and
    are ValueErrors or RuntimeErrors where torch may raise TypeError; other backends than "torch" also in how they
    round, and all of them keep channels_last.
    """
    return compute(
        _BATCH_NORM, input, weight, bias, running_mean, running_var, training, momentum, eps, None, None, process_group,
        activation, out, backend,
    )  # fmt: skip


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
    return compute(
        _INSTANCE_NORM, input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, None, None,
        None, activation, out, backend,
    )  # fmt: skip


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
    return compute(
        _LAYER_NORM, input, weight, bias, None, None, True, 0.0, eps, None, normalized_shape, None, activation, out,
        backend,
    )  # fmt: skip


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
    if eps is None and isinstance(input, Tensor):
        eps = _EPS.get(input.dtype, _EPS[torch.float32])
    return compute(
        _RMS_NORM, input, weight, None, None, None, True, 0.0, eps, None, normalized_shape, None, activation, out,
        backend,
    )  # fmt: skip


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
    return compute(
        _GROUP_NORM, input, weight, bias, None, None, True, 0.0, eps, num_groups, None, None, activation, out, backend
    )


NAMED: dict[str, Callable[..., Any]] = {
    "BatchNorm": batch_norm,
    "InstanceNorm": instance_norm,
    "LayerNorm": layer_norm,
    "RMSNorm": rms_norm,
    "GroupNorm": group_norm,
}
"""The functions above, by their norms' names."""
