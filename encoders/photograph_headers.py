"""What decides the pixels of a photograph, looked at when a cohort is added."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import PixelRecipe
from guidestore.encoders.deep_pictures import deep_picture
from guidestore.encoders.photographs import check_size


def photograph_pixels(path: Path) -> PixelRecipe:
    """EXIF orientation, bits of a channel, and of more than 8 the value that is white; nothing of what is no image.

    The header says it, but the depth of most pictures of 16 bits, which are read. Raises InvalidInputError for one
    whose depth cannot be known.
    """
    try:
        with Image.open(path) as image:
            orientation = str(image.getexif().get(ExifTags.Base.Orientation, 1))
            check_size(image, path, path.stat().st_size)
            deep = deep_picture(image, path)
            if deep is not None:
                return PixelRecipe(orientation=orientation, bit_depth=deep[1], scaling=str(2 ** deep[1] - 1))
            return PixelRecipe(orientation=orientation, bit_depth=1 if image.mode == "1" else 8)
    except InvalidInputError:
        raise
    except Exception:  # Pillow's readers raise on broken files, each in its own way: `load_photograph` says how.
        return PixelRecipe()
