"""What latency and memory share: one norm applied to one case, forward and as a training step."""

import torch

from normsuite.measure import cases
from normsuite.spec import find

from .parameters import BACKENDS, CASES, DEVICES, NORMS, require


class Step:
    params = (NORMS, BACKENDS, CASES, DEVICES)
    param_names = ("norm", "backend", "case", "device")
    timeout = 120

    def setup(self, norm, backend, case, device):
        require(norm, backend, device)
        spec, case = find(norm), cases.find(case)
        self.operands = cases.operands(spec, case, device=device)
        self.forward = cases.bind(spec, case, self.operands, backend)

    def training_step(self):
        given = self.operands
        inputs = [t for t in (given.input, given.weight, given.bias) if t is not None]
        torch.autograd.grad(self.forward(), inputs, given.dy)
