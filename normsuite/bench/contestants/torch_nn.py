"""The baseline: torch.nn.functional's own call, then torch's activation. Twice, so that the run shows its own noise."""

import inspect
from functools import partial

import torch.nn.functional as F

from ...backends import ACTIVATIONS
from ..summary import AGAIN, BASELINE
from ..task import EPS, MOMENTUM
from . import Contestant, in_mode

ACTIVATE = {name: getattr(F, name) for name in ACTIVATIONS}


class TorchNN(Contestant):
    def why_not(self, task):
        return None if task.spec.torch_call else f"torch.nn has no {task.spec.name}"

    def prepare(self, task, given):
        call = getattr(F, task.spec.torch_call)
        running_mean, running_var = task.running()
        values = {
            "input": given.input,
            "weight": given.weight,
            "bias": given.bias,
            "running_mean": running_mean,
            "running_var": running_var,
            "training": task.training,
            "use_input_stats": task.training,
            "momentum": MOMENTUM,
            "eps": EPS,
            "num_groups": task.num_groups,
            "normalized_shape": task.normalized_shape,
        }
        norm = partial(call, *[values[argument] for argument in inspect.signature(call).parameters])
        if task.activation is None:
            return in_mode(task, given, norm)
        activate = ACTIVATE[task.activation]
        return in_mode(task, given, lambda: activate(norm()))


CONTESTANTS = (TorchNN(BASELINE), TorchNN(AGAIN))
