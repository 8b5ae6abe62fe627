"""Changes of train photographs that leave the diagnosis as it is: images_bchw uint8 in, float32 of 0 to 255 out."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

ZOOM = 1.2
"""The picture is scaled by 1 / 1.2 to 1.2: distances in clinical photographs vary by about as much."""

BRIGHTNESS = 0.1
CHANNEL = 0.05
"""Standard deviations of the factors of all channels together and of each by itself: light and white balance."""


def turned(images_bchw: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turned by any angle and flipped (a lesion has no upper side), zoomed, brighter or darker, tinted.

    What comes into the picture from beyond its edge is its mirror image. `generator` lives on the CPU.
    """
    b, c = images_bchw.shape[:2]
    angle_b = 2 * math.pi * torch.rand(b, generator=generator)
    flip_b = 1 - 2 * torch.randint(2, (b,), generator=generator)
    scale_b = ZOOM ** (2 * torch.rand(b, generator=generator) - 1)
    factor_bc = (
        1 + BRIGHTNESS * torch.randn(b, 1, generator=generator) + CHANNEL * torch.randn(b, c, generator=generator)
    )
    cos_b, sin_b = scale_b * angle_b.cos(), scale_b * angle_b.sin()
    zero_b = torch.zeros(b)
    rows = [torch.stack([flip_b * cos_b, -sin_b, zero_b], 1), torch.stack([flip_b * sin_b, cos_b, zero_b], 1)]
    device = images_bchw.device
    grid = affine_grid(torch.stack(rows, 1).to(device), list(images_bchw.shape), align_corners=False)
    moved = grid_sample(images_bchw.float(), grid, padding_mode="reflection", align_corners=False)
    return (moved * factor_bc[..., None, None].to(device)).clamp(0, 255)
