"""The parameters of every benchmark, and what a commit or a machine must have for them.

The lists are those of this checkout and not of the commit that is measured, and only grow at their ends: asv knows a
parameter by its place, so that a list that changed with the commit would give old results new names.
"""

from . import kit

_NORMS = ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"]
_BACKENDS = ["torch", "reference", "numba", "triton", "auto"]
_MODULES = [
    *("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"),
    *(f"{norm}{rank}d" for norm in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)),
]


def _grown(listed, known):
    """Return what is listed, then what else is known."""
    return [*listed, *(name for name in known if name not in listed)]


NORMS = _grown(_NORMS, kit.package.NORMS)
BACKENDS = _grown(_BACKENDS, kit.backends.NAMES)
METRICS = _grown(["saved bytes"], [found.name for found in kit.metric.COUNTED if found.name != "peak bytes"])
MODULES = _grown(_MODULES, kit.ours.MODULES)
CASES = [*kit.cases.tracked(["tiny", "study", "resnet"])]
DEVICES = ["cpu", "cuda"]
LARGE = [f"{norm}/{name}" for name in kit.own_workloads.ACCELERATOR_CASES for norm in kit.cases.find(name).norms]
"""Norms on cases of an accelerator's size."""

LARGE_BACKENDS = ["torch", "triton", "auto"]
DTYPES = ["float32", "bfloat16"]


def require(norm: str, backend: str, device: str) -> None:
    """Check that this commit has norm and backend, this machine the device, and that the backend computes there.

    Raises:
        NotImplementedError: one of them is missing, which asv shows as n/a.
    """
    import torch

    installed = kit.installed()
    if norm != "none" and norm not in installed.NORMS:
        raise NotImplementedError(f"no norm {norm}")
    if backend not in installed.backends.NAMES:
        raise NotImplementedError(f"no backend {backend}")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if device != "cpu" and (accelerator is None or accelerator.type != device):
        raise NotImplementedError(f"no {device}")
    if norm == "none":
        norm = "LayerNorm"
    kit.prepared(norm, backend, "tiny", "forward", device)
