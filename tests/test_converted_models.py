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


class PostNorm(nn.Module):
    """TransformerEncoderLayer's post-norm block written out, with attention as a leaf."""

    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.wider, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        x = self.first(x + self.attention(x, x, x, need_weights=False)[0])
        return self.second(x + self.back(torch.relu(self.wider(x))))


def test_torch_s_own_encoder_layer_cannot_be_traced_by_torch_fx():
    """Converted or not: its forward asks of which type its input is."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"must be None or torch\.Tensor"):
            torch.fx.symbolic_trace(layer)
        normsuite.convert(layer, backend="auto")


@pytest.mark.parametrize("backend", ["auto", "torch", "numba", "reference"])
def test_a_post_norm_transformer_under_torch_fx(backend):
    torch.manual_seed(0)
    model = nn.Sequential(PostNorm(16, 2), PostNorm(16, 2)).double()
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    wanted = gradients(model, x, model)
    ours = copy.deepcopy(model)
    assert len(normsuite.convert(ours, backend=backend).changed) == 4
    traced = torch.fx.symbolic_trace(ours)
    assert {"0.first", "0.second", "1.first", "1.second"} < {str(node.target) for node in traced.graph.nodes}
    for compute in (traced, lambda x: checkpoint(traced, x, use_reentrant=False)):
        for mine, theirs in zip(gradients(ours, x, compute), wanted, strict=True):
            assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
