"""Torch's own operators, `torch.batch_norm` and the like, chosen by the name in the spec.

They are called without the Python of `torch.nn.functional` in front of them: what that checks has been checked here.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional

from ..tensors.addresses import are_stored_like, observed, transformed
from ..tensors.layouts import in_channels_last, is_channels_last
from . import Again, Call, reference, update, why_not_saved

_OPTIONAL = ("weight", "bias", "running_mean", "running_var")

_Compute = Callable[..., torch.Tensor]
"""Functions of (input, weight, bias, running_mean, running_var, momentum, out), as `Again.compute`."""


_cudnn = torch.backends.cudnn
"""Its switches are read at each call, except on the CPU, where they have no effect and reading them takes a tenth of a
small norm's time."""


# One function for each signature of torch's. No more of the call is held than settings, so that its tensors can go.


def _with_running_statistics(call: Call) -> _Compute:
    by_torch = getattr(torch, call.spec.torch_call)
    use_input_stats, eps, on_cpu = call.use_input_stats, call.eps, call.input.device.type == "cpu"

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        cudnn = on_cpu or _cudnn.enabled
        return by_torch(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn)

    return compute


def _with_bias(call: Call) -> _Compute:
    name, eps = call.spec.torch_call, call.eps
    by_torch = getattr(torch, name)
    setting = call.num_groups if name == "group_norm" else call.normalized_shape

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        return by_torch(input, setting, weight, bias, eps)

    return compute


def _rms_norm(call: Call) -> _Compute:
    shape, eps, rms_norm = call.normalized_shape, call.eps, torch.rms_norm

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        return rms_norm(input, shape, weight, eps)

    return compute


_OPERATORS: dict[str, Callable[[Call], _Compute]] = {
    "batch_norm": _with_running_statistics,
    "instance_norm": _with_running_statistics,
    "layer_norm": _with_bias,
    "rms_norm": _rms_norm,
    "group_norm": _with_bias,
}
"""Makers of a call's function, by torch's name for the norm."""

_TAKES = {name: {a.name for a in getattr(torch.ops.aten, name).default._schema.arguments} for name in _OPERATORS}
"""The names of the arguments that each takes, from its schema."""


def why_not(call: Call) -> str | None:
    """Return the reason why torch has no operator for a call, or None if it has one."""
    name = call.spec.torch_call
    if name not in _OPERATORS:
        return f"torch has no {call.spec.name}"
    if call.process_group is not None:
        return "torch's calls know one process; the reference backend joins them"
    for argument in _OPTIONAL:
        if getattr(call, argument) is not None and argument not in _TAKES[name]:
            return f"torch.{name} takes no {argument}"
    return _why_not_counted(call) or _why_not_mixed(call)


def _why_not_counted(call: Call) -> str | None:
    """Return why BatchNorm cannot save a tensor, or None: torch says so, but after its module counted the batch."""
    if call.spec.torch_call != "batch_norm" or torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return None
    moved = ("running_mean", "running_var") if call.use_input_stats else ()
    return why_not_saved(call, "input", "weight", *moved)


def _why_not_mixed(call: Call) -> str | None:
    """Return the reason why torch does not take these types of parameters on the CPU, or None.

    It takes parameters of the input's type, or all in float32 beside a narrower input. For a gradient, and in
    InstanceNorm always, it takes the latter only with a weight, since it looks at the weight's type.
    """
    x = call.input
    if x.device.type != "cpu" or call.spec.torch_call == "rms_norm":
        return None
    narrow, found = x.dtype in (torch.bfloat16, torch.float16), None
    for name in _OPTIONAL:
        given = getattr(call, name)
        if given is None:
            continue
        first, found = found is None, found or given.dtype
        fits = given.dtype is found and (found is x.dtype or (narrow and found is torch.float32))
        if not fits:
            beside = f"{x.dtype} input" if first or found is given.dtype else f"parameters of {found}"
            return f"torch.{call.spec.torch_call} on the CPU takes no {name} of {given.dtype} beside {beside}"
    unweighted = call.weight is None and (call.differentiated or call.spec.torch_call == "instance_norm")
    if found not in (None, x.dtype) and unweighted:
        return f"torch.{call.spec.torch_call} on the CPU takes no {found} beside {x.dtype} input without a weight"
    return None


def apply(call: Call) -> torch.Tensor:
    """Return the result of torch's own call, with torch's numerics."""
    if _is_nothing(call):
        return reference.apply(call)
    if isinstance(call.momentum, torch.Tensor):
        return _with_computed_momentum(call)
    return _apply(call)


def _apply(call: Call) -> torch.Tensor:
    return _computation(call)(
        call.input, call.weight, call.bias, call.running_mean, call.running_var, call.momentum, call.out
    )


def _with_computed_momentum(call: Call) -> torch.Tensor:
    if call.running_mean is None or not call.use_input_stats or not call.input.numel():
        return _apply(replace(call, momentum=0.0))
    momentum = call.momentum
    if not torch.compiler.is_compiling() and type(momentum) is torch.Tensor and momentum.is_cpu and not observed():
        return _apply(replace(call, momentum=momentum.item()))  # on an accelerator the host would wait for it
    # Torch wants a number, and reading one from a tensor breaks a compiled graph. With a weight of 1 the running
    # statistics become those of the batch, which then move ours.
    mean, var = torch.zeros_like(call.running_mean), torch.zeros_like(call.running_var)
    y = _apply(replace(call, running_mean=mean, running_var=var, momentum=1.0))
    with torch.no_grad():
        update(call.running_mean, mean, call.momentum)
        update(call.running_var, var, call.momentum)
    return y


def in_operations(call: Call) -> torch.Tensor:
    """Return the norm by operations of torch, for kernels where they cannot compute.

    That is torch's own call where a trace has to keep sizes open, where the formula of `reference` knows no such
    tensors, and where running statistics move under a transform, which allows that to torch's call alone; else the
    formula.
    """
    moves = call.running_mean is not None and call.use_input_stats and transformed() and call.input.numel()
    if (call.input.is_nested or torch.jit.is_tracing() or moves) and why_not(call) is None:
        return apply(call)
    return reference.apply(call)


def _is_nothing(call: Call) -> bool:
    """Return whether InstanceNorm gets an empty batch, for which torch's call fails; False in a trace of any size."""
    if call.spec.torch_call != "instance_norm" or call.input.is_nested:
        return False
    return not (torch.compiler.is_compiling() or transformed()) and not call.input.numel()


def again(call: Call) -> Again | None:
    """Return a shorter way to `apply` for calls like this one, or None where torch's own is not taken."""
    return None if _is_nothing(call) else Again(_computation(call), _fits(call))


def _fits(call: Call) -> Callable[..., bool] | None:
    """Return `Again.fits`: torch's operators look at storage themselves, but for RMSNorm's, which would crash."""
    if call.spec.torch_call == "rms_norm":
        return are_stored_like(call.input, call.weight, None, None, None, call.out)
    return None if call.out is None else are_stored_like(None, None, None, None, None, call.out)


def _computation(call: Call) -> _Compute:
    """Return torch's operator followed by what it leaves to do, in this order: layout, activation, given output."""
    compute = _OPERATORS[call.spec.torch_call](call)
    x = call.input
    if call.differentiated and call.spec.torch_call in ("batch_norm", "instance_norm"):
        if call.weight is not None and not call.weight.is_contiguous():  # nor is that of a later call, by its guards
            compute = _of_dense_weight(compute)
        if not call.use_input_stats:
            compute = _of_copies(compute)
        samples, channels, _, *places = call.view.shape
        if x.dim() > 3 and call.spec.torch_call == "instance_norm" and call.running_mean is None:
            compute = _instances_as_channels(call)
        elif x.dim() > 3 and (call.spec.torch_call == "instance_norm" or 1 in (samples, channels, *places)):
            compute = _of_one_place(compute)
    restored = not x.is_nested and not x.is_contiguous()
    if restored and call.trailing == x.dim() - 1 > 2 and is_channels_last(x):
        compute, restored = _samples_as_rows(call), False
    if call.activation is None and call.out is None and not restored:
        return compute
    activate = None
    if call.activation is not None:
        # torch.relu is torch.nn.functional's without the Python around it; not all have such a one.
        activate = getattr(torch, call.activation, getattr(functional, call.activation))
    if call.out is None and not restored:

        def activated(input, weight, bias, running_mean, running_var, momentum, out):
            return activate(compute(input, weight, bias, running_mean, running_var, momentum, None))

        return activated

    def finished(input, weight, bias, running_mean, running_var, momentum, out):
        y = compute(input, weight, bias, running_mean, running_var, momentum, None)
        if restored:
            y = _laid_out_like(input, y)
        if activate is not None:
            y = activate(y)
        return y if out is None else out.copy_(y)

    return finished


def _laid_out_like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return y in the channels_last layout if x is in it, and else y itself.

    Torch's LayerNorm and InstanceNorm lose the layout, and a convolution behind them would have to restore it. Moving
    dimensions works under vmap too, where asking for a memory format does not.
    """
    return in_channels_last(y) if y.is_contiguous() and y.dim() > 3 and is_channels_last(x) else y


def _samples_as_rows(call: Call) -> _Compute:
    """Return a norm over all sizes but the batch of a channels_last input, whose samples are rows as they lie.

    Torch itself copies the input to the other layout, and its result would have to be copied back; here the weight and
    bias are, which are smaller.
    """
    channels, *places = call.normalized_shape or ()
    by_torch = _OPERATORS[call.spec.torch_call](replace(call, normalized_shape=(*places, channels)))

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        weight, bias = (t if t is None else t.movedim(0, -1).contiguous() for t in (weight, bias))
        y = by_torch(input.movedim(1, -1), weight, bias, running_mean, running_var, momentum, out)
        return y.movedim(-1, 1)

    return compute


def _of_copies(compute: _Compute) -> _Compute:
    """Return the operator applied to copies of the running statistics.

    Torch saves them for the backward pass, and updates them in training without autograd's version counter, so that the
    gradient of an evaluation would change with a later training step.
    """

    def computed(input, weight, bias, running_mean, running_var, momentum, out):
        mean, var = (t.clone(memory_format=torch.contiguous_format) for t in (running_mean, running_var))
        return compute(input, weight, bias, mean, var, momentum, out)

    return computed


def _of_dense_weight(compute: _Compute) -> _Compute:
    """Return the operator applied to a contiguous copy of the weight.

    Some of torch's backward kernels ignore its strides, and the gradient would be wrong.
    """

    def computed(input, weight, bias, running_mean, running_var, momentum, out):
        return compute(input, weight.contiguous(), bias, running_mean, running_var, momentum, out)

    return computed


def _instances_as_channels(call: Call) -> _Compute:
    """Return InstanceNorm as torch computes it: the channels of all samples as those of one.

    All places lie in one dimension. `_of_one_place` says why; this takes two steps less of autograd.
    """
    eps, (samples, channels), on_cpu = call.eps, call.input.shape[:2], call.input.device.type == "cpu"

    def compute(input, weight, bias, running_mean, running_var, momentum, out):
        if weight is not None:
            weight = weight.repeat(samples)
        if bias is not None:
            bias = bias.repeat(samples)
        instances = input.reshape(1, samples * channels, -1)
        y = torch.batch_norm(instances, weight, bias, None, None, True, momentum, eps, on_cpu or _cudnn.enabled)
        return y.view(input.shape)

    return compute


def _of_one_place(compute: _Compute) -> _Compute:
    """Return the operator applied to an input with all places in one dimension.

    Torch's kernels on the CPU take a tensor of more dimensions with a size of 1 (all of InstanceNorm's is one sample to
    them) for contiguous and for channels_last at once, since the stride of such a dimension is never used. They then
    read input and gradient in different orders, and return wrong gradients without an error.
    """

    def computed(input, weight, bias, running_mean, running_var, momentum, out):
        y = compute(input.flatten(2), weight, bias, running_mean, running_var, momentum, out)
        return y.view_as(input)  # to split a dimension moves nothing, however it lies

    return computed
