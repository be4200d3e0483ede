"""Every backend of ours, with an output of its own and into one that exists."""

from functools import partial

import torch

from ... import backends, functional
from ..summary import AUTO
from ..task import EPS, MOMENTUM
from . import Contestant, in_mode


class Ours(Contestant):
    def why_not(self, task):
        return "an output that exists takes no gradients" if self.preallocated and task.gradients else None

    def prepare(self, task, given):
        running_mean, running_var = task.running()
        further = {}
        if task.activation is not None:
            further["activation"] = task.activation
        if self.preallocated:
            further["out"] = torch.empty_like(given.input)
        forward = partial(
            functional.normalize,
            task.spec,
            given.input,
            given.weight,
            given.bias,
            running_mean=running_mean,
            running_var=running_var,
            use_input_stats=task.training,
            momentum=MOMENTUM,
            eps=EPS,
            num_groups=task.num_groups,
            normalized_shape=task.normalized_shape,
            backend=self.name,
            **further,
        )
        return in_mode(task, given, forward)


# The reference is slow on purpose and is timed when asked for; preallocated outputs are shown for what users get.
CONTESTANTS = tuple(
    Ours(name, preallocated, by_default=name == AUTO or not (preallocated or name == "reference"))
    for name in dict.fromkeys((AUTO, *backends.NAMES))
    for preallocated in (False, True)
)
