"""Converted models in training: checkpointed, under torch.fx, and with a batch of one in channels_last."""

import copy

import pytest
import torch
import torch.fx
import torchvision
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import normsuite

SIZES = {"resnet18": 64, "densenet121": 64, "convnext_tiny": 32, "swin_t": 32}


def made(name):
    torch.manual_seed(0)
    if name == "post-norm Transformer":
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double(), torch.randn(1, 6, 16).double()
    model = torchvision.models.get_model(name, num_classes=10).double()
    for module in model.modules():
        if isinstance(module, torchvision.ops.StochasticDepth):
            module.p = 0.0
    x = torch.randn(1, 3, SIZES[name], SIZES[name], dtype=torch.float64)
    return model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)


def gradients(model, x, compute):
    model.zero_grad()
    x = x.detach().requires_grad_()
    torch.manual_seed(1)  # of what is dropped
    compute(x).square().mean().backward()
    return [x.grad, *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@pytest.mark.parametrize("name", [*SIZES, "post-norm Transformer"])
def test_gradients_are_the_original_s(name, backend):
    model, x = made(name)
    wanted = gradients(model, x, model)
    ours = copy.deepcopy(model)
    assert normsuite.convert(ours, backend=backend).changed
    ways = {"plain": ours, "checkpointed": lambda x: checkpoint(ours, x, use_reentrant=False)}
    if name != "post-norm Transformer":  # whose own forward branches on its input
        ways["torch.fx"] = torch.fx.symbolic_trace(ours)
    for way, compute in ways.items():
        found = gradients(ours, x, compute)
        for mine, theirs in zip(found, wanted, strict=True):
            scale = max(theirs.abs().max().item(), 1e-3)
            assert_close(mine, theirs, rtol=1e-6, atol=1e-7 * scale, msg=f"{way}: {(mine - theirs).abs().max()}")
