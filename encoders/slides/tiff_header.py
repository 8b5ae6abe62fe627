"""What the tags of a TIFF slide say that OpenSlide does not pass on: orientation, true depth, channels, OME-XML."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from guidestore.embeddings.words import count_of
from guidestore.encoders.depth import declared_tiff_depth

# What it grumbles about is judged here, or by OpenSlide.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

MOST_XML_CHARS = 2**24
"""Of an OME-XML that is read; some list each plane of thousands."""

_UNSIGNED = (1, 4)
"""Values of SampleFormat; 4 says that nobody knows."""
_UPRIGHT = (0, 1)
"""Values of Orientation; 0 is none, and is written where nobody knows."""
_ALPHA = (1, 2)
"""Values of ExtraSamples: multiplied into the colours, and not."""
_CMYK, _SEPARATE = 5, 2
"""Values of PhotometricInterpretation and PlanarConfiguration."""
_HEADER_BYTES = 8
"""Of a TIFF, where no tile can lie."""
_GREY_OR_PALETTE = (0, 1, 3)
_MOST_OFF_PX = 2
"""By which a level's shape may differ from that of level 0: each halving rounds."""
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UM = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "Å": 1e-4,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25400.0,
}
"""Units of OME-XML in um; both of Unicode's micro signs. Others, as ``pixel``, say nothing."""


@dataclass(frozen=True, slots=True)
class OmeXml:
    """What an OME-XML says of its image of the slide's size."""

    mpp: tuple[float, float] | None
    """um per pixel along x and y."""
    power: float | None
    """Nominal magnification of the objective."""
    planes: int = 1
    """Pictures of the image: channels, focal planes and times; the samples of RGB are one."""


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """Tags of the tiled pages of a TIFF, of which a pyramid's levels are some."""

    orientation: int
    """1: upright; else the first other one of any level."""
    stored_bits: int
    """Of a channel in the file."""
    is_unsigned: bool
    """Whether samples are whole numbers from 0 on."""
    declared_bits: int | None
    """True bits of a channel where the file says them, see `declared_tiff_depth`."""
    tags_mpp: tuple[float, float] | None
    """um per pixel by the resolution tags."""
    ome: OmeXml | None
    levels: int = 1
    """The first page, and those that say that they are it reduced."""
    pictures: int = 1
    """Pages as large as the first, masks aside; of an ImageJ stack its pictures."""
    extra_channels: int = 0
    """Of the first page, besides its colours and the transparency that it declares."""
    is_first_whole: bool = True
    """Whether no page is larger than the first."""
    wrong_tiles: str = ""
    """What is wrong with where the tiles of a page lie in the file."""


def read_tiff_header(path: Path) -> TiffHeader | None:
    """None for what is no TIFF, or one whose tags cannot be read. Raises OSError where the file cannot be opened."""
    with path.open("rb") as file:
        if not file.read(4).startswith(_MAGIC):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            first: Any = tiff.pages.first
            pages = pages_of(tiff)
            tiled: list[Any] = [page for page in pages if page.is_tiled] or [first]
            turned = (page.tags.valueof("Orientation", 1) for page in tiled)
            alike = [page for page in pages if page.is_tiled == first.is_tiled and not page.is_mask]
            stored = int(first.bitspersample)
            return TiffHeader(
                next((int(value) for value in turned if value not in _UPRIGHT), 1),
                stored,
                int(first.sampleformat) in _UNSIGNED,
                declared_tiff_depth(stored, _largest(first), first.description),
                _tags_mpp(first),
                _ome(first.description, (first.imagewidth, first.imagelength), int(first.samplesperpixel)),
                1 + sum(page.is_tiled and page.is_reduced for page in pages[1:]) + len(first.subifds or ()),
                max(sum(_size(page) == _size(first) for page in alike), _imagej_pictures(first.description)),
                _extra_channels(first),
                not any(min(_size(page)) > 0 and _is_larger(page, first) for page in alike),
                next((wrong for page in tiled if (wrong := _wrong_tiles(page))), ""),
            )
    # tifffile raises what its parts do on a broken file, each in its own way: OpenSlide judges that file.
    except Exception:
        return None


def pages_of(tiff: tifffile.TiffFile) -> list[Any]:
    """The pages of an open TIFF, whole. Raises ValueError where a page leads back to an earlier one, without end."""
    pages: list[Any] = []
    seen: set[int] = set()
    for page in tiff.pages:
        if page.offset in seen:
            raise ValueError(f"page {len(pages)} leads back to an earlier one")
        seen.add(page.offset)
        pages.append(page.aspage())
    return pages


def is_reduced_from(whole: tuple[int, int], reduced: tuple[int, int], off: float = 0.0) -> bool:
    """Whether one size (width, height) is the other in fewer pixels: a level, no thumbnail or label of another cut.

    off: by which share their ratios may differ, besides rounding.
    """
    (width, height), (small_width, small_height) = whole, reduced
    expected = small_width * height
    return abs(expected - small_height * width) <= _MOST_OFF_PX * (width + height) + off * expected


def _size(page: Any) -> tuple[int, int]:
    return int(page.imagewidth), int(page.imagelength)


def _is_larger(page: Any, than: Any) -> bool:
    (width, height), (other_width, other_height) = _size(page), _size(than)
    return width * height > other_width * other_height


def _imagej_pictures(text: str) -> int:
    said = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    return int(said[1]) if said else 1


def _extra_channels(page: Any) -> int:
    photometric, extra = int(page.photometric), [int(value) for value in page.extrasamples]
    colours = 1 if photometric in _GREY_OR_PALETTE else 4 if photometric == _CMYK else 3
    return int(page.samplesperpixel) - colours - (bool(extra) and extra[0] in _ALPHA)


def _wrong_tiles(page: Any) -> str:
    offsets, lengths = page.dataoffsets, page.databytecounts
    if not page.is_tiled or not (page.tilewidth and page.tilelength):
        return ""
    planes = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
    expected = planes * -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    if not len(offsets) == len(lengths) == expected:
        return f"says where {len(offsets)} tiles lie, and needs {expected}"
    lost = sum(length > 0 and offset < _HEADER_BYTES for offset, length in zip(offsets, lengths, strict=True))
    return f"has {count_of(lost, 'tile')} that would lie in the file's header" if lost else ""


def _largest(page: Any) -> int | None:
    """MaxSampleValue, or SMaxSampleValue, of any channel."""
    for name in ("MaxSampleValue", "SMaxSampleValue"):
        said = page.tags.valueof(name)
        values = said if isinstance(said, tuple) else (said,)
        if values and all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            return int(max(values))
    return None


def _tags_mpp(page: Any) -> tuple[float, float] | None:
    um = {2: 25400.0, 3: 10000.0}.get(int(page.tags.valueof("ResolutionUnit", 2)))
    values = []
    for name in ("XResolution", "YResolution"):
        pixels, per = page.tags.valueof(name) or (0, 1)
        if not (um and pixels and per):
            return None
        values.append(um * per / pixels)
    return values[0], values[1]


def _ome(text: str, size_px: tuple[int, int], samples: int) -> OmeXml | None:
    # A document type may define entities that grow without end; OME-XML has none.
    if "<OME" not in text[:4096] and ":OME" not in text[:4096]:
        return None
    if len(text) > MOST_XML_CHARS or re.search(r"<!(DOCTYPE|ENTITY)", text):
        return None
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError:
        return None
    images = [node for node in root if _name(node) == "Image"]
    planes = [(image, node) for image in images for node in image if _name(node) == "Pixels"]
    own = [(image, pixels) for image, pixels in planes if (pixels.get("SizeX"), pixels.get("SizeY")) == _texts(size_px)]
    if not (own or planes):
        return None
    image, pixels = (own or planes)[0]
    x, y = (_um(pixels, axis) for axis in "XY")
    return OmeXml((x, y or x) if x else None, _power(root, image), _planes(pixels, samples))


def _planes(pixels: ElementTree.Element, samples: int) -> int:
    count = math.prod(number(pixels.get(f"Size{axis}")) or 1 for axis in "CZT")
    return max(int(count / max(samples, 1)), 1)


def _texts(size_px: tuple[int, int]) -> tuple[str, str]:
    return str(size_px[0]), str(size_px[1])


def _name(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _um(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = _UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = number(pixels.get(f"PhysicalSize{axis}"))
    return size * unit if size and unit and size > 0 else None


def _power(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """Of the objective that the image names, else of the only one."""
    objectives = [node for node in root.iter() if _name(node) == "Objective"]
    named = {node.get("ID") for node in image if _name(node) == "ObjectiveSettings"}
    own = [node for node in objectives if node.get("ID") in named] or (objectives if len(objectives) == 1 else [])
    power = number(own[0].get("NominalMagnification")) if own else None
    return power if power and power > 0 else None


def number(text: str | None) -> float | None:
    """The finite number that a text spells, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
