"""Cases: shapes that people use, and which norms are measured on them. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError, UnknownNameError
from ..spec import NormSpec


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
        norms: those that are measured on it where no case is named; all that suit where left out.
        activations: what follows the norm there, None for nothing; those of every case where left out.
        tracked: the gate and asv measure it in every commit.
    """

    name: str
    shape: tuple[int, ...]
    num_groups: int
    meaning: str
    channels_last: bool = False
    normalized_shape: tuple[int, ...] | None = None
    norms: tuple[str, ...] = ()
    activations: tuple[str | None, ...] = ()
    tracked: bool = False

    @classmethod
    def of_shape(cls, shape: tuple[int, ...], num_groups: int, meaning: str, **further: Any) -> "Case":
        """Return a case that is named by its shape, such as "16×64×56×56"."""
        return cls("×".join(map(str, shape)), shape, num_groups, meaning, **further)

    @property
    def bytes(self) -> int:
        """Return the bytes of the input in float32."""
        return 4 * math.prod(self.shape)

    @property
    def tiny(self) -> bool:
        """Return whether the call costs more than the arithmetic."""
        return math.prod(self.shape) < 8192

    def suits(self, spec: NormSpec) -> bool:
        """Return whether people apply that norm to such a shape."""
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

RANK_CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("tiny-1d", (2, 8, 64), 4, "as many numbers as tiny, for modules of sequences"),
        Case("tiny-3d", (2, 8, 4, 4, 4), 4, "as many numbers as tiny, for modules of volumes"),
    )
}
"""Cases for modules that take inputs of one rank; measured where they are named."""

_ROWS = ("RMSNorm", "LayerNorm")


def _rows(count: int, length: int, meaning: str, *, norms: tuple[str, ...] = _ROWS) -> Case:
    """Return a case of rows of that length, each with statistics of its own."""
    name = f"rows-{count}x{length}"
    return Case(name, (count, length), 4, meaning, normalized_shape=(length,), norms=norms, activations=(None,))


def _stage(channels: int, size: int, *, channels_last: bool = False) -> Case:
    """Return a stage of ResNet-50 at 256 images."""
    return Case(
        f"resnet-256-{size}{'-nhwc' if channels_last else ''}",
        (256, channels, size, size),
        32,
        f"ResNet-50 (He et al. 2016), 256 images: 3 × 3 convolutions of {size} × {size} maps",
        channels_last=channels_last,
        norms=("BatchNorm",),
        activations=(None,),
    )


def _unet(batch: int, channels: int, size: int, meaning: str, *activations: str | None) -> Case:
    """Return a GroupNorm of a diffusion model, which silu follows."""
    name = f"{'vae' if batch == 1 else 'unet'}-{size}"
    return Case(
        name, (batch, channels, size, size), 32, meaning, norms=("GroupNorm",), activations=activations or ("silu",)
    )


_UNET = "Stable Diffusion XL's UNet (Podell et al. 2023), images of 1024 × 1024, 8 at once: a ResNet block's norm"

# Of a device's size: most of them more than its caches hold. The most important first, since a run may be cut short.
ACCELERATOR_CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _rows(8192, 4096, "8,192 tokens of Llama 2 7B (Touvron et al. 2023)"),
        _unet(8, 640, 64, _UNET, "silu", None),
        _stage(64, 56),
        _stage(64, 56, channels_last=True),
        _rows(16, 200704, "64 maps of 56 × 56 normalised as one row, 16 samples: few long rows"),
        Case(
            "pix2pix",
            (16, 128, 64, 64),
            32,
            "pix2pix (Isola et al. 2017), images of 256 × 256, 16 at once: its first layer with a norm",
            norms=("InstanceNorm",),
            activations=(None,),
        ),
        Case(
            "nnunet",
            (2, 32, 128, 128, 128),
            32,
            "nnU-Net (Isensee et al. 2021), its first stage on patches of 128³, 2 at once",
            channels_last=True,
            norms=("InstanceNorm",),
            activations=(None,),
        ),
        _rows(8192, 8192, "8,192 tokens of Llama 3 70B"),
        _unet(8, 320, 128, _UNET),
        _stage(256, 14),
        _stage(256, 14, channels_last=True),
        Case(
            "style",
            (4, 32, 1080, 1920),
            32,
            "fast style transfer (Johnson et al. 2016) of frames of 1080 × 1920, 4 at once: its first layer",
            norms=("InstanceNorm",),
            activations=(None,),
        ),
        _rows(8192, 7168, "8,192 tokens of DeepSeek-V3"),
        _unet(1, 128, 1024, "Stable Diffusion's VAE (Rombach et al. 2022), its decoder's last block, one image"),
        _rows(128, 8192, "a step of decoding 128 sequences with Llama 3 70B"),
        _rows(32768 * 32, 128, "32 heads of 32,768 tokens: the norm of queries and keys in Qwen3"),
        _rows(8192, 4097, "8,192 rows of one element more than 4,096: none is aligned"),
        Case(
            "vit-l",
            (64, 197, 1024),
            4,
            "tokens of ViT-L/16 (Dosovitskiy et al. 2021), 64 images at once",
            normalized_shape=(1024,),
            norms=("LayerNorm",),
            activations=(None,),
        ),
        Case(
            "swin",
            (64, 3136, 96),
            4,
            "Swin-T's first stage (Liu et al. 2021), 64 images at once: short rows",
            normalized_shape=(96,),
            norms=("LayerNorm",),
            activations=(None,),
        ),
        _unet(8, 1280, 32, _UNET),
        _stage(128, 28),
        _stage(128, 28, channels_last=True),
        _rows(8192, 5120, "8,192 tokens of Llama 2 13B: a length that is no power of two"),
        _rows(8192, 16384, "8,192 tokens of Llama 3.1 405B"),
        _rows(1, 8192, "one token of Llama 3 70B"),
        _rows(16, 8192, "a step of decoding 16 sequences with Llama 3 70B"),
        _stage(512, 7),
        _stage(512, 7, channels_last=True),
        _rows(4096, 4096, "4,096 tokens of Llama 2 7B"),
        _rows(32768, 4096, "32,768 tokens of Llama 2 7B"),
        _rows(4096, 8192, "4,096 tokens of Llama 3 70B"),
        _rows(32768, 8192, "32,768 tokens of Llama 3 70B"),
        _rows(4096, 16384, "4,096 tokens of Llama 3.1 405B"),
        _rows(32768, 16384, "32,768 tokens of Llama 3.1 405B"),
    )
}


def parse_shape(text: str, *, least: int = 1) -> tuple[int, ...]:
    """Return sizes written as "16,64,56,56", at least so many.

    Raises:
        ArgumentError: something else.
    """
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) < least or min(shape) < 1:
        some = "positive sizes" if least == 1 else f"{least} positive sizes or more"
        raise ArgumentError("shape", text, f"must be {some}, such as 16,64,56,56")
    return shape


def every() -> dict[str, Case]:
    """Return all cases by name, the processor's before an accelerator's."""
    return {**CASES, **RANK_CASES, **ACCELERATOR_CASES}


def find(name: str) -> Case:
    """Return the case of that name, the processor's or an accelerator's.

    Raises:
        UnknownNameError: there is none.
    """
    known = every()
    if name not in known:
        raise UnknownNameError.among("case", name, known)
    return known[name]


def tracked(usual: Sequence[str]) -> tuple[str, ...]:
    """Return those usual names of cases, and behind them all that say themselves that they are tracked."""
    return tuple(dict.fromkeys([*usual, *(case.name for case in CASES.values() if case.tracked)]))
