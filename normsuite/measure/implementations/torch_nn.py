"""The baseline: torch.nn.functional's own call, then torch's activation. Twice, so that the run shows its own noise."""

import torch.nn.functional as F

from ...backends import ACTIVATIONS
from ..labels import AGAIN, BASELINE
from . import Implementation, by_place, in_mode, written_out

ACTIVATE = {name: getattr(F, name) for name in ACTIVATIONS}


class TorchNN(Implementation):
    """torch.nn.functional's call of a norm, with torch's activation after it."""

    def why_not(self, task):
        """Return that torch.nn has no such norm, or None."""
        return None if task.spec.torch_call else f"torch.nn has no {task.spec.name}"

    def prepare(self, task, given):
        """Return torch's call on the operands of the task."""
        call = getattr(F, task.spec.torch_call)
        activate = None if task.activation is None else ACTIVATE[task.activation]
        return in_mode(task, given, written_out(call, by_place(call, task, given), then=activate))


IMPLEMENTATIONS = (TorchNN(BASELINE, on_accelerators=True), TorchNN(AGAIN, on_accelerators=True))
