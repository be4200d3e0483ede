"""Seconds of one call: forward, and a training step (forward and backward)."""

import torch

from normsuite.measure import clock

from .step import Step

SECONDS = 0.1
MOST_SAMPLES = 50


class Latency(Step):
    unit = "seconds"
    version = "1"

    def measure(self, call, device):
        # This form makes asv keep the samples and compute the median and its interval from them.
        samples = clock.latency_samples(call, device=device, seconds=SECONDS, most=MOST_SAMPLES)
        return {"samples": samples, "number": 1}

    def track_forward(self, norm, backend, case, device):
        with torch.no_grad():
            return self.measure(self.forward, device)

    def track_training_step(self, norm, backend, case, device):
        return self.measure(self.training_step, device)
