"""Changes of train volumes that leave the diagnosis as it is: volumes_bcdhw float32 in, the same shape out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

FLIP_AXIS = -1
"""Left-right, the only flip that leaves a head a head."""


def light(volumes_bcdhw: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Left-right flips of half the volumes; each sequence scaled by 1 +- 0.1 and shifted by 0.1 sd."""
    b, c = volumes_bcdhw.shape[:2]
    flip_b = torch.rand(b, generator=generator) < 0.5
    scale_bc = 1 + 0.1 * torch.randn(b, c, generator=generator)
    shift_bc = 0.1 * torch.randn(b, c, generator=generator)
    flip, scale, shift = (
        value[..., *(None,) * (5 - value.ndim)].to(volumes_bcdhw.device) for value in (flip_b, scale_bc, shift_bc)
    )
    flipped = torch.where(flip, volumes_bcdhw.flip(FLIP_AXIS), volumes_bcdhw)
    # The background is exactly 0 and stays so.
    return torch.where(flipped == 0, flipped, flipped * scale + shift)


def paper(volumes_bcdhw: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The paper's, by MONAI; probabilities and ranges are those of its released code.

    Flips along each axis (p .25), rotations of up to .25 rad about each axis (p .5), zoom .9 to 1.1 (p .5), intensities
    scaled by 1 +- .1 (p .5). Its random crop is missing: volumes are cropped to the brain before.
    """
    transform = _paper_transform()
    changed = []
    for volume_cdhw in volumes_bcdhw:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        transform.set_random_state(seed)
        changed.append(torch.as_tensor(transform(volume_cdhw)))
    return torch.stack(changed).to(volumes_bcdhw.dtype)


@cache
def _paper_transform() -> Any:
    from guidestore.encoders.monai_parts import Compose, RandFlip, RandRotate, RandScaleIntensity, RandZoom

    rotate: Any = {"range_x": 0.25, "range_y": 0.25, "range_z": 0.25, "prob": 0.5, "padding_mode": "zeros"}
    zoom: Any = {"prob": 0.5, "min_zoom": 0.9, "max_zoom": 1.1, "mode": "trilinear", "padding_mode": "constant"}
    return Compose(
        [
            *(RandFlip(prob=0.25, spatial_axis=axis) for axis in range(3)),
            RandRotate(**rotate),
            RandZoom(**zoom),
            RandScaleIntensity(factors=0.1, prob=0.5),
        ]
    )


AUGMENTATIONS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {"light": light, "paper": paper}
