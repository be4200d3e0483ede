"""The identity of a run: all that its numbers depend on, and the name of its record."""

import re
from dataclasses import asdict

import torch

from .. import tunings
from ..machine import device
from ..measure.labels import AUTO
from ..records import kinds, provenance, results
from ..spec import NO_NORM, find
from ..targets.source import source_of
from .train import Run

THREADS = 1
"""Threads that a run is trained with."""


def depends(run: Run, checksum: str) -> dict:
    """Return what a run's numbers depend on beside its settings, the sources and the machine."""
    norm: dict[str, object] | None = None
    if run.target is not None:
        norm = {"like": run.target.like, "source": source_of(str(run.target.path))}
    elif run.norm != NO_NORM:
        spec = find(run.norm)
        norm = {**asdict(spec), "axes": sorted(spec.axes)}
    return {
        "norm": norm,
        "data": checksum,
        # Processors of one name may differ in them, and sums are then taken in another order.
        "instructions": torch.backends.cpu.get_cpu_capability(),
        # By it `auto` chooses between backends, whose sums differ.
        **({"tuning": tunings.current(THREADS).digest} if run.backend == AUTO else {}),
    }


def environment(run: Run) -> dict:
    """Return the environment for a run's record: its thread, and the accelerator where it trains on one."""
    return provenance.environment(threads=THREADS, accelerator=device.name(run.device))


def record_name(run: Run, checksum: str, *, on_cluster: bool = False) -> str:
    """Return the name of a run with the digits of that checksum, as this machine and these sources would do it.

    A cluster's runs have names of their own, since its machines compute differently.
    """
    identity = {
        "run": run.as_dict(),
        "depends": depends(run, checksum),
        "source": provenance.source_digest(),
        "environment": provenance.decisive(environment(run)),
        **({"on cluster": True} if on_cluster else {}),
    }
    norm = re.sub(r"[^\w.+-]+", "-", run.norm)  # a target may be called anything
    return f"{kinds.STUDY.what}-{norm}-seed{run.seed}-{results.digest(identity)}"
