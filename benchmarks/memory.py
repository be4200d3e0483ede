"""Bytes of tensors that a training step has at once, beside its operands. Exact on the CPU."""

from normsuite.measure import memory

from .step import Step


class Memory(Step):
    unit = "bytes"
    version = "1"

    def track_training_step(self, norm, backend, case, device):
        return memory.peak_bytes(self.training_step, device=device)
