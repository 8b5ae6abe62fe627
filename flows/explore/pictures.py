"""Volumes as slices in three planes, photographs as they are: PNG and JPEG of what a case's images show."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from guidestore.encoders.checks import said_of
from guidestore.flows.explore.explored import Once
from guidestore.flows.explore.images import Shown

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: dict[Plane, tuple[int, int, int]] = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
"""Plane -> axis that its slider goes along, across, and up, of a volume in RAS."""
SIDES: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""What lies left, right, above and below: the patient is seen from the feet and from the front, as radiologists do."""
LONGEST_PX = 640
PHOTOGRAPH_PX = 1600
_WINDOW = (1.0, 99.5)
"""Percentiles of the voxels other than the background, which become black and white."""
_KEPT = 3
volumes = Once(_KEPT)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A volume to be looked at: axes to the right, to the front, up."""

    grey_xyz: np.ndarray
    """(x, y, z) uint8."""
    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    """Values of the file that are black and white."""

    def facts(self) -> dict[str, Any]:
        return {
            "shape": list(self.grey_xyz.shape),
            "spacing_mm": [round(value, 4) for value in self.spacing_mm],
            "window": list(self.window),
            "planes": {
                plane: {"slices": self.grey_xyz.shape[axes[0]], "sides": SIDES[plane]} for plane, axes in PLANES.items()
            },
        }

    def slice_png(self, plane: Plane, number: int) -> bytes:
        """PNG of one slice, square pixels; numbers beyond the ends mean the end."""
        along, across, up = PLANES[plane]
        number = min(max(number, 0), self.grey_xyz.shape[along] - 1)
        picture_hw = np.take(self.grey_xyz, number, axis=along)[::-1, ::-1].T
        across_mm, up_mm = self.spacing_mm[across], self.spacing_mm[up]
        height, width = picture_hw.shape[0] * up_mm, picture_hw.shape[1] * across_mm
        scale = min(1 / min(across_mm, up_mm), LONGEST_PX / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = Image.fromarray(np.ascontiguousarray(picture_hw))
        return _bytes_of(image.resize(size, Image.Resampling.BILINEAR), "PNG")


def volume_of(shown: Shown) -> Volume:
    """Raises InvalidInputError for a file that is none."""
    return volumes(shown.path, lambda: _read(shown))


def _read(shown: Shown) -> Volume:
    import nibabel as nib

    from guidestore.encoders.volume_files import read_header, read_voxels

    header = read_header(shown.path)
    with said_of(f"{shown.path} cannot be shown", "check its header"):
        turned = nib.orientations.io_orientation(header.affine)
        voxels = nib.orientations.apply_orientation(read_voxels(header), turned)
        spacing = [0.0, 0.0, 0.0]
        for axis, value in zip(turned[:, 0].astype(int), header.spacing_mm, strict=True):
            spacing[axis] = float(value)
    inside = voxels[voxels != voxels.flat[0]]
    low, high = np.percentile(inside if inside.size else voxels, _WINDOW)
    high = high if high > low else low + 1
    grey = (np.clip((voxels - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return Volume(grey, (spacing[0], spacing[1], spacing[2]), (float(low), float(high)))


def photograph_jpeg(shown: Shown) -> bytes:
    """The whole photograph, upright, at most PHOTOGRAPH_PX. Raises InvalidInputError for a file that is no image."""
    from guidestore.encoders.photographs import check_size

    with (
        said_of(f"photograph {shown.path} cannot be shown", "copy its file again"),
        Image.open(shown.path) as image,
    ):
        check_size(image, shown.path, shown.path.stat().st_size)
        image.draft("RGB", (PHOTOGRAPH_PX, PHOTOGRAPH_PX))
        image.thumbnail((PHOTOGRAPH_PX, PHOTOGRAPH_PX))
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I;16" or upright.mode in ("I", "F"):
            values = np.asarray(upright, dtype=np.float32)
            span = float(np.ptp(values)) or 1.0
            upright = Image.fromarray(((values - values.min()) / span * 255).astype(np.uint8))
        return _bytes_of(upright.convert("RGB"), "JPEG")


def _bytes_of(image: Image.Image, format_: str) -> bytes:
    out = BytesIO()
    image.info.clear()  # where it was taken, and by whom, stays in the file
    image.save(out, format_, **({"quality": 88} if format_ == "JPEG" else {}))
    return out.getvalue()
