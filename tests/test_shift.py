"""Covariate shift: the formula, and that watching changes nothing that is learnt."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normsuite.spec import NO_NORM, NORMS
from normsuite.study import train as training
from normsuite.study.shift import Watch, distance
from normsuite.study.train import Run, train

SMALL = {"train_size": 640, "batch_size": 64}


def test_the_distance_is_wasserstein_s_over_the_deviation():
    mean, std = torch.tensor([0.0, 1.0]).double(), torch.tensor([3.0, 4.0]).double()
    moved = distance((mean, std), (mean + torch.tensor([3.0, 0.0]), std + torch.tensor([0.0, 4.0])))
    assert moved.item() == pytest.approx(5 / 5)
    assert distance((mean, std), (mean, std)).item() == 0
    assert math.isnan(distance((mean, 0 * std), (mean, 0 * std)).item())


@pytest.mark.parametrize("norm", [NO_NORM, *NORMS])
def test_watching_changes_nothing(norm, digits, monkeypatch):
    run = Run(norm, 0, epochs=1, **SMALL)
    seen = train(run, digits)
    monkeypatch.setattr(training.Watch, "before", lambda *a: None)
    monkeypatch.setattr(training.Watch, "after", lambda *a: None)
    unseen = train(run, digits)
    assert [{**e.__dict__, "seconds": 0} for e in seen.epochs] == [{**e.__dict__, "seconds": 0} for e in unseen.epochs]
    assert len(seen.shift) == 2 and not unseen.shift
    first, second = seen.shift
    assert [layer.shift for layer in first.layers] == [None] * 5
    assert all(layer.shift > 0 and layer.std > 0 for layer in second.layers)
    assert (first.step, second.step) == (0, 5)


def test_moments_and_gradients_are_those_of_the_layers():
    """Against the two-layer network worked out by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    probe, images = torch.randn(50, 3).double(), torch.randn(20, 3).double()
    target = torch.randint(2, (20,))
    watch = Watch(network, probe)
    old = [p.detach().clone() for p in network.parameters()]

    def gradient(first, last):
        weight = last[0].clone().requires_grad_()
        output = F.linear(F.relu(F.linear(images, *first)), weight, last[1])
        return torch.autograd.grad(F.cross_entropy(output, target), weight)[0]

    watch.before(images, target)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    watch.after(7)
    new = [p.detach() for p in network.parameters()]
    g, moved = gradient(old[:2], old[2:]), gradient(new[:2], old[2:])
    inputs = F.relu(F.linear(probe, *new[:2]))
    (layer,) = watch.seen[0].layers
    assert watch.seen[0].step == 7 and layer.shift is None
    assert layer.gradient_change == pytest.approx(((moved - g).norm() / g.norm()).item(), rel=1e-4)
    assert layer.gradient_cosine == pytest.approx(F.cosine_similarity(moved.ravel(), g.ravel(), dim=0).item(), rel=1e-4)
    assert layer.mean == pytest.approx(inputs.mean().item(), rel=1e-4)
    assert layer.std == pytest.approx(inputs.std(unbiased=False).item(), rel=1e-4)
    before = inputs
    watch.before(images, target)
    with torch.no_grad():
        network[0].bias.add_(0.3)
    watch.after(8)
    inputs = F.relu(F.linear(probe, *[p.detach() for p in network[0].parameters()]))
    expected = distance(
        (before.mean(0), before.std(0, unbiased=False)), (inputs.mean(0), inputs.std(0, unbiased=False))
    )
    assert watch.seen[1].layers[0].shift == pytest.approx(expected.item(), rel=1e-4)
