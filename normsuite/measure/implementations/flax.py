"""flax.nnx's norms on jax, jitted. They share torch's memory where the layout allows; conversion is not timed.

flax wants the channels last where torch's layout has them second: BatchNorm, LayerNorm and RMSNorm take the axis that
is the channels', and for GroupNorm and InstanceNorm the compiled function moves them, as a user with such data would.
No buffer is donated, since each call reads the same input, which a donated one would lose.
"""

import math
from functools import partial

import torch

from ..task import EPS, MOMENTUM
from . import Implementation, not_installed

_ACTIVATIONS = (None, "relu", "silu")
"""Activations of jax.nn that compute the same as torch's of that name."""

_DTYPES = ("float32", "bfloat16", "float16")


class Flax(Implementation):
    """A layer of flax.nnx, jitted, with the parameters and running statistics of the task."""

    packages = ("jax", "jaxlib", "flax")
    pool = "xla"
    torch_memory = False

    def why_not(self, task):
        """Return the reason why flax cannot do a task, or None."""
        if task.device != "cpu":
            return "measured on the CPU only"
        if task.mode == "backward":
            return "its backward pass is timed within a step only"
        if task.dtype not in _DTYPES:
            return f"jax computes no {task.dtype} unless it is told to"
        if task.spec.name not in _LAYERS:
            return f"flax has no {task.spec.name}"
        if task.activation not in _ACTIVATIONS:
            return f"{task.activation} is not compared"
        return not_installed("jax", "flax")

    def prepare(self, task, given):
        """Make the layer, and return its jitted call, which waits for the result."""
        import jax
        from flax import nnx

        def array(t):
            t = t.detach()
            t = t.movedim(1, -1) if task.case.channels_last and t.dim() > 2 else t
            return jax.dlpack.from_dlpack(t.contiguous())

        # How the array lies in memory: (N, *S, C) in channels_last, (N, C, *S) otherwise.
        last, rank = task.case.channels_last, len(task.case.shape)
        moves = not last and task.spec.name in ("GroupNorm", "InstanceNorm")
        channels = rank - 1 if last or moves else 1
        elements = tuple(range(rank - len(task.normalized_shape or task.case.shape[1:]), rank))
        layer = _LAYERS[task.spec.name](nnx, task, channels, elements)
        layer.train() if task.training else layer.eval()

        def vector(parameter):
            ordered = parameter.movedim(0, -1) if last and task.spec.affine == "element" else parameter
            return array(ordered.flatten())

        layer.scale[...] = vector(given.weight)
        if given.bias is not None:
            layer.bias[...] = vector(given.bias)
        running = task.running()
        if running[0] is not None:
            layer.mean[...], layer.var[...] = map(array, running)
        graph, parameters, rest = nnx.split(layer, nnx.Param, ...)
        activate = (lambda y: y) if task.activation is None else getattr(jax.nn, task.activation)

        def forward(parameters, x, rest):
            norm = nnx.merge(graph, parameters, rest, copy=True)
            y = norm(jax.numpy.moveaxis(x, 1, -1)) if moves else norm(x)
            return activate(jax.numpy.moveaxis(y, -1, 1) if moves else y), nnx.state(norm, nnx.BatchStat)

        def step(parameters, x, rest, dy):
            y, backward, state = jax.vjp(lambda p, x: forward(p, x, rest), parameters, x, has_aux=True)
            return y, state, backward(dy)

        x, dy = array(given.input), array(given.dy)
        call = (
            partial(jax.jit(step), parameters, x, rest, dy)
            if task.gradients
            else partial(jax.jit(forward), parameters, x, rest)
        )
        return lambda: (jax.block_until_ready(call()), last)

    def tensors(self, value):
        """Return y, and in a step dx behind it, as torch's tensors in torch's order of dimensions."""
        (y, _, *gradients), last = value
        dx = [gradients[0][1]] if gradients else []
        found = [torch.from_dlpack(a) for a in (y, *dx)]
        return tuple(t.movedim(-1, 1) if last else t for t in found)


def _per_element(name):
    """Return a norm with an affine map per element, over those axes of the array as it lies in memory."""
    return lambda nnx, task, _, axes: getattr(nnx, name)(
        math.prod(task.normalized_shape), reduction_axes=axes, feature_axes=axes, epsilon=EPS, rngs=nnx.Rngs(0)
    )


# The layer that is the norm, from (nnx, task, the channels' axis, the axes of a norm per element).
_LAYERS = {
    "BatchNorm": lambda nnx, task, axis, _: nnx.BatchNorm(
        task.case.shape[1], axis=axis, momentum=1 - MOMENTUM, epsilon=EPS, rngs=nnx.Rngs(0)
    ),
    "LayerNorm": _per_element("LayerNorm"),
    "RMSNorm": _per_element("RMSNorm"),
    "GroupNorm": lambda nnx, task, _, axes: nnx.GroupNorm(
        task.case.shape[1], num_groups=task.num_groups, epsilon=EPS, rngs=nnx.Rngs(0)
    ),
    "InstanceNorm": lambda nnx, task, axis, _: nnx.InstanceNorm(
        task.case.shape[1], feature_axes=axis, epsilon=EPS, rngs=nnx.Rngs(0)
    ),
}

IMPLEMENTATIONS = (Flax("flax"),)
