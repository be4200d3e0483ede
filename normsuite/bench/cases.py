"""What is measured: shapes that people use, and one norm applied to one of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .. import functional
from ..errors import UnknownNameError
from ..functional import DEFAULT_BACKEND
from ..spec import NormSpec

SEED = 0
"""Of every input that is measured: the same numbers on every machine and in every process."""


@dataclass(frozen=True)
class Case:
    """One input shape.

    Attributes:
        name: short, for parameter lists.
        shape: (N, C, *S).
        num_groups: for norms whose groups are given.
        meaning: where such a shape comes from.
    """

    name: str
    shape: tuple[int, ...]
    num_groups: int
    meaning: str

    @property
    def bytes(self) -> int:
        """Of the input in float32."""
        return 4 * math.prod(self.shape)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("tiny", (2, 8, 8, 8), 4, "so small that the call costs more than the arithmetic"),
        Case("study", (128, 16, 14, 14), 4, "a layer of a small network on 14 × 14 maps, 128 digits at once"),
        Case("resnet", (16, 256, 28, 28), 32, "a stage of ResNet-50, 16 images at once"),
    )
}


def find(name: str) -> Case:
    """The case of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in CASES:
        raise UnknownNameError.among("case", name, CASES)
    return CASES[name]


@dataclass(frozen=True)
class Operands:
    """What one norm is applied to: the input, its affine map (no bias for a norm that does not centre), and the
    gradient that comes back."""

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    dy: torch.Tensor


def operands(
    spec: NormSpec, case: Case, *, device: str = "cpu", dtype: torch.dtype = torch.float32, mean: float = 0.0
) -> Operands:
    """Seeded operands: x ~ N(mean, 1), weight ~ 1 + N(0, 0.1²), bias and dy ~ N(0, 1); made on the CPU in float64.

    The input, weight and bias require gradients.
    """
    draw = torch.Generator().manual_seed(SEED)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    x, dy = normal(*case.shape) + mean, normal(*case.shape)
    affine = case.shape[1:] if spec.affine == "element" else case.shape[1:2]
    weight, bias = 1 + 0.1 * normal(*affine), normal(*affine)
    x, weight, bias = (t.to(device, dtype).requires_grad_() for t in (x, weight, bias))
    return Operands(x, weight, bias if spec.centred else None, dy.to(device, dtype))


def bind(spec: NormSpec, case: Case, given: Operands, backend: str = DEFAULT_BACKEND) -> Callable[[], torch.Tensor]:
    """A function without arguments that applies the norm, in training mode, without running statistics."""
    num_groups = case.num_groups if spec.groups == "given" else None
    x, weight, bias = given.input, given.weight, given.bias
    return lambda: functional.normalize(spec, x, weight, bias, num_groups=num_groups, backend=backend)
