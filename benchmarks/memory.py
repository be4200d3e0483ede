"""Bytes of tensors that a training step has at once, beside its operands. Exact on the CPU."""

from . import kit
from .step import ModuleStep, Step


class _Counted:
    unit = "bytes"

    def track_training_step(self, *cell):
        _, (call, *_), _ = self.prepared("step")
        return kit.memory.peak_bytes(call, device=self.device)


class Memory(_Counted, Step):
    """Bytes of a training step through the norm's function."""

    version = "2"  # the norm's function, with running statistics where it has them; 1 called the general one


class ModuleMemory(_Counted, ModuleStep):
    """Bytes of a training step through one of the public modules."""

    version = "1"
