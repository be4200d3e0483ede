"""Names of implementations in records and tables, and of the suite's benchmarks in asv's results. Imports no torch."""

import ast
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from .. import _LAZY
from ..vocabulary import BACKEND_ENTRY_POINTS

BASELINE = "torch.nn"
AGAIN = "torch.nn again"
COPY = "copy"
AUTO = "auto"
ACCELERATED = "triton"
"""Label of the kernels for accelerators, which stand for normsuite's own where `auto` was not measured."""
BOUND = "sum and product"
PREALLOCATED = ", preallocated"

HOST = "host"
"""Last part of the names of cells whose host time counts."""

COMPILED_FORMS = ("torch.compile", "torch.compile of torch.nn", "torch.compile, activation apart")
BETTER_COMPILED = "torch.compile, the faster form"
"""Label of whichever compiled form has the smallest ratio to torch.nn's time in a task."""

_FIRST = (*COMPILED_FORMS, BETTER_COMPILED, "flax", "onnxruntime", "liger", "quack", "apex")
"""Rivals in the order of tables; others follow."""

ASV_LATENCY = {"forward": "latency.Latency.track_forward", "step": "latency.Latency.track_training_step"}
"""asv's benchmarks of a call's seconds, by mode."""

ASV_MEMORY = "memory.Memory.track_training_step"
ASV_ERRORS = {"output": "numerics.RelativeError.track_output", "gradient": "numerics.RelativeError.track_gradient"}
"""asv's benchmarks of errors against float64, by what is compared."""

ASV_ERROR_RATE = "mnist.ErrorRate.track_mnist"
ASV_TORCH = "environment.Environment.track_torch"
"""asv's benchmark that stores the version of torch."""

_BACKENDS = Path(__file__).resolve().parent.parent / "backends"
_IMPLEMENTATIONS = Path(__file__).resolve().parent / "implementations"

MODULES = tuple(name for name, home in _LAZY.items() if home == "modules" and name[0].isupper())
"""The public modules, which are classes."""


@cache
def backends() -> tuple[str, ...]:
    """Return the names of our backends and of those that other packages announce, without loading any of them."""
    own = {module.name for module in pkgutil.iter_modules([str(_BACKENDS)]) if not module.name.startswith("_")}
    return tuple(sorted(own | {entry.name for entry in entry_points(group=BACKEND_ENTRY_POINTS)}))


def implementations() -> tuple[str, ...]:
    """Return the names of our backends and of all that is compared with them, without loading any of them.

    The names are the strings that the files of `implementations` have in their `IMPLEMENTATIONS`.
    """
    found = [BASELINE, AGAIN, COPY, *backends(), BOUND, *descriptions()]
    return tuple(dict.fromkeys(found))


@cache
def descriptions() -> dict[str, str]:
    """Return a description of each implementation, by name, on one line; imports no such file.

    It is the file's docstring, or its class's where a file has implementations of several classes.
    """
    found: dict[str, str] = {}
    for path in sorted(_IMPLEMENTATIONS.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = {node.name: ast.get_docstring(node) for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "IMPLEMENTATIONS":
                made = {name: getattr(call.func, "id", "") for call in _calls(node.value) for name in _texts(call)}
                for name, by in made.items():
                    said = classes.get(by) if len(set(made.values())) > 1 else ast.get_docstring(tree)
                    found[name] = " ".join((said or "").split())
    return found


def _calls(value: ast.expr) -> list[ast.Call]:
    return [node for node in ast.walk(value) if isinstance(node, ast.Call)]


def _texts(call: ast.Call) -> list[str]:
    """Return the strings among the first arguments of a call."""
    return [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def backend_of(label: str) -> str:
    """Return the backend of a label, such as "auto" of "auto BatchNorm2d"; a label that is no module's is its own."""
    label = label.removesuffix(PREALLOCATED)
    backend, _, module = label.partition(" ")
    return backend if module in MODULES else label


def is_copy(label: str) -> bool:
    """Return whether a label is that of a copy, into a new or an existing tensor."""
    return label.removesuffix(PREALLOCATED) == COPY


def is_ours(label: str) -> bool:
    """Return whether a label is a backend's function or module."""
    return backend_of(label) in backends()


def rivals(labels: Iterable[str]) -> list[str]:
    """Return those labels that are neither ours nor torch.nn nor a copy, in the order of tables."""
    known = {BASELINE, AGAIN, COPY, BOUND}
    found = [label for label in labels if label.removesuffix(PREALLOCATED) not in known and not is_ours(label)]
    return sorted(found, key=lambda label: _FIRST.index(label) if label in _FIRST else len(_FIRST))
