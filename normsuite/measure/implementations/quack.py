"""quack's CuTe kernels, on an accelerator: RMSNorm over the last dimension."""

from ..task import EPS
from . import Implementation, in_mode, not_installed
from .torch_nn import ACTIVATE


class Quack(Implementation):
    """quack's RMS norm over the last dimension, with torch's activation after it."""

    packages = ("quack-kernels",)

    def why_not(self, task):
        """Return the reason why quack cannot do a task, or None."""
        if task.device == "cpu":
            return "needs an accelerator"
        if task.spec.name != "RMSNorm":
            return f"measured for RMSNorm, not {task.spec.name}"
        if task.case.channels_last:
            return "knows no channels_last"
        return not_installed("quack", command="pip install quack-kernels")

    def prepare(self, task, given):
        """Return the call of quack's kernel on the operands of the task."""
        from quack import rmsnorm

        width, shape = given.weight.numel(), task.case.shape
        x, weight = given.input.view(-1, width), given.weight.view(-1)
        activate = ACTIVATE.get(task.activation, lambda y: y)
        return in_mode(task, given, lambda: activate(rmsnorm(x, weight, eps=EPS)).view(shape))


IMPLEMENTATIONS = (Quack("quack", by_default=False, on_accelerators=True),)
