"""A sum over the processes of a group that gradients flow through."""

import torch
import torch.distributed


class _SumOverProcesses(torch.autograd.Function):
    """Every process gets the sum; the gradient of each is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, group: "torch.distributed.ProcessGroup") -> torch.Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        return _SumOverProcesses.apply(gradient, ctx.group), None


def sum_over_processes(x: torch.Tensor, group: "torch.distributed.ProcessGroup") -> torch.Tensor:
    """Return Σ x over the processes of the group, on each of them; any backend of torch.distributed works, gloo too.

    A collective: every process of the group calls it, and every one runs the backward pass.
    """
    return _SumOverProcesses.apply(x, group)
