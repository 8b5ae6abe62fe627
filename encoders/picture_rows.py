"""Whether a PNG or a TIFF holds all rows that its header says: those that are missing are read as black."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, TiffImagePlugin

from guidestore.embeddings.errors import InvalidInputError

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type of IHDR -> samples of a pixel."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between them, of each pass of an interlaced picture."""

_BLOCK = 2**20
"""Bytes that are unpacked at once."""

_WIDTH, _LENGTH, _SAMPLES_PER_PIXEL, _PLANES = 256, 257, 277, 284
_STRIPS, _ROWS_PER_STRIP, _TILES, _TILE_WIDTH, _TILE_LENGTH = 273, 278, 324, 322, 323
"""Tags of TIFF: sizes, and places in the file, of which 0 is none."""


def check_rows(image: Image.Image, path: Path) -> None:
    """Raises InvalidInputError where the file `path`, read as `image`, has fewer rows than its header says."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        whole = _has_all_strips(image)
    else:
        whole = image.format != "PNG" or _may_not_lack(image) or _has_all_rows(path.read_bytes())
    if not whole:
        raise InvalidInputError(
            f"photograph {path} holds fewer rows than the {image.height} that its header says; copy it again"
        )


def _may_not_lack(image: Image.Image) -> bool:
    """Of a decoded PNG: only one whose last row is black, or that is interlaced, may lack rows."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    return not image.info.get("interlace") and any(last.tobytes())


def _has_all_rows(png: bytes) -> bool:
    wanted = _bytes_of(png[16:29])
    return _unpacked(png, wanted) >= wanted


def _bytes_of(header: bytes) -> int:
    """Bytes of the rows that the data of IHDR say, with the byte that begins each."""
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * _SAMPLES[header[9]]
    total = 0
    for x, y, step_x, step_y in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _unpacked(png: bytes, most: int) -> int:
    """Bytes that the chunks IDAT stand for, counted up to `most`."""
    unpack, total = zlib.decompressobj(), 0
    for packed in _data(png):
        while packed and total < most:
            total += len(unpack.decompress(packed, _BLOCK))
            packed = unpack.unconsumed_tail
    return total


def _data(png: bytes) -> Iterator[bytes]:
    start = 8
    while start + 8 <= len(png):
        length, name = int.from_bytes(png[start : start + 4]), png[start + 4 : start + 8]
        if name == b"IDAT":
            yield png[start + 8 : start + 8 + length]
        start += 12 + length


def _has_all_strips(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether the tags name as many strips or tiles as the size needs. One that is cut short stops its decoder."""
    tags = image.tag_v2
    width, length, samples = (int(tags.get(tag, 1)) for tag in (_WIDTH, _LENGTH, _SAMPLES_PER_PIXEL))
    if _TILES in tags:
        places, needed = tags[_TILES], -(-length // tags[_TILE_LENGTH]) * -(-width // tags[_TILE_WIDTH])
    else:
        places, needed = tags[_STRIPS], -(-length // min(tags.get(_ROWS_PER_STRIP, length), length))
    needed *= samples if tags.get(_PLANES, 1) == 2 else 1
    return len(places) >= needed and all(places[:needed])
