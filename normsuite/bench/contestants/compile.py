"""torch.compile of the textbook's formula and the activation behind it, in one graph of static shapes."""

import torch

from ..task import EPS, MOMENTUM
from . import Contestant, in_mode
from .torch_nn import ACTIVATE


def formula(task):
    """(x − mean) · 1/√(var + eps) · weight + bias as one writes it down, as a function of tensors."""
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


class Compiled(Contestant):
    def prepare(self, task, given):
        torch._dynamo.reset()  # the formula's code is the same in each task, and Dynamo recompiles it eight times only
        compiled = torch.compile(formula(task), fullgraph=True, dynamic=False)
        x, weight, bias = given.input, given.weight, given.bias
        running_mean, running_var = task.running()
        return in_mode(task, given, lambda: compiled(x, weight, bias, running_mean, running_var))


CONTESTANTS = (Compiled("torch.compile"),)
