"""The right results of a random call, by the formula in float64."""

import math

import torch
from torch.nn import functional as theirs

from tools.drawing import Kind

Tensors = dict[str, torch.Tensor | None]
SOURCES = ("input", "weight", "bias")
RUNNING = ("running_mean", "running_var")


def truth(kind: Kind, given: Tensors) -> Tensors:
    """Return output, gradients and running statistics by the formula in float64."""
    x, weight, bias = (None if t is None else t.clone().requires_grad_() for t in map(given.get, SOURCES))
    n, c, *s = kind.shape
    of_channel = (1, c, *(1 for _ in s))
    view, dims, affine = x, list(range(2, x.dim())), of_channel
    if kind.normalized_shape:
        dims, affine = list(range(x.dim() - len(kind.normalized_shape), x.dim())), kind.normalized_shape
    elif kind.spec.name == "BatchNorm":
        dims = [0, *dims]
    elif kind.spec.name == "GroupNorm":
        view, dims = x.reshape(n, kind.num_groups, -1), [2]
    results: Tensors = {}
    if kind.use_input_stats:
        mean = view.mean(dims, keepdim=True) if kind.spec.centred else torch.zeros((), dtype=x.dtype)
        var = (view - mean).square().mean(dims, keepdim=True)
        count = x.numel() // mean.numel() if kind.spec.centred else 0
        if kind.running:
            for name, new in (("running_mean", mean), ("running_var", var * count / max(count - 1, 1))):
                new = new.detach().reshape(-1, c).mean(0)
                results[name] = 0.7 * given[name] + 0.3 * new
    else:
        mean, var = given["running_mean"].reshape(of_channel), given["running_var"].reshape(of_channel)
        results |= {"running_mean": given["running_mean"], "running_var": given["running_var"]}
    y = ((view - mean) / torch.sqrt(var + kind.eps)).reshape(x.shape)
    if weight is not None:
        y = y * weight.reshape(affine)
    if bias is not None:
        y = y + bias.reshape(affine)
    results["margin"] = y.detach().abs().min().item() if kind.activation == "relu" else math.inf
    if kind.activation:
        y = getattr(theirs, kind.activation)(y)
    sources = {name: t for name, t in zip(SOURCES, (x, weight, bias), strict=True) if t is not None}
    found = torch.autograd.grad(y, list(sources.values()), given["dy"])
    results |= {f"d{name}": g for name, g in zip(sources, found, strict=True)}
    results["y"] = y.detach()
    steep = (var + kind.eps).rsqrt().max().item()
    results["steep"] = max(1.0, steep * (1.0 if weight is None else weight.abs().max().item()))
    return results
