"""The public functions and modules of normsuite on a few cases: the cells that its pyproject.toml gives the gate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .. import backends as known_backends
from ..errors import ArgumentError, UnknownNameError
from ..spec import NORMS, find
from . import implementations
from . import task as tasks
from .cases import Case, tracked
from .cases import find as find_case
from .implementations import ours
from .implementations.ours import Ours
from .labels import AUTO
from .workload import Workload, matching

_LEFT_OUT = {True: ("reference", "triton"), False: ("reference", "numba")}
"""Backends that are not measured on the processor and on accelerators: the reference is slow on purpose, and some
kernels compute elsewhere only."""

BACKENDS, ACCELERATOR_BACKENDS = (
    (*(name for name in known_backends.NAMES if name not in (*left_out, AUTO)), AUTO) for left_out in _LEFT_OUT.values()
)
_TORCH = "torch"
"""Left out of the default table: it passes calls to torch."""

CASES = tracked(("tiny", "study", "stage-14"))
"""A call that costs more than its arithmetic, one that fits the first caches, one that fits the last."""

ACCELERATOR_CASES = ("rows-8192x4096", "unet-64", "resnet-256-56", "pix2pix")
"""Each with its own norms and activations, of a device's size: a small call takes the host's time there."""

SMALLEST = "tiny"
_ON_REQUEST = (SMALLEST, "stage-14")
"""Cases left out of the default table: a module's call is the small one already, and the kernels on the largest are
those on `study`, for twice the time."""

MODES = ("forward", "step")
MODULES = tuple(f"{AUTO} {name}" for name in ours.MODULES)
"""Every public module; on its small case alone, since what it adds to its function takes the same time for any size."""


def plan(
    *,
    norms: Sequence[str] = (),
    backends: Sequence[str] = (),
    cases: Sequence[str] = (),
    modes: Sequence[str] = (),
    activations: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    only: Sequence[str] = (),
    device: str = "cpu",
    everything: bool = False,
) -> list[Workload]:
    """Return the workloads of a table.

    The default table has each function by its own kernels and as `auto` chooses, on one case, and each module on its
    small case: about as many as two minutes can decide. Torch's own kernels, which `auto` chooses too, and functions on
    the smallest and the largest case are measured where a backend, a case or a pattern asks for them. On an accelerator
    the functions have cases of its size, in float32 and bfloat16, and small calls are timed by the host's clock: those
    of the modules, and of the functions as `auto` chooses, or of any backend that is asked for.

    Args:
        norms, backends, cases, modes, activations, dtypes: names; the default table's where left out. A backend names
            the functions ("auto"), or one module of that backend ("auto BatchNorm2d").
        only: patterns of workloads' names, such as "GroupNorm/*/step", out of all backends and cases; a * takes / too.
        device: "cpu" or the accelerator's name.
        everything: all backends and cases, also where no pattern asks for them.

    Raises:
        ArgumentError: a name that does not exist, or a pattern that none matches.
    """
    is_restricted = bool(backends or cases)
    backends = backends or (BACKENDS if device == "cpu" else ACCELERATOR_BACKENDS)
    names, own = cases or CASES, () if cases else _of_its_size(device, {find(name).name for name in norms})
    is_default = not (is_restricted or only or everything)
    if is_default:
        backends = [name for name in backends if name != _TORCH]
        names = () if own else [name for name in names if name not in _ON_REQUEST]
    chosen = [_ours(name) for name in dict.fromkeys(backends)]
    further: dict[str, Any] = {
        "modes": modes or MODES,
        "activations": activations or (tasks.NO_ACTIVATION,),
        "dtypes": dtypes or ("float32",),
    }
    of_its_size = {"activations": activations, "dtypes": dtypes} if own else {}
    measured = tasks.plan(norms=norms, names=names, own=own, device=device, **{**further, **of_its_size})
    found = [
        Workload(each, task)
        for task in measured
        for each in chosen
        if isinstance(each, ours.Function) or not each.why_not(task)
    ]
    if device != "cpu" and not cases:
        small = tasks.plan(norms=norms, names=[SMALLEST], **{**further, "device": device})
        by = [each for each in chosen if isinstance(each, ours.Function) and (each.name == AUTO or not is_default)]
        found += [Workload(each, replace(task, host_time=True)) for task in small for each in by]
    if not is_restricted:
        found += _modules({find(name).name for name in norms} or set(NORMS), {**further, "device": device})
    if not found:
        raise ArgumentError("backend", ", ".join(backends), "does none of the chosen cases")
    return matching(found, only)


def _of_its_size(device: str, norms: set[str]) -> list[Case]:
    """Return the cases of an accelerator's size that one of the norms has, none of the processor's."""
    if device == "cpu":
        return []
    return [case for case in map(find_case, ACCELERATOR_CASES) if not norms or norms & set(case.norms)]


def _modules(norms: set[str], further: dict) -> list[Workload]:
    """Return the modules' workloads; on an accelerator by the host's clock: what a module adds is the host's work."""
    found = []
    for module in filter(None, map(ours.module, MODULES)):
        norm, _ = ours.of_class(module.entry_class)
        modes = [mode for mode in further["modes"] if tasks.has_mode(find(norm), mode)]
        if norm in norms and modes:
            case = ours.case_of(module.entry_class)
            planned = tasks.plan(norms=[norm], names=[case], **{**further, "modes": modes})
            found += [Workload(module, replace(task, host_time=task.on_accelerator)) for task in planned]
    return found


def _ours(name: str) -> Ours:
    found = implementations.find(name)
    if not isinstance(found, Ours) or found.preallocated:
        raise UnknownNameError.among("backend", name, (AUTO, *(n for n in known_backends.NAMES if n != AUTO)))
    return found
