"""apex's fused kernels, on an accelerator: LayerNorm and RMSNorm."""

from ..task import EPS
from . import Implementation, in_mode, not_installed
from .torch_nn import ACTIVATE


class Apex(Implementation):
    """apex's layer norm and RMS norm over the trailing dimensions, with torch's activation after it."""

    packages = ("apex",)

    def why_not(self, task):
        """Return the reason why apex cannot do a task, or None."""
        if task.device == "cpu":
            return "needs an accelerator"
        if task.spec.name not in ("LayerNorm", "RMSNorm"):
            return f"measured for LayerNorm and RMSNorm, not {task.spec.name}"
        if task.case.channels_last:
            return "knows no channels_last"
        return not_installed("apex", command="see github.com/NVIDIA/apex")

    def prepare(self, task, given):
        """Return the call of apex's kernel on the operands of the task."""
        from apex.normalization import fused_layer_norm as apex

        x, weight, bias, shape = given.input, given.weight, given.bias, task.normalized_shape
        calls = {
            "LayerNorm": lambda: apex.fused_layer_norm_affine(x, weight, bias, shape, EPS),
            "RMSNorm": lambda: apex.fused_rms_norm_affine(x, weight, shape, EPS),
        }
        norm, activate = calls[task.spec.name], ACTIVATE.get(task.activation, lambda y: y)
        return in_mode(task, given, lambda: activate(norm()))


IMPLEMENTATIONS = (Apex("apex", on_accelerators=True),)
