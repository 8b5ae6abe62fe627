"""Photographs as encoders take them: upright RGB of one working size, from any file that Pillow reads."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PpmImagePlugin, TiffImagePlugin

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason, said_of
from guidestore.encoders.content import HEAD_BYTES, check_regular, content_of, mistake
from guidestore.encoders.deep_pictures import deep_picture
from guidestore.encoders.picture_rows import check_rows

# What it grumbles about (broken metadata, 100 megapixels) is judged here.
warnings.filterwarnings("ignore", module=r"PIL\.")

MIN_EDGE_PX = 32
"""A photograph with a shorter edge shows nothing that could be encoded: it is a thumbnail or a mistake."""

DRAFT_GAP = 2
"""JPEG is decoded at 1/2, 1/4 or 1/8 only while both edges stay this many times the working size: what is left to the
resampling then hides the coarser decoding, which is much faster for photographs of many megapixels."""

MAX_PIXELS_PER_BYTE = 2000
"""Of a file. Deflate packs 1,032 bytes into one, JPEG some 500 pixels: only a picture of one colour takes less."""

DARK = 8
"""Of 255: what a picture holds that is all black, and by how much another falls short of white."""
SAME = 1
"""Of 255: what the pixels of a picture of one colour differ by, by rounding."""

_PILLOW = frozenset({"JPEG", "PNG", "TIFF", "GIF", "BMP", "WebP", "AVIF", "JPEG 2000"})
"""Content that Pillow reads, as `content_of` names it."""

_FORMATS = frozenset({"JPEG", "MPO", "PNG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "HEIF", "JPEG2000", "PPM"})
"""As Pillow names them. Of others it takes the upper 8 bits, calls Ghostscript, or tells them by next to nothing."""

_SUBFILE, _REDUCED = 254, 1
"""Tag of TIFF, and its bit of a picture that is another one reduced."""

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

    What it is its content says, not its suffix. Transparency is laid on white; palettes, grey, CMYK and samples of more
    than 8 bits (by their true depth, see `encoders.depth`) become RGB; colour profiles are not applied. Of several
    frames the first is taken.

    Raises InvalidInputError naming the file where it is missing, no regular file, empty, truncated, broken, no image,
    larger than Pillow allows (a decompression bomb) or than its bytes can hold, of values that have no fixed white,
    with an edge below MIN_EDGE_PX, and where the square is all black, all white, of one colour or transparent. A JPEG
    that is damaged within may decode to a damaged picture: its format has no checksum.
    """
    path = Path(path)
    size = check_regular(path, "photograph")
    content = content_of(path)
    if content == "HEIC":
        _read_heic(path)
    with said_of(f"photograph {path} cannot be read", "it may be truncated: copy it again"):
        try:
            with Image.open(path) as image:
                _check_form(image, path)
                check_size(image, path, size)
                rgb, width, height = _decoded(image, path, DRAFT_GAP * settings.size_px)
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        except Image.UnidentifiedImageError as error:
            raise InvalidInputError(f"photograph {path} {_what_else(path, content)}") from error
        except Image.DecompressionBombError as error:
            raise InvalidInputError(f"photograph {path} is too large: {reason(error)}; scale it down") from error
        square = _centre_square(rgb, width, height, settings.size_px)
        # A copy: Pillow's own array cannot be written to, which torch warns of.
        pixels_hwc = np.array(square.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else square)
    _check_shows(pixels_hwc, path)
    return pixels_hwc


def _what_else(path: Path, content: str) -> str:
    """What a file is that Pillow does not know, and what to do."""
    if content == "DICOM":
        return "is DICOM, which is not read as a picture; convert it to PNG, as a viewer shows it"
    if content not in _PILLOW | {"", "gzip"}:
        return f"is a {content} file, and is no image that Pillow knows; convert it to JPEG, PNG or TIFF"
    with path.open("rb") as file:
        said = mistake(file.read(HEAD_BYTES))
    if said:
        return f"is {said}"
    if content:
        return (
            f"is {content} of a kind that Pillow does not know, or its header is damaged; copy it again, or convert it "
            "to PNG of 8 bits"
        )
    return "is no image that Pillow knows; convert it to JPEG, PNG or TIFF"


def _check_form(image: Image.Image, path: Path) -> None:
    """Raises InvalidInputError for pictures that Pillow would guess, cut short, or ask another program for."""
    if image.format not in _FORMATS:
        raise InvalidInputError(
            f"photograph {path} is {image.format}, which is not read here; convert it to JPEG, PNG or TIFF"
        )
    if image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise InvalidInputError(
            f"photograph {path} is a JPEG of CMYK without Adobe's mark, so nothing says whether its values are "
            "inverted; convert it to RGB"
        )
    if isinstance(image, PpmImagePlugin.PpmImageFile) and image.mode == "RGB" and image.tile[0].codec_name == "ppm":
        raise InvalidInputError(
            f"photograph {path} is PPM of more than 8 bits, of which 8 would be taken; convert it to PNG or TIFF"
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_SUBFILE, 0) & _REDUCED:
        raise InvalidInputError(
            f"photograph {path} begins with a thumbnail, as raw files of cameras do; convert it to JPEG, PNG or TIFF"
        )


def _read_heic(path: Path) -> None:
    """Has Pillow read HEIC, with the plug-in that it needs."""
    if find_spec("pillow_heif") is None:
        raise InvalidInputError(
            f"photograph {path} is HEIC, which Pillow reads only with a plug-in; install it (pip install pillow-heif), "
            "or convert the file to JPEG"
        )
    import_module("pillow_heif").register_heif_opener()


def check_size(image: Image.Image, path: Path, size: int) -> None:
    """Raises InvalidInputError for a thumbnail, and for more pixels than a file of `size` bytes can hold."""
    if min(image.size) < MIN_EDGE_PX:
        raise InvalidInputError(
            f"photograph {path} has {image.width} x {image.height} pixels; its shorter edge must have at least "
            f"{MIN_EDGE_PX}: use the original"
        )
    if image.width * image.height > max(size * MAX_PIXELS_PER_BYTE, 2**22):
        raise InvalidInputError(
            f"photograph {path} says that it has {image.width} x {image.height} pixels, in {size:,} bytes, which "
            "hold no such picture; its header is damaged: copy it again"
        )


def _decoded(image: Image.Image, path: Path, gap_px: int) -> tuple[Image.Image, float, float]:
    """RGB; and the width and height that the picture has of it, from the upper left."""
    deep = deep_picture(image, path)
    if deep is not None:
        check_rows(image, path)
        return _as_rgb(deep[0], path), *deep[0].size
    drafted = image.draft("RGB", (gap_px, gap_px))  # None of formats without draft.
    image.load()
    check_rows(image, path)
    # Where 8 does not divide an edge, the last drafted pixels lie partly outside the picture.
    width, height = drafted[1][2:] if drafted else image.size
    return _as_rgb(image, path), width, height


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if not image.getchannel("A").getextrema()[1]:
            raise InvalidInputError(f"photograph {path} is wholly transparent, so it shows nothing; use the original")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _check_shows(pixels_hwc: np.ndarray, path: Path) -> None:
    colour = "black" if pixels_hwc.max() <= DARK else "white" if pixels_hwc.min() >= 255 - DARK else ""
    if not colour and np.ptp(pixels_hwc, axis=(0, 1)).max() <= SAME:
        colour = f"of one colour ({', '.join(map(str, pixels_hwc[0, 0]))})"
    if colour:
        raise InvalidInputError(f"photograph {path} is all {colour}, so it shows nothing; use the original")


def _centre_square(image: Image.Image, width: float, height: float, size_px: int) -> Image.Image:
    """The centre square of the width x height pixels from the upper left, by Lanczos as wide as the factor needs."""
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    return image.resize((size_px, size_px), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
