"""Seconds of one call: forward, and a training step (forward and backward); of the device, or of the host."""

import torch

from . import kit
from .step import LargeStep, LaunchStep, ModuleStep, Step

SECONDS = 0.1
MOST_SAMPLES = 50


class _Timed:
    unit = "seconds"
    host_time = False

    def measure(self, mode):
        workload, calls, _ = self.prepared(mode)
        with (
            torch.set_grad_enabled(workload.task.gradients),
            kit.clock.timers({"": calls}, device=self.device, host_time=self.host_time) as timers,
        ):
            samples = kit.clock.samples(timers[""], seconds=SECONDS, most=MOST_SAMPLES)
        # This form makes asv keep the samples and compute the median and its interval from them.
        return {"samples": samples, "number": 1}

    def track_forward(self, *cell):
        return self.measure("forward")

    def track_training_step(self, *cell):
        return self.measure("step")


class Latency(_Timed, Step):
    """Seconds of the norm's function."""

    version = "2"  # the norm's function; 1 called the general one


class Module(_Timed, ModuleStep):
    """Seconds of one of the public modules."""

    version = "1"


class Large(_Timed, LargeStep):
    """Seconds of the norm's function on an accelerator, by its own clock, on tensors of its size."""

    version = "1"

    def track_backward(self, *cell):
        """Return samples of the backward pass alone."""
        return self.measure("backward")


class Launch(_Timed, LaunchStep):
    """Seconds for which a small call of the norm's function keeps the host, on an accelerator."""

    version = "1"
    host_time = True

    def track_backward(self, *cell):
        """Return samples of the backward pass alone."""
        return self.measure("backward")
