"""Custom operators: those of other namespaces than torch's own."""

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from ..result import Finding
from ..subject import NotApplicable, Subject
from . import check

_TORCHS = ("aten", "prim", "prims", "inductor", "profiler", "c10d", "debugprims", "mkldnn", "mkl", "quantized")


class _Recorded(TorchDispatchMode):
    """Keeps every custom operator with the arguments of its first call."""

    def __init__(self):
        super().__init__()
        self.calls: dict[OpOverload, tuple[tuple, dict]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace not in _TORCHS and func not in self.calls:
            self.calls[func] = args, dict(kwargs or {})
        return func(*args, **(kwargs or {}))


@check()
def custom_operators(subject: Subject) -> Finding | None:
    """torch.library.opcheck passes for every custom operator that a call uses."""
    built, x = subject.built(), subject.input()
    recorded = _Recorded()
    with torch.no_grad(), recorded:
        built(x)
    if not recorded.calls:
        raise NotApplicable("calls no custom operator")
    for operator, (args, kwargs) in recorded.calls.items():
        try:
            torch.library.opcheck(operator, args, kwargs)
        except Exception as error:  # opcheck raises whatever it finds
            return subject.fails(f"{operator}: {' '.join(str(error).split())[:200]}")
    return None
