"""Whatever else is counted of a training step, beside the bytes of `memory`: a metric each, by its name."""

import torch

from . import kit
from .parameters import BACKENDS, CASES, DEVICES, METRICS, NORMS
from .step import Step


class Count(Step):
    """Values of one metric for a training step, counted once."""

    params = (METRICS, NORMS, BACKENDS, CASES, DEVICES)
    param_names = ("metric", "norm", "backend", "case", "device")
    unit = "in the metric's unit"
    version = "1"

    def setup(self, metric, *cell):
        """Skip a combination that cannot run here, and store the cell."""
        super().setup(*cell)

    def track_training_step(self, metric, *cell):
        """Return the metric's value for one training step."""
        workload, (call, *_), given = self.prepared("step")
        with torch.set_grad_enabled(workload.task.gradients):
            return kit.metric.METRICS[metric].count(kit.workload.Subject(workload.task, given, call, call))
