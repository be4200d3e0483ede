"""Running statistics, training and evaluation."""

from dataclasses import replace

import numpy as np
import torch

from ... import oracle
from ...spec import NormSpec
from ...targets.build import Built, draw
from ..result import DIFFERS, FAILS, OK, Finding
from ..subject import BOUND, ULPS, NotApplicable, Subject
from ..truth import BIAS, INPUT, OUTPUT, WEIGHT, array, tensors_of_state
from . import check

_BATCHES = 3


def _with_running(subject: Subject) -> Built:
    built = subject.built()
    if not built.has_running:
        raise NotApplicable("has no running statistics")
    return built


@check()
def running_statistics(subject: Subject) -> Finding | None:
    """Training moves the running mean and the running unbiased variance by the momentum."""
    built = _with_running(subject)
    if built.is_frozen:
        raise NotApplicable("has statistics that never move")
    spec, momentum = built.settings.spec, built.settings.momentum
    if spec is None:
        raise NotApplicable("is like no norm, so that its statistics are not known")
    tensors = built.tensors
    mean, var = (array(tensors[name]).ravel() for name in ("running_mean", "running_var"))
    for number in range(_BATCHES):
        x = subject.input(mean=0.5, scale=2.0, seed=30 + number)
        built(x)
        new_mean, new_var = _statistics(built, spec, x)
        weight = 1 / (number + 1) if momentum is None else momentum
        mean, var = (1 - weight) * mean + weight * new_mean, (1 - weight) * var + weight * new_var
    for name, expected in (("running_mean", mean), ("running_var", var)):
        figure = subject.ulps(array(built.tensors[name]).ravel(), expected)
        if figure > BOUND:
            return subject.fails(f"{name} after {_BATCHES} batches is another", figure, unit=ULPS)
    return None


def _statistics(built: Built, spec: NormSpec, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and unbiased variance of each channel; for norms per sample, averaged over the batch."""
    values = array(x)
    labels = oracle.group_labels(spec, values.shape, built.settings.num_groups)
    mean, var = oracle.statistics(values, labels)
    n = np.bincount(labels.ravel())
    var = var * n / np.maximum(1, n - 1)
    channels = values.shape[1]
    return mean.reshape(-1, channels).mean(axis=0), var.reshape(-1, channels).mean(axis=0)


@check()
def evaluation(subject: Subject) -> Finding:
    """Evaluation uses the running statistics, in its gradients too."""
    built = _with_running(subject)
    with torch.no_grad():
        mean, var = built.tensors["running_mean"], built.tensors["running_var"]
        mean.copy_(draw(mean.shape, dtype=torch.float64, seed=41))
        var.copy_(draw(var.shape, dtype=torch.float64, seed=42).abs() + 0.5)
    built.module.eval()
    mine, theirs = subject.errors(built, subject.input(), (OUTPUT, INPUT, WEIGHT, BIAS))
    found = {name: subject.judged(figure, theirs.get(name)) for name, figure in mine.items()}
    name = max(found, key=lambda name: (found[name].status == FAILS, found[name].status == DIFFERS, mine[name]))
    worst = found[name]
    return worst if name == OUTPUT or worst.status == OK else replace(worst, text=f"{name}: {worst.text}")


@check()
def evaluation_changes_nothing(subject: Subject) -> Finding | None:
    """Evaluation leaves parameters and buffers as they are."""
    built = subject.built()
    built.module.eval()
    before = {name: t.clone() for name, t in tensors_of_state(built.module).items()}
    built(subject.input(mean=1.0))
    changed = [n for n, t in tensors_of_state(built.module).items() if not torch.equal(t, before[n])]
    return subject.fails(f"changes {', '.join(changed)}") if changed else None


@check()
def evaluation_as_training(subject: Subject) -> Finding | None:
    """Without running statistics, training and evaluation give the same."""
    built, x = subject.built(), subject.input()
    if built.has_running:
        raise NotApplicable("has running statistics")
    before = {name: t.clone() for name, t in built.module.named_buffers()}
    with torch.no_grad():
        trained = built(x)
        changed = [
            name for name, t in built.module.named_buffers() if name not in before or not torch.equal(t, before[name])
        ]
        built.module.eval()
        if torch.equal(built(x), trained):
            return None
    if changed:
        raise NotApplicable(f"training changes {', '.join(changed)}, which evaluation may use")
    return subject.fails("evaluation gives another output, and there are no buffers running_mean and running_var")
