"""What decides the pixels of a volume, read from its header when a cohort is added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib

from guidestore.embeddings.pixels import PixelRecipe

AXES = "RAS"
"""What every volume is brought to."""


def volume_pixels(path: Path) -> PixelRecipe:
    """The axes, the scaling of stored values, and which of NIfTI's two affines counts; nothing of a damaged header."""
    try:
        image: Any = nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        codes = {
            name: int(image.header[f"{name}_code"]) for name in ("sform", "qform") if f"{name}_code" in image.header
        }
    except Exception:  # nibabel raises what its parts do on a broken header: `load_volume` says what is wrong.
        return PixelRecipe()
    geometry = next((name for name, code in codes.items() if code > 0), None)
    return PixelRecipe(orientation=AXES, scaling=f"{slope!r},{intercept!r}", geometry=geometry)
