"""Random shifts and rotations of digits, a whole batch at once."""

import math

import torch
from torch.nn import functional as F

PIXELS = 2.0
DEGREES = 10.0


def augmented(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return each image turned by up to `DEGREES` and moved by up to `PIXELS` both ways, bilinearly.

    Beyond the border its pixels repeat.

    Args:
        images: (N, 1, H, W).
        draw: of the CPU, so that every device sees the same digits.
    """
    n, size = len(images), images.shape[-1]
    angle, x, y = (torch.rand((3, n), generator=draw) * 2 - 1).unbind()
    angle, shift = angle * math.radians(DEGREES), 2 * PIXELS / size
    rows = torch.stack([angle.cos(), -angle.sin(), x * shift, angle.sin(), angle.cos(), y * shift], dim=1)
    grid = F.affine_grid(rows.view(n, 2, 3).to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
