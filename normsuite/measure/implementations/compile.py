"""torch.compile of the textbook's formula, or of torch.nn's own call, in one graph of static shapes.

The activation is compiled with it; or torch.nn's call alone is compiled, with torch's own activation after it. Which
is fastest depends on norm, mode and device: all are shown, and the one that is fastest in a task counts as well.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from ..task import EPS, MOMENTUM
from . import Implementation, by_place, in_mode, written_out
from .torch_nn import ACTIVATE


def formula(task):
    """Return (x − mean) · 1/√(var + eps) · weight + bias, as one writes it down, as a function of tensors."""
    spec = task.spec
    view = spec.view(task.case.shape, num_groups=task.num_groups, normalized_shape=task.normalized_shape)
    training, activate, unbiased = task.training, ACTIVATE.get(task.activation), view.count / max(view.count - 1, 1)

    def norm(x, weight, bias, running_mean, running_var):
        wide = x.reshape(view.shape).to(torch.promote_types(x.dtype, torch.float32))
        if not training:
            mean, var = running_mean.reshape(view.affine_shape), running_var.reshape(view.affine_shape)
        else:
            mean = wide.mean(view.dims, keepdim=True) if spec.centred else 0.0
            var = (wide - mean).square().mean(view.dims, keepdim=True)
            if running_mean is not None:
                running_mean.lerp_(mean.detach().reshape(running_mean.shape).to(running_mean.dtype), MOMENTUM)
                running_var.lerp_((unbiased * var.detach()).reshape(running_var.shape).to(running_var.dtype), MOMENTUM)
        y = (wide - mean) * torch.rsqrt(var + EPS) * weight.reshape(view.affine_shape)
        if bias is not None:
            y = y + bias.reshape(view.affine_shape)
        y = y.to(x.dtype).reshape(x.shape)
        return activate(y) if activate else y

    return norm


class Compiled(Implementation):
    """torch.compile of the textbook's formula, with the activation in the same graph."""

    packages = ("triton",)

    def prepare(self, task, given):
        """Return the compiled call on the operands of the task."""
        (call,) = self.prepare_each(task, [given])
        return call

    def prepare_each(self, task, sets):
        """Compile once, and return a call of it for each set of operands."""
        from torch._functorch import config

        torch._dynamo.reset()  # the formula's code is the same in each task, and Dynamo recompiles it eight times only
        compiled = self._compiled(task)
        with config.patch(donated_buffer=task.mode != "backward"):  # which runs again and again
            return [in_mode(task, given, written_out(compiled, self._arguments(task, given))) for given in sets]

    def _compiled(self, task):
        return torch.compile(self._function(task), fullgraph=True, dynamic=False)

    def _function(self, task):
        return formula(task)

    def _arguments(self, task, given):
        return given.input, given.weight, given.bias, *task.running()


class CompiledCall(Compiled):
    """torch.compile of torch.nn.functional's own call, with the activation in the same graph."""

    def why_not(self, task):
        """Return that torch.nn has no such norm, or None."""
        return None if task.spec.torch_call else f"torch.nn has no {task.spec.name}"

    def _function(self, task):
        call, activate = getattr(F, task.spec.torch_call), ACTIVATE.get(task.activation)

        def norm(*arguments):
            y = call(*arguments)
            return activate(y) if activate else y

        return norm

    def _arguments(self, task, given):
        return by_place(getattr(F, task.spec.torch_call), task, given)


class CompiledApart(CompiledCall):
    """torch.compile of torch.nn's call alone, with torch's own activation after it.

    On a CPU a compiled backward pass reads the activation's mask, of one byte each, element by element.
    """

    def why_not(self, task):
        """Return that the task has no activation, or why torch.nn cannot do it; else None."""
        return super().why_not(task) if task.activation else "is torch.compile of torch.nn without an activation"

    def _compiled(self, task):
        compiled, activate = super()._compiled(replace(task, activation=None)), ACTIVATE[task.activation]
        return lambda *arguments: activate(compiled(*arguments))


IMPLEMENTATIONS = (
    Compiled("torch.compile"),
    CompiledCall("torch.compile of torch.nn", on_accelerators=True),
    CompiledApart("torch.compile, activation apart"),
)
