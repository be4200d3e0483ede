"""Largest error against float64, relative to the true root mean square: float32 input of deviation 1 about a mean."""

from . import kit
from .parameters import BACKENDS, DEVICES, NORMS, require

CASES = ["study"]
MEANS = [0.0, 1e4]


class RelativeError:
    """Errors of a training step in float32, over the root mean square of the true values."""

    params = (NORMS, BACKENDS, CASES, DEVICES, MEANS)
    param_names = ("norm", "backend", "case", "device", "mean")
    unit = "relative error"
    timeout = 120
    version = "2"

    def setup(self, norm, backend, case, device, mean):
        """Skip a combination that cannot run here, and measure both errors."""
        require(norm, backend, device)
        workload = kit.workload.named(norm, backend, case, "step", device=device).of(kit.installed())
        self.output, self.gradient = kit.accuracy.errors(workload, mean=mean)

    def track_output(self, norm, backend, case, device, mean):
        """Return the largest error of the output."""
        return self.output

    def track_gradient(self, norm, backend, case, device, mean):
        """Return the largest error of the input's gradient."""
        return self.gradient
