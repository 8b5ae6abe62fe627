"""Writes whole slides as DICOM, without a library: explicit VR, little endian, tiles as they are."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of whole slides."""
_LONG = ("OB", "SQ")
_TILE = 64


def write_dicom(path: Path, elements: dict[tuple[int, int], tuple[str, Any]]) -> Path:
    """A DICOM file of these elements: (group, element) -> (VR, value); a list of dicts is a sequence."""
    instance = f"1.2.3.{sum(path.name.encode())}"
    about = {(2, 2): ("UI", MICROSCOPY), (2, 3): ("UI", instance), (2, 16): ("UI", "1.2.840.10008.1.2.1")}
    meta = _dataset(about)
    start = _dataset({(2, 0): ("UL", len(meta))})
    identity = {(8, 0x16): ("UI", MICROSCOPY), (8, 0x18): ("UI", instance)}
    path.write_bytes(bytes(128) + b"DICM" + start + meta + _dataset({**identity, **elements}))
    return path


def write_dicom_slide(path: Path, pixels_hwc: np.ndarray, *, mpp: float, series: str, is_base: bool = True) -> Path:
    """One level of a slide, (h, w, 3) uint8 with edges that are multiples of 64, in tiles of 64 px."""
    height, width, _ = pixels_hwc.shape
    rows, columns = height // _TILE, width // _TILE
    tiles = pixels_hwc.reshape(rows, _TILE, columns, _TILE, 3).swapaxes(1, 2)
    kind = "ORIGINAL\\PRIMARY\\VOLUME\\NONE" if is_base else "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"
    spacing = {(0x28, 0x30): ("DS", f"{mpp / 1000}\\{mpp / 1000}"), (0x18, 0x50): ("DS", "0.001")}
    return write_dicom(
        path,
        {
            (8, 8): ("CS", kind),
            (8, 0x60): ("CS", "SM"),
            (0x20, 0x0D): ("UI", f"{series}.1"),
            (0x20, 0x0E): ("UI", series),
            (0x20, 0x9311): ("CS", "TILED_FULL"),
            (0x28, 2): ("US", 3),
            (0x28, 4): ("CS", "RGB"),
            (0x28, 6): ("US", 0),
            (0x28, 8): ("IS", str(rows * columns)),
            (0x28, 0x10): ("US", _TILE),
            (0x28, 0x11): ("US", _TILE),
            (0x28, 0x100): ("US", 8),
            (0x28, 0x101): ("US", 8),
            (0x28, 0x102): ("US", 7),
            (0x28, 0x103): ("US", 0),
            (0x48, 6): ("UL", width),
            (0x48, 7): ("UL", height),
            (0x48, 0x105): ("SQ", [{(0x48, 0x106): ("SH", "1")}]),
            (0x48, 0x302): ("UL", 1),
            (0x48, 0x303): ("UL", 1),
            (0x5200, 0x9229): ("SQ", [{(0x28, 0x9110): ("SQ", [spacing])}]),
            (0x7FE0, 0x10): ("OB", tiles.tobytes()),
        },
    )


def _dataset(elements: dict[tuple[int, int], tuple[str, Any]]) -> bytes:
    return b"".join(_element(*tag, *elements[tag]) for tag in sorted(elements))


def _element(group: int, number: int, kind: str, value: Any) -> bytes:
    if kind == "SQ":
        content = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in map(_dataset, value))
    elif kind in ("US", "UL"):
        content = struct.pack("<H" if kind == "US" else "<I", value)
    else:
        content = value if isinstance(value, bytes) else value.encode()
        content += (b"\0" if kind in ("UI", "OB") else b" ") * (len(content) % 2)
    size = struct.pack("<HI", 0, len(content)) if kind in _LONG else struct.pack("<H", len(content))
    return struct.pack("<HH", group, number) + kind.encode() + size + content
