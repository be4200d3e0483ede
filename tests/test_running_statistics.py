"""Running statistics that cannot be updated are refused before anything has changed; infinite ones stay infinite."""

import pytest
import torch
from torch import nn

import normsuite
from normsuite import functional
from normsuite.errors import ArgumentError

BACKENDS = ("numba", "reference", "torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_channels_that_share_a_number_are_refused(backend, name):
    given = {"running_mean": torch.zeros(8), "running_var": torch.ones(8), name: torch.ones(1).expand(8)}
    before = {key: t.clone() for key, t in given.items()}
    with pytest.raises(ArgumentError, match=rf"{name}.stride\(\) = \(0,\)"):
        functional.batch_norm(torch.randn(4, 8, 3), **given, training=True, backend=backend)
    torch.testing.assert_close(given, before)
    functional.batch_norm(torch.randn(4, 8, 3), **given, backend=backend)  # which only reads them


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tensor_of_inference_mode_is_refused_before_they_move(backend):
    with torch.inference_mode():
        x = torch.randn(4, 8, 3, 3)
    norm = normsuite.BatchNorm2d(8, backend=backend)
    before = norm.running_mean.clone()
    try:
        norm(x)
    except RuntimeError:
        assert torch.equal(norm.running_mean, before)
        assert int(norm.num_batches_tracked) == (backend == "torch"), "torch.nn has counted the batch by then, too"
    else:
        assert backend == "reference", "which saves no tensor of that mode"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_an_infinite_variance_stays_infinite(backend, momentum):
    huge = 1e25 * torch.randn(8, 4, 6, generator=torch.Generator().manual_seed(0))
    usual = torch.randn(8, 4, 6, generator=torch.Generator().manual_seed(1))
    found = []
    for norm in (normsuite.BatchNorm1d(4, momentum=momentum, backend=backend), nn.BatchNorm1d(4, momentum=momentum)):
        for x in (huge, usual):
            norm(x)
        found.append(norm.running_var)
    assert found[1].isinf().all() and torch.equal(*found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_momentum_of_one_number_in_more_dimensions(backend):
    found = []
    for momentum in (0.25, torch.tensor([[0.25]])):
        mean, var = torch.zeros(8), torch.ones(8)
        x = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
        functional.batch_norm(x, mean, var, training=True, momentum=momentum, backend=backend)
        found.append((mean, var))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_negative_eps_is_refused_in_evaluation_too(backend):
    x = torch.randn(4, 8, 3)
    for call in (functional.batch_norm, nn.functional.batch_norm):
        more = {"backend": backend} if call is functional.batch_norm else {}
        with pytest.raises(ValueError, match="eps"):
            call(x, torch.zeros(8), torch.ones(8), eps=-1e-3, **more)
