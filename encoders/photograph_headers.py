"""What decides the pixels of a photograph, read from its header when a cohort is added."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from guidestore.embeddings.pixels import PixelRecipe


def photograph_pixels(path: Path) -> PixelRecipe:
    """EXIF orientation, and bits of a channel where they are known without its values; nothing of what is no image."""
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            deep = image.mode in ("I", "F") or image.mode.startswith("I;")
            return PixelRecipe(orientation=str(orientation), bit_depth=None if deep else 1 if image.mode == "1" else 8)
    except Exception:  # Pillow's readers raise on broken files, each in its own way: `load_photograph` says how.
        return PixelRecipe()
