"""Operands: seeded tensors for a norm on a case."""

from dataclasses import dataclass

import torch

from ..spec import NormSpec
from .cases import Case

SEED = 0
"""Seed of every input: the same numbers on every machine and in every process."""


def memory_format(case: Case) -> torch.memory_format:
    """Return the layout of a case's tensors."""
    if not case.channels_last:
        return torch.contiguous_format
    return torch.channels_last_3d if len(case.shape) == 5 else torch.channels_last


@dataclass(frozen=True)
class Operands:
    """The tensors of a task: the input, its affine map, and the gradient of the output.

    A norm that does not centre has no bias.
    """

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    dy: torch.Tensor


def operands(
    spec: NormSpec, case: Case, *, device: str = "cpu", dtype: torch.dtype = torch.float32, mean: float = 0.0
) -> Operands:
    """Return seeded operands, made on the CPU in float64.

    x ~ N(mean, 1), weight ~ 1 + N(0, 0.1²), bias and dy ~ N(0, 1). The input, weight and bias require gradients.
    """
    draw = torch.Generator().manual_seed(SEED)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    x, dy = normal(*case.shape) + mean, normal(*case.shape)
    affine = (case.normalized_shape or case.shape[1:]) if spec.affine == "element" else case.shape[1:2]
    weight, bias = 1 + 0.1 * normal(*affine), normal(*affine)
    if case.channels_last:
        x, dy = (t.contiguous(memory_format=memory_format(case)) for t in (x, dy))
    x, weight, bias = (t.to(device, dtype).requires_grad_() for t in (x, weight, bias))
    return Operands(x, weight, bias if spec.centred else None, dy.to(device, dtype))


def drawn_there(
    spec: NormSpec, case: Case, *, device: str, dtype: torch.dtype, parameters: torch.dtype, number: int = 0
) -> Operands:
    """Return seeded operands like those of `operands`, drawn on the device in their own type and layout.

    Tensors of a device's size take the processor seconds to draw. The numbers are others than `operands` gives.

    Args:
        spec, case, device: as for `operands`.
        dtype: of the input and dy.
        parameters: of weight and bias.
        number: of the set, which has numbers of its own.
    """
    draw = torch.Generator(device).manual_seed(SEED + number)

    def normal(shape, dtype: torch.dtype, mean: float = 0.0, std: float = 1.0, **layout) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device, **layout).normal_(mean, std, generator=draw)

    x, dy = (normal(case.shape, dtype, memory_format=memory_format(case)) for _ in range(2))
    affine = (case.normalized_shape or case.shape[1:]) if spec.affine == "element" else case.shape[1:2]
    weight, bias = normal(affine, parameters, 1.0, 0.1), normal(affine, parameters)
    return Operands(x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_() if spec.centred else None, dy)
