"""Seconds of one call: forward, and a training step (forward and backward)."""

import torch

from normsuite.bench import cases, timing
from normsuite.spec import find

from .parameters import BACKENDS, CASES, DEVICES, NORMS, require

SECONDS = 0.1
MOST_SAMPLES = 50


class Latency:
    params = (NORMS, BACKENDS, CASES, DEVICES)
    param_names = ("norm", "backend", "case", "device")
    unit = "seconds"
    timeout = 120
    version = "1"

    def setup(self, norm, backend, case, device):
        require(norm, backend, device)
        spec, case = find(norm), cases.find(case)
        self.operands = cases.operands(spec, case, device=device)
        self.forward = cases.bind(spec, case, self.operands, backend)

    def training_step(self):
        given = self.operands
        torch.autograd.grad(self.forward(), (given.input, given.weight, given.bias), given.dy)

    def measure(self, call, device):
        # This form makes asv keep the samples and compute the median and its interval from them.
        samples = timing.latency_samples(call, device=device, seconds=SECONDS, most=MOST_SAMPLES)
        return {"samples": samples, "number": 1}

    def track_forward(self, norm, backend, case, device):
        with torch.no_grad():
            return self.measure(self.forward, device)

    def track_training_step(self, norm, backend, case, device):
        return self.measure(self.training_step, device)
