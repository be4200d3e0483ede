"""Every backend of ours, with an output of its own and into one that exists, as users call it: by the norm's function
where it has one."""

import torch

from ... import backends, functional
from ..labels import AUTO
from ..task import EPS, MOMENTUM
from . import Contestant, by_place, in_mode, written_out


class Ours(Contestant):
    def why_not(self, task):
        return "an output that exists takes no gradients" if self.preallocated and task.gradients else None

    def prepare(self, task, given):
        keywords = {"backend": self.name}
        if task.activation is not None:
            keywords["activation"] = task.activation
        if self.preallocated:
            keywords["out"] = torch.empty_like(given.input)
        named = functional.NAMED.get(task.spec.name)
        if named is not None:
            return in_mode(task, given, written_out(named, by_place(named, task, given), keywords))
        running_mean, running_var = task.running()
        keywords |= {
            "running_mean": running_mean,
            "running_var": running_var,
            "use_input_stats": task.training,
            "momentum": MOMENTUM,
            "eps": EPS,
            "num_groups": task.num_groups,
            "normalized_shape": task.normalized_shape,
        }
        arguments = (task.spec, given.input, given.weight, given.bias)
        return in_mode(task, given, written_out(functional.normalize, arguments, keywords))


# The reference is slow on purpose and is timed when asked for; preallocated outputs are shown for what users get.
CONTESTANTS = tuple(
    Ours(
        name,
        preallocated,
        by_default=name == AUTO or not (preallocated or name == "reference"),
        on_accelerators=name in (AUTO, "triton") and not preallocated,
    )
    for name in dict.fromkeys((AUTO, *backends.NAMES))
    for preallocated in (False, True)
)
