"""Photographs as encoders take them: upright RGB of one working size, from any file that Pillow reads."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason

MIN_EDGE_PX = 32
"""A photograph with a shorter edge shows nothing that could be encoded: it is a thumbnail or a mistake."""

DRAFT_GAP = 2
"""JPEG is decoded at 1/2, 1/4 or 1/8 only while both edges stay this many times the working size: what is left to the
resampling then hides the coarser decoding, which is much faster for photographs of many megapixels."""


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""


@dataclass(frozen=True, slots=True)
class PhotographSettings:
    """How a photograph comes to its working size. `as_dict` goes into `EncoderSpec.preprocessing`.

    The centre square is cut out and resampled: lesions are photographed in the middle, and a border of padding would be
    an edge and a colour of its own to every histogram.
    """

    size_px: int = 256
    """Edge of the square that encoders get. Half of Derm7pt's shorter edge; a network may want 224 or 512."""

    def __post_init__(self) -> None:
        if not MIN_EDGE_PX <= self.size_px <= 4096:
            raise InvalidInputError(f"size_px {self.size_px} of a photograph must be from {MIN_EDGE_PX} to 4096")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `PhotographSettings(**settings.as_dict()) == settings`."""
        return asdict(self)


DEFAULT_SETTINGS = PhotographSettings()


def load_photograph(path: str | Path, settings: PhotographSettings = DEFAULT_SETTINGS) -> np.ndarray:
    """(size_px, size_px, 3) uint8 RGB: the centre square of the photograph, upright as its EXIF orientation says.

    Transparency is laid on white; palettes, grey, CMYK and 16-bit grey (65,535 is white) become RGB; colour profiles
    are not applied. Of several frames the first is taken.

    Raises InvalidInputError naming the file where it is missing, empty, truncated, broken, no image, larger than Pillow
    allows (a decompression bomb), of values that have no fixed white, or with an edge below MIN_EDGE_PX. A JPEG that is
    damaged within may decode to a damaged picture: its format has no checksum.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise InvalidInputError(f"photograph {path} is empty (0 bytes); copy the file again")
        with Image.open(path) as image:
            _check_size(image, path)
            gap_px = DRAFT_GAP * settings.size_px
            drafted = image.draft("RGB", (gap_px, gap_px))  # None of formats without draft.
            image.load()
            # Where 8 does not divide an edge, the last drafted pixels lie partly outside the picture.
            width, height = drafted[1][2:] if drafted else image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            square = _centre_square(_as_rgb(image, path), width, height, settings.size_px)
            # A copy: Pillow's own array cannot be written to, which torch warns of.
            return np.array(square.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else square)
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no photograph {path}; put the file in place, or correct the path") from error
    except Image.UnidentifiedImageError as error:
        raise InvalidInputError(
            f"photograph {path} is no image that Pillow knows; convert it to JPEG, PNG or TIFF"
        ) from error
    except Image.DecompressionBombError as error:
        raise InvalidInputError(f"photograph {path} is too large: {reason(error)}; scale it down") from error
    # What Pillow's readers raise on broken files, each in its own way.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        raise InvalidInputError(
            f"photograph {path} cannot be read ({reason(error)}); it may be truncated: copy it again"
        ) from error


def _check_size(image: Image.Image, path: Path) -> None:
    if min(image.size) < MIN_EDGE_PX:
        raise InvalidInputError(
            f"photograph {path} has {image.width} x {image.height} pixels; its shorter edge must have at least "
            f"{MIN_EDGE_PX}: use the original"
        )


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        # convert() would cut all above 255 off.
        values_hw = np.asarray(image)
        if image.mode == "F" or values_hw.min() < 0 or values_hw.max() > 65535:
            raise InvalidInputError(
                f"photograph {path} has values of mode {image.mode} from {values_hw.min()} to {values_hw.max()}, whose "
                "white is unknown; convert it to 8 or 16 bits"
            )
        return Image.fromarray((values_hw / 257 + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _centre_square(image: Image.Image, width: float, height: float, size_px: int) -> Image.Image:
    """The centre square of the width x height pixels from the upper left, by Lanczos as wide as the factor needs."""
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    return image.resize((size_px, size_px), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
