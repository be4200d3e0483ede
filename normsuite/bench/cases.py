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
        shape: (N, C, *S), or (N, L, C) with a `normalized_shape`.
        num_groups: for norms whose groups are given.
        meaning: where such a shape comes from.
        channels_last: the channels of one place lie side by side.
        normalized_shape: trailing sizes, for norms with an affine map per element; the others have no such case.
    """

    name: str
    shape: tuple[int, ...]
    num_groups: int
    meaning: str
    channels_last: bool = False
    normalized_shape: tuple[int, ...] | None = None

    @property
    def bytes(self) -> int:
        """Of the input in float32."""
        return 4 * math.prod(self.shape)

    @property
    def tiny(self) -> bool:
        """So small that the call costs more than the arithmetic."""
        return math.prod(self.shape) < 8192

    def suits(self, spec: NormSpec) -> bool:
        """Whether people apply that norm to such a shape."""
        return self.normalized_shape is None or spec.affine == "element"


# Chosen before any kernel was tuned, and changed only with a reason: what is measured decides what gets fast.
CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("tiny", (2, 8, 8, 8), 4, "so small that the call costs more than the arithmetic"),
        Case("study", (128, 16, 14, 14), 4, "a layer of a small network on 14 × 14 maps, 128 digits at once"),
        Case("resnet", (16, 256, 28, 28), 32, "a stage of ResNet-50, 16 images at once"),
        Case("token", (1, 1, 768), 4, "one token of a transformer", normalized_shape=(768,)),
        Case("study-14", (128, 8, 14, 14), 4, "the study's first layer, 128 digits at once", channels_last=True),
        Case("study-7", (128, 16, 7, 7), 4, "the study's other layers, 128 digits at once", channels_last=True),
        Case("stage-56", (16, 64, 56, 56), 32, "ResNet-50's stages: 3 × 3 convolutions of 56 × 56 maps, 16 images"),
        Case("stage-28", (16, 128, 28, 28), 32, "the same of 28 × 28 maps"),
        Case("stage-14", (16, 256, 14, 14), 32, "the same of 14 × 14 maps"),
        Case("stage-7", (16, 512, 7, 7), 32, "the same of 7 × 7 maps"),
        Case("nhwc-28", (16, 128, 28, 28), 32, "28 × 28 maps in channels_last", channels_last=True),
        Case("single", (1, 64, 56, 56), 32, "one image"),
        Case("vit", (8, 197, 768), 4, "tokens of ViT-B/16, 8 images at once", normalized_shape=(768,)),
        Case("stem", (16, 64, 112, 112), 32, "ResNet-50's first layer, 16 images: more than a last-level cache holds"),
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
    affine = (case.normalized_shape or case.shape[1:]) if spec.affine == "element" else case.shape[1:2]
    weight, bias = 1 + 0.1 * normal(*affine), normal(*affine)
    if case.channels_last:
        x, dy = (t.contiguous(memory_format=torch.channels_last) for t in (x, dy))
    x, weight, bias = (t.to(device, dtype).requires_grad_() for t in (x, weight, bias))
    return Operands(x, weight, bias if spec.centred else None, dy.to(device, dtype))


def bind(spec: NormSpec, case: Case, given: Operands, backend: str = DEFAULT_BACKEND) -> Callable[[], torch.Tensor]:
    """A function without arguments that applies the norm, in training mode, without running statistics."""
    num_groups = case.num_groups if spec.groups == "given" else None
    normalized_shape = case.normalized_shape if spec.affine == "element" else None
    x, weight, bias = given.input, given.weight, given.bias
    return lambda: functional.normalize(
        spec, x, weight, bias, num_groups=num_groups, normalized_shape=normalized_shape, backend=backend
    )
