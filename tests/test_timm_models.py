"""Models of timm, converted and trained for a step, in every layout and with a batch of one, against float64."""

import copy
import warnings

import pytest
import torch

import normsuite

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    timm = pytest.importorskip("timm", reason="needs timm")

pytestmark = pytest.mark.slow
SIZES = {"test_resnet": 64, "resnet18": 64}
"""Models whose norms are torch.nn's own classes; timm's subclasses are left alone."""


def made(name):
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=10).train()


def stepped(model, x):
    """Loss, gradients and buffers of a training step."""
    x = x.detach().requires_grad_()
    loss = model(x).square().mean()
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    buffers = {name: b for name, b in model.named_buffers() if b.is_floating_point()}
    return {"loss": loss.detach(), "input": x.grad, **gradients, **buffers}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", SIZES)
def test_a_training_step_is_the_original_s_in_float64(name, layout, batch):
    model = made(name).double()
    x = torch.randn(batch, 3, SIZES[name], SIZES[name], dtype=torch.float64)
    wanted = stepped(copy.deepcopy(model), x)
    for backend in ("torch", "numba", "auto"):
        ours = copy.deepcopy(model).to(memory_format=layout)
        assert normsuite.convert(ours, backend=backend).changed
        for key, found in stepped(ours, x.contiguous(memory_format=layout)).items():
            scale = max(1e-3, wanted[key].abs().max().item())
            error = (found - wanted[key]).abs().max().item()
            assert error <= 1e-6 * scale, f"{backend}, {key}: off by {error:.2g} of {scale:.2g}"


def test_subclasses_of_timm_are_left_alone_and_named():
    model = timm.create_model("test_convnext", pretrained=False, num_classes=10)
    done = normsuite.convert(model)
    assert not done.changed and set(done.left.values()) == {"LayerNorm", "LayerNorm2d"}
