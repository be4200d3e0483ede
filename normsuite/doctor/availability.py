"""Which backends and rivals can be measured on this machine's CPU, and why the others cannot."""

import itertools
from collections.abc import Mapping

import torch

from .. import backends
from ..errors import UnsupportedError, one_line
from ..measure import implementations
from ..measure.cases import find as find_case
from ..measure.labels import rivals
from ..measure.task import USUAL_MODES, Task
from ..measure.workload import named
from ..spec import NORMS

CASE = "study"
"""The case that a rival must be able to compute, in any mode, with or without an activation."""


def refused_norms() -> dict[str, dict[str, str]]:
    """Return, by backend, the norms that it does not compute on the CPU, with the reason that it gives when tried."""
    found: dict[str, dict[str, str]] = {}
    for name in backends.NAMES:
        refused = found[name] = {}
        for norm in NORMS:
            tried = named(norm, name, "tiny")
            try:
                with torch.no_grad():
                    tried.prepare()()
            except UnsupportedError as error:
                refused[norm] = error.reason
            except Exception as error:  # of another package's backend: shown as its reason
                refused[norm] = f"fails: {one_line(error)}"
    return found


def usable_backends(refused: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """Return the reason why each backend computes no norm on the CPU; None if it computes any."""
    found: dict[str, str | None] = {}
    for name, norms in refused.items():
        reasons = dict.fromkeys(norms.values())
        every = norms.keys() == NORMS.keys()
        same = next(iter(reasons)) if len(reasons) == 1 else None  # as true of the backend as of each norm
        found[name] = (same or by_norm(norms)) if every else None
    return found


def by_norm(reasons: Mapping[str, str]) -> str:
    """Return the reasons of several norms as text."""
    return "; ".join(f"{norm}: {reason}" for norm, reason in reasons.items())


def usable_rivals() -> dict[str, str | None]:
    """Return the reason why each rival of `normsuite bench` is not measured on the CPU; None if it is."""
    of_each = itertools.product(NORMS.values(), USUAL_MODES, (None, "relu"))
    tasks = [Task(spec, find_case(CASE), mode, activation) for spec, mode, activation in of_each]
    found: dict[str, str | None] = {}
    everyone = {implementation.name: implementation for implementation in implementations.everyone()}
    for name in rivals(everyone):
        implementation = everyone[name]
        reasons = [implementation.why_not(task) for task in tasks]
        # That a package is missing is more useful to know than that it lacks this norm or mode.
        missing = [r for r in reasons if r is not None and "not installed" in r]
        found[name] = None if None in reasons else (missing or reasons)[0]
    return found
