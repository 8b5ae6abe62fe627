"""Pictures whose samples have more than 8 bits, brought to 8 by their true depth: Pillow takes the upper 8 alone."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.depth import declared_png_depth, declared_tiff_depth, png_depth, to_8_bits, true_depth

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it cannot read is said once, in the error

_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _SAMPLE_FORMAT = 258, 281, 339
"""Tags of TIFF."""

_SIGNED = 2
"""Of SampleFormat."""

_SIZ = b"\xff\x4f\xff\x51"
"""Markers with which the codestream of a JPEG 2000 begins."""

_MOST_SAMPLES = 2**24
"""Of a tile, which is decoded whole, in a picture that is smaller: a false header must not fill the memory."""

_PNG_BITS = 24
"""Byte of a PNG that says how many bits a sample has."""

_PNG_HEAD_BYTES = 2**16
"""In which sBIT stands, before the pixels."""


def deep_picture(image: Image.Image, path: Path) -> tuple[Image.Image, int] | None:
    """The picture in 8 bits, and its true depth, where its samples have more, which Pillow would cut off or divide.

    None of others. Raises InvalidInputError where the depth cannot be known.
    """
    what, most = f"photograph {path}", 2**16 - 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits, formats = (np.atleast_1d(image.tag_v2.get(tag, 1)) for tag in (_BITS_PER_SAMPLE, _SAMPLE_FORMAT))
        if 8 < bits.max() <= 16 and (formats == 1).all():
            return _of_tiff(path, image.size)
        if bits.max() <= 16 and (formats == _SIGNED).any():
            if bits.max() <= 8:  # Pillow takes -1 for 255
                raise InvalidInputError(
                    f"{what} has signed values, whose white is unknown; convert it to unsigned ones"
                )
            most = 2**14 - 1  # 15 bits are all that a sign leaves, and tell no white
    elif isinstance(image, PngImagePlugin.PngImageFile):
        with path.open("rb") as file:
            head = file.read(_PNG_HEAD_BYTES)
        if head[_PNG_BITS] == 16:
            # Only for what Pillow cannot read: colours, and grey of which a value is transparent.
            if image.mode != "I;16" or "transparency" in image.info:
                import imagecodecs

                values = np.atleast_3d(imagecodecs.png_decode(path.read_bytes()))
            else:
                values = np.asarray(image)[..., None]
            alpha = values.shape[2] in (2, 4)
            declared = png_depth(values[..., : values.shape[2] - alpha], declared_png_depth(head))
            return _of_values(values, what, declared, alpha=alpha)
    elif image.format == "JPEG2000":
        content = path.read_bytes()
        bits, signed = _of_codestream(content, image.size, what)
        if signed:
            raise InvalidInputError(f"{what} has signed values, whose white is unknown; convert it to unsigned ones")
        if 8 < bits <= 16:  # Pillow takes the upper 8 of colours
            import imagecodecs

            values = np.atleast_3d(imagecodecs.jpeg2k_decode(content))
            return _of_values(values, what, declared_tiff_depth(bits, None), alpha=values.shape[2] in (2, 4))
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return None
    values_hw = np.asarray(image)
    if image.mode == "F" or values_hw.min() < 0 or values_hw.max() > most:
        raise InvalidInputError(
            f"{what} has values of mode {image.mode} from {values_hw.min()} to {values_hw.max()}, whose white is "
            "unknown; convert it to 8 or 16 bits without a sign"
        )
    return _of_values(values_hw.astype(np.uint16)[..., None], what, None)


def _of_codestream(content: bytes, size: tuple[int, int], what: str) -> tuple[int, bool]:
    """The largest number of bits of a channel of a JPEG 2000, and whether one is signed. size: as its file says."""
    start = content.index(_SIZ) + len(_SIZ)  # of its marker, which stands first in the codestream
    right, lower, left, upper = (int.from_bytes(content[at : at + 4]) for at in range(start + 4, start + 20, 4))
    if (right - left, lower - upper) != size:
        raise InvalidInputError(
            f"{what} says {size[0]} x {size[1]} pixels, and {right - left} x {lower - upper} within; copy it again"
        )
    channels = int.from_bytes(content[start + 36 : start + 38])
    each = content[start + 38 : start + 38 + 3 * channels : 3]
    return max(byte & 127 for byte in each) + 1, any(byte & 128 for byte in each)


def _of_tiff(path: Path, size: tuple[int, int]) -> tuple[Image.Image, int]:
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        grey, rgb = page.photometric in (0, 1), page.photometric == 2
        if not (grey or rgb) or page.imagedepth > 1 or {page.imagewidth, page.imagelength} != set(size):
            raise InvalidInputError(
                f"photograph {path} has {page.bitspersample} bits of {page.photometric.name}; save it as grey or RGB"
            )
        if math.prod(page.chunks) > max(_MOST_SAMPLES, 2 * math.prod(page.shape)):
            raise InvalidInputError(
                f"photograph {path} of {size[0]} x {size[1]} pixels says that its tiles have {page.tilewidth} x "
                f"{page.tilelength}; its header is damaged: copy it again"
            )
        values = page.asarray()
        if page.axes[0] == "S":  # plane by plane
            values = np.moveaxis(values, 0, -1)
        values = values.reshape(page.imagelength, page.imagewidth, -1)
        white = page.tags.valueof(_MAX_SAMPLE_VALUE)  # one number, or one a channel
        declared = declared_tiff_depth(
            page.bitspersample, None if white is None else int(np.max(white)), page.description or ""
        )
        extra = [int(sample) for sample in page.extrasamples]
    colours = 1 if grey else 3
    alpha = bool(extra) and extra[0] in (1, 2)
    picture, depth = _of_values(
        values[..., : colours + alpha], f"photograph {path}", declared, alpha=alpha, multiplied=alpha and extra[0] == 1
    )
    return (ImageOps.invert(picture) if page.photometric == 0 and picture.mode == "L" else picture), depth


def _of_values(
    values_hwc: np.ndarray, what: str, declared: int | None, *, alpha: bool = False, multiplied: bool = False
) -> tuple[Image.Image, int]:
    """8 bits of grey or RGB uint16 values, and their depth.

    alpha: the last channel is one; multiplied: the others are, with it.
    """
    depth = true_depth(values_hwc[..., : values_hwc.shape[2] - alpha], what, declared)
    picture = eight_bits(values_hwc, depth, alpha=alpha, multiplied=multiplied)
    return picture, depth


def eight_bits(values_hwc: np.ndarray, depth: int, *, alpha: bool = False, multiplied: bool = False) -> Image.Image:
    """The picture of mode L, RGB or, with alpha, RGBA of values below 2 ** depth."""
    colours = values_hwc.shape[2] - alpha
    eight = to_8_bits(np.ascontiguousarray(values_hwc[..., :colours]), depth)
    if not alpha:
        return Image.fromarray(eight[..., 0] if colours == 1 else eight)
    opacity = values_hwc[..., -1:]
    opacity = to_8_bits(opacity, depth if int(opacity.max(initial=0)) < 2**depth else 16)
    rgba = np.concatenate([eight.repeat(3, axis=2) if colours == 1 else eight, opacity], axis=2)
    return Image.fromarray(rgba, "RGBa").convert("RGBA") if multiplied else Image.fromarray(rgba)
