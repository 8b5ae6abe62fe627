"""All files that one image consists of: most are one file, some are a pair, a folder or a series."""

from __future__ import annotations

import struct
from pathlib import Path

DICOM_MAGIC, DICOM_MAGIC_AT = b"DICM", 128
TO_NIFTI = (
    "convert a series of scans to NIfTI, e.g. with dcm2niix -z y -o OUT FOLDER, and name the .nii.gz in the manifest; "
    "a radiograph to PNG"
)
_SERIES = struct.pack("<HH", 0x20, 0x0E)
"""Tag of SeriesInstanceUID, little endian."""
SERIES_HEAD_BYTES = 2**18
"""The series stands in the header; the pixels, which come last, may be gigabytes."""
MOST_INDEX_BYTES = 2**20
"""Of a text file that lists the files of a slide; longer, it is none."""


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that are read for the image `path`, itself first; those that it lacks are left out.

    ``.hdr`` and ``.img`` (and SPM's ``.mat``), a ``.mrxs`` and its folder, what a Hamamatsu ``.vms`` or ``.vmu`` lists,
    and the instances of a DICOM slide, which lie in one folder. Raises OSError where `path` cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in (".hdr", ".img") or path.name.lower().endswith((".hdr.gz", ".img.gz")):
        return (path, *_of_pair(path))
    if suffix == ".mrxs":
        return (path, *sorted(file for file in path.with_suffix("").rglob("*") if file.is_file()))
    if suffix in (".vms", ".vmu"):
        return (path, *_listed(path))
    if is_dicom(path):
        return (path, *_of_series(path))
    return (path,)


def is_dicom(path: Path) -> bool:
    """Whether the file is DICOM, whatever its name. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return file.read(DICOM_MAGIC_AT + len(DICOM_MAGIC)).endswith(DICOM_MAGIC)


def _of_pair(path: Path) -> list[Path]:
    stem = path.name[: -len(".hdr.gz" if path.suffix.lower() == ".gz" else ".hdr")]
    ends = [end + compressed for end in (".hdr", ".img", ".mat") for compressed in ("", ".gz")]
    wanted = {stem + end for lower in ends for end in (lower, lower.upper())} - {path.name}
    return sorted(path.with_name(name) for name in wanted if path.with_name(name).is_file())


def _listed(path: Path) -> list[Path]:
    """The values of ``key=value`` lines that are files beside `path`."""
    with path.open("rb") as file:
        text = file.read(MOST_INDEX_BYTES).decode("latin-1")
    values = {line.partition("=")[2].strip() for line in text.splitlines()} - {"", path.name}
    names = {value for value in values if Path(value).name == value}
    return sorted(path.with_name(name) for name in names if path.with_name(name).is_file())


def _of_series(path: Path) -> list[Path]:
    """The other files of a DICOM slide: those in its folder whose header has the id of its series."""
    from openslide import OpenSlide, OpenSlideError

    try:
        with OpenSlide(path) as slide:
            series = slide.properties.get("dicom.SeriesInstanceUID")
    except OpenSlideError:  # No slide: it is refused as what it is when it is read.
        return []
    if not series:
        return []
    said = series.encode() + b"\0" * (len(series) % 2)
    # With its length: one series may begin as another. Explicit VR, and implicit.
    elements = [_SERIES + how + said for how in (struct.pack("<2sH", b"UI", len(said)), struct.pack("<I", len(said)))]
    others = []
    for file in sorted(path.parent.iterdir()):
        if file != path and file.is_file():
            with file.open("rb") as handle:
                head = handle.read(SERIES_HEAD_BYTES)
            if head[DICOM_MAGIC_AT:].startswith(DICOM_MAGIC) and any(element in head for element in elements):
                others.append(file)
    return others
