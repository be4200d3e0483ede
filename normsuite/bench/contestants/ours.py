"""Every backend of ours, with an output of its own and into one that exists, as users call it: by the norm's function
where it has one."""

from functools import partial

import torch

from ... import backends, functional
from ..summary import AUTO
from ..task import EPS, MOMENTUM
from . import Contestant, by_place, in_mode


class Ours(Contestant):
    def why_not(self, task):
        return "an output that exists takes no gradients" if self.preallocated and task.gradients else None

    def prepare(self, task, given):
        further = {"backend": self.name}
        if task.activation is not None:
            further["activation"] = task.activation
        if self.preallocated:
            further["out"] = torch.empty_like(given.input)
        named = functional.NAMED.get(task.spec.name)
        if named is not None:
            return in_mode(task, given, partial(named, *by_place(named, task, given), **further))
        running_mean, running_var = task.running()
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
            **further,
        )
        return in_mode(task, given, forward)


# The reference is slow on purpose and is timed when asked for; preallocated outputs are shown for what users get.
CONTESTANTS = tuple(
    Ours(name, preallocated, by_default=name == AUTO or not (preallocated or name == "reference"))
    for name in dict.fromkeys((AUTO, *backends.NAMES))
    for preallocated in (False, True)
)
