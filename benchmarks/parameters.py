"""The parameters of every benchmark, and what a commit or a machine must have for them.

asv knows a parameter by its place in the list, so the lists stand here and not in the package, and only grow at their
ends: a list that changed with the commit would give old results new names.
"""

NORMS = ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"]
BACKENDS = ["torch", "reference", "numba", "triton"]
CASES = ["tiny", "study", "resnet"]
DEVICES = ["cpu", "cuda"]


def require(norm: str, backend: str, device: str) -> None:
    """Tell asv to show n/a where this commit lacks the norm or the backend, this machine the device, or where the
    backend does not compute there."""
    import torch

    from normsuite import NORMS, backends, functional
    from normsuite.errors import UnsupportedError

    if norm != "none" and norm not in NORMS:
        raise NotImplementedError(f"no norm {norm}")
    if backend not in backends.NAMES:
        raise NotImplementedError(f"no backend {backend}")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if device != "cpu" and (accelerator is None or accelerator.type != device):
        raise NotImplementedError(f"no {device}")
    try:
        functional.normalize(NORMS["LayerNorm"], torch.zeros(2, 4, device=device), backend=backend)
    except UnsupportedError as error:
        raise NotImplementedError(str(error)) from None
