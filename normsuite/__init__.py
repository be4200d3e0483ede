"""Normalization layers, and the measurements that say what each of them costs and gains.

Importing this package imports no torch: `normsuite explain` and `normsuite report` only read data and start at once.
The functions and modules are loaded when first asked for.
"""

from importlib import import_module

_LAZY = {
    "__version__": "_version",
    "batch_norm": "functional",
    "layer_norm": "functional",
    "group_norm": "functional",
    "instance_norm": "functional",
    "rms_norm": "functional",
    "BatchNorm": "modules",
    "LayerNorm": "modules",
    "GroupNorm": "modules",
    "InstanceNorm": "modules",
    "RMSNorm": "modules",
    **{f"{norm}{rank}d": "modules" for norm in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)},
    "convert": "conversion",
    "revert": "conversion",
    "NormSpec": "spec",
    "NORMS": "spec",
    "Target": "targets",
    "check": "conformance",
    "compare": "versus",
    "read_records": "frames",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
