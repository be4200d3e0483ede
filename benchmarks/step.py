"""A norm's function on a case, or one of the modules, forward and as a step: for latency, memory and counts."""

from . import kit
from .parameters import BACKENDS, CASES, DEVICES, DTYPES, LARGE, LARGE_BACKENDS, MODULES, NORMS, require


class Step:
    """A norm's function, as users call it."""

    params = (NORMS, BACKENDS, CASES, DEVICES)
    param_names = ("norm", "backend", "case", "device")
    timeout = 120

    def setup(self, norm, backend, case, device):
        """Skip a combination that cannot run here, and store the cell."""
        require(norm, backend, device)
        self.cell = (norm, backend, case)
        self.device = device

    def prepared(self, mode):
        """Return the workload in that mode, a call for each set of its operands, and the first set."""
        return kit.prepared(*self.cell, mode, self.device)


class LargeStep(Step):
    """A norm's function on a case of an accelerator's size, which the processor does not run."""

    params = (LARGE, LARGE_BACKENDS, DTYPES, DEVICES[1:])
    param_names = ("norm/case", "backend", "dtype", "device")

    def setup(self, task, backend, dtype, device):
        """Skip a combination that cannot run here, and store the cell."""
        norm, _, case = task.partition("/")
        require(norm, backend, device)
        self.cell, self.device, self.dtype = (norm, backend, case), device, dtype

    def prepared(self, mode):
        """Return the workload in that mode, a call for each set of its operands, and the first set."""
        return kit.prepared(*self.cell, mode, self.device, self.dtype)


class LaunchStep(Step):
    """A norm's function on the smallest case, on an accelerator."""

    params = (NORMS, BACKENDS, CASES[:1], DEVICES[1:])


class ModuleStep(Step):
    """One of the public modules, on the small case of its rank."""

    params = (MODULES, BACKENDS, DEVICES)
    param_names = ("module", "backend", "device")

    def setup(self, module, backend, device):
        """Skip a combination that cannot run here, and store the module's cell."""
        norm, _ = kit.ours.of_class(module)
        require(norm, backend, device)
        self.cell = (norm, f"{backend} {module}", kit.ours.case_of(module))
        self.device = device
