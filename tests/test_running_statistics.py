"""Running statistics that cannot be updated are refused before anything has changed; infinite ones stay infinite."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import normsuite
from normsuite import functional
from normsuite.errors import ArgumentError, UnsupportedError

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
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_tensor_of_inference_mode_is_refused_before_they_move(backend, momentum):
    with torch.inference_mode():
        x = torch.randn(4, 8, 3, 3)
    norm = normsuite.BatchNorm2d(8, momentum=momentum, backend=backend)
    before = norm.running_mean.clone()
    try:
        norm(x)
    except UnsupportedError as error:
        assert "saves input for the backward pass" in str(error) and torch.equal(norm.running_mean, before)
        assert int(norm.num_batches_tracked) == 0
    else:
        assert backend == "reference", "which saves no tensor of that mode"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_of_inference_mode_is_refused_before_they_move(backend):
    with torch.inference_mode():
        weight = torch.ones(8)
    mean, var = torch.zeros(8), torch.ones(8)
    x = torch.randn(4, 8, 3, requires_grad=True)
    with pytest.raises(UnsupportedError, match="saves weight for the backward pass"):
        functional.batch_norm(x, mean, var, weight, training=True, backend=backend)
    assert torch.equal(mean, torch.zeros(8))


def test_what_the_kernels_copy_or_the_reference_leaves_may_be_of_inference_mode():
    with torch.inference_mode():
        rows, x = torch.randn(4, 8, 16).transpose(1, 2), torch.randn(4, 8)
    weight = torch.ones(8, requires_grad=True)
    for backend in ("numba", "reference"):
        functional.layer_norm(rows, (8,), weight, backend=backend).sum().backward()
    functional.rms_norm(x, (8,), weight, backend="reference").sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
def test_a_cumulative_average_in_a_narrow_type_is_torch_s(dtype, affine):
    x = (100 + torch.randn(32, 8, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    found = []
    for make in (normsuite.BatchNorm1d, nn.BatchNorm1d):
        norm = make(8, momentum=None, affine=affine)
        found.append((norm(x), norm.running_mean, norm.running_var))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_instance_norm_under_checkpointing_moves_them_as_often_as_torch_does(backend):
    found = []
    for call in (functional.instance_norm, nn.functional.instance_norm):
        more, momentum = ({"backend": backend}, torch.tensor(0.25)) if call is functional.instance_norm else ({}, 0.25)
        mean, var = torch.zeros(8), torch.ones(8)
        x = torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
        run = functools.partial(call, running_mean=mean, running_var=var, momentum=momentum, **more)
        checkpoint(lambda t, run=run: run(t.sin()), x, use_reentrant=False).square().sum().backward()
        found.append((mean, var))
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_norm_is_traced_without_a_warning(backend):
    x = torch.randn(4, 8, 3)
    traced = torch.jit.trace(normsuite.BatchNorm1d(8, backend=backend), (x,), check_trace=False)
    torch.testing.assert_close(traced(x), nn.BatchNorm1d(8)(x))


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


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_narrow_statistics_are_rounded_once(backend):
    """A mean that is that of the batch stays where it is."""
    x = torch.full((4, 1, 8), 1.1328125, dtype=torch.bfloat16)
    mean, var = torch.tensor([1.1328125], dtype=torch.bfloat16), torch.ones(1, dtype=torch.bfloat16)
    functional.batch_norm(x, mean, var, training=True, momentum=0.1, backend=backend)
    assert float(mean) == 1.1328125


def test_torch_s_calls_that_save_no_input_take_one_of_inference_mode():
    with torch.inference_mode():
        x, weight = torch.randn(4, 16), torch.ones(8)
    own = torch.ones(16, requires_grad=True)
    functional.rms_norm(x, (16,), own).sum().backward()
    z = torch.randn(4, 8, 6, requires_grad=True)
    for backend in ("torch", "numba", "auto"):
        functional.instance_norm(z, weight=weight, backend=backend).sum().backward()


def test_an_operator_s_input_is_refused_before_they_move():
    with torch.inference_mode():
        x = torch.randn(4, 8, 6, 6)[..., ::2]
    norm = normsuite.BatchNorm2d(8, backend="numba")
    with FlopCounterMode(display=False), pytest.raises(UnsupportedError, match="saves input"):
        norm(x)
    assert int(norm.num_batches_tracked) == 0 and torch.equal(norm.running_mean, torch.zeros(8))


def test_a_cumulative_average_of_tensors_without_memory():
    norm = normsuite.BatchNorm2d(8, momentum=None, device="meta")
    assert norm(torch.empty(2, 8, 4, 4, device="meta")).is_meta
