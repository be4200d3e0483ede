"""Liger-Kernel's Triton kernels, on an accelerator: LayerNorm and RMSNorm over the last dimension, GroupNorm."""

from ..task import EPS
from . import Implementation, in_mode, not_installed
from .torch_nn import ACTIVATE


class Liger(Implementation):
    """Liger's functions, with torch's activation after them."""

    packages = ("liger-kernel", "triton")

    def why_not(self, task):
        """Return the reason why Liger cannot do a task, or None."""
        if task.device == "cpu":
            return "needs an accelerator"
        if task.spec.name not in ("LayerNorm", "RMSNorm", "GroupNorm"):
            return f"Liger has no {task.spec.name}"
        if task.case.channels_last:
            return "knows no channels_last"
        return not_installed("liger_kernel", command="pip install liger-kernel")

    def prepare(self, task, given):
        """Return the call of Liger's kernel on the operands of the task."""
        from liger_kernel.transformers import functional as liger

        # Rows of one norm each: it normalises over the last dimension only.
        width = given.weight.numel()
        x = given.input if task.spec.affine == "channel" else given.input.view(-1, width)
        weight, bias = given.weight.view(-1), None if given.bias is None else given.bias.view(-1)
        calls = {
            "LayerNorm": lambda: liger.liger_layer_norm(x, weight, bias, EPS),
            # Not in place: that would overwrite dy, which the next call needs.
            "RMSNorm": lambda: liger.liger_rms_norm(x, weight, EPS, 0.0, "llama", False),
            "GroupNorm": lambda: liger.liger_group_norm(x, weight, bias, width, task.num_groups, EPS),
        }
        norm, shape = calls[task.spec.name], task.case.shape
        activate = ACTIVATE.get(task.activation, lambda y: y)
        return in_mode(task, given, lambda: activate(norm()).view(shape))


IMPLEMENTATIONS = (Liger("liger", on_accelerators=True),)
