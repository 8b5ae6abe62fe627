"""What a file is, by its first bytes: suffixes are wrong or missing as often as people copy and rename files."""

from __future__ import annotations

import re
import stat
import zlib
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason

GZIP = b"\x1f\x8b"
HEAD_BYTES = 1024
"""Enough for every format below: DICOM's name stands at byte 128, NIfTI's at 344."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (128, b"DICM", "DICOM"),  # first: some begin as a TIFF does
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),  # BigTIFF
    (0, b"MM\0+", "TIFF"),
    (0, b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
    (4, b"n+2\0", "NIfTI"),
    (4, b"ni2\0", "NIfTI"),
    (0, b"\x5c\x01\0\0", "Analyze"),  # sizeof_hdr, 348, in both byte orders
    (0, b"\0\0\x01\x5c", "Analyze"),
    (0, b"\0\0\0\x01\0\0", "MGH"),  # version 1 and the upper half of a width below 65,536
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"ZISRAWFILE", "Zeiss CZI"),
    (0, b"NRRD", "NRRD"),
    (257, b"ustar", "tar archive"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"mrtrix image", "MRtrix"),
    (0, b"CDF", "MINC or NetCDF"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "XZ"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (0, b"\x93NUMPY", "NumPy"),
)
_BRANDS = {
    "AVIF": re.compile(rb"avi[fs]"),
    "HEIC": re.compile(rb"hei[cmsx]|hev[cmsx]|mif1|msf1"),
}
"""Of ISO media files, which say what they are after ``ftyp``; an AVIF has the brand mif1 too."""

_MISTAKES = (
    (
        re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE),
        "a web page, as one that asks to sign in; download it again",
    ),
    (re.compile(rb"version https://git-lfs"), "a pointer of git-lfs and not the file itself; run `git lfs pull`"),
    (
        re.compile(rb"/annex/objects/"),
        "a pointer of git-annex and not the file itself; run `datalad get` or `git annex get`",
    ),
    (re.compile(rb"\0\x05\x16\x07"), "what macOS keeps beside a file (AppleDouble); take the file without ._"),
    (re.compile(GZIP), "compressed by gzip; unpack it"),
)
"""What lies where an image should, and what to do."""

_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif"), "TIFF"),
    **dict.fromkeys((".nii", ".img", ".hdr"), "NIfTI"),
    **dict.fromkeys((".mgz", ".mgh"), "MGH"),
    **{f".{name.lower()}": name for name in ("PNG", "GIF", "BMP", "WebP", "HEIC", "AVIF")},
}


def content_of(path: Path) -> str:
    """The format of a file, within gzip too: JPEG, PNG, TIFF, HEIC, NIfTI, DICOM …; `""` where nothing says it.

    Raises InvalidInputError where the file is missing, no regular file (reading a pipe or a device may never end), or
    cannot be opened.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read ({error.strerror}); correct its permissions") from error
    return format_of(_unzipped(head)) or "gzip" if head.startswith(GZIP) else format_of(head)


def content_or_name_of(path: Path) -> str:
    """`content_of`; what the suffix says where the file is missing or its content says nothing."""
    try:
        content = content_of(path)
    except InvalidInputError:
        content = ""
    return content or _SUFFIXES.get(Path(path.name.lower().removesuffix(".gz")).suffix, "")


def format_of(head: bytes) -> str:
    """The format of a file that begins so; `""` where nothing says it."""
    for start, magic, name in _MAGIC:
        if head[start:].startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return next((name for name, brand in _BRANDS.items() if brand.search(head[8:64])), "video")
    return ""


def mistake(head: bytes) -> str:
    """What a file that begins so is in place of an image, and what to do; `""` where nothing says it."""
    return next((said for pattern, said in _MISTAKES if pattern.match(head)), "")


def check_regular(path: Path, what: str = "image file") -> int:
    """Bytes of `what`, which must be there, a regular file, and not empty. Raises InvalidInputError."""
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no {what} {path}; put the file in place, or correct the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise InvalidInputError(f"{what} {path} cannot be read ({reason(error)}); correct the path") from error
    if not stat.S_ISREG(facts.st_mode):
        found = "directory" if stat.S_ISDIR(facts.st_mode) else "pipe, socket or device"
        raise InvalidInputError(f"{what} {path} cannot be read (it is a {found}); correct the path")
    if not facts.st_size:
        raise InvalidInputError(f"{what} {path} is empty (0 bytes); copy the file again")
    return facts.st_size


def _unzipped(head: bytes) -> bytes:
    """What the start of a gzip file stands for; nothing where it is damaged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""
