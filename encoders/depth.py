"""How many bits of a deep sample are used: 12 bits in 16 are as bright as 8 in 8, and never nearly black."""

from __future__ import annotations

import re

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give. A largest value that needs another number of bits tells none of them, but for
15, beyond which there is only 16."""

NEARLY_BLACK = 16
"""A picture whose brightest values lie below white / 16 shows nothing: its depth must be another."""

_SIGNIFICANT_BITS = re.compile(rb"SignificantBits\s*=\s*[\"'](\d{1,2})[\"']")


def true_depth(values: np.ndarray, what: str, declared: int | None = None) -> int:
    """Bits of a channel of `values`, any shape, unsigned integers of at most 16 bits: white is 2 ** bits - 1.

    declared: by the file, see `declared_tiff_depth`. Else the largest value decides, if it reaches the upper half of
    one of DEPTHS. what: is named in errors, as `photograph a.png`. Raises InvalidInputError where a value is larger
    than is declared, and where the depth cannot be known.
    """
    return depth_of_counts(np.bincount(np.asarray(values, np.uint16).ravel(), minlength=1), what, declared)


def depth_of_counts(counts: np.ndarray, what: str, declared: int | None = None) -> int:
    """`true_depth` of a picture in which value v occurs counts[v] times."""
    found = np.flatnonzero(counts)
    largest = int(found.max(initial=0))
    if declared:
        check_depth(largest, declared, what)
        return declared
    bits = largest.bit_length()
    depth = 16 if bits in (0, 15) else bits  # all 0 is black at any depth
    bright = int(np.searchsorted(np.cumsum(counts), 0.999 * counts.sum()))
    # White with next to nothing in the upper half below it is what fills the place around a scan, whatever its depth.
    white, half = 2**depth - 1, 2 ** (depth - 1)
    shown = counts[1:white].sum()
    alone = largest == white and shown > 0 and counts[half:white].sum() < shown / 200
    if depth not in DEPTHS or alone or (largest and bright < 2**depth // NEARLY_BLACK):
        raise InvalidInputError(
            f"{what} holds values from {int(found[0])} to {largest} in more than 8 bits (999 of 1,000 up to {bright}"
            f"{f', few from {half} to {white - 1}' if alone else ''}), which tell no white; save it with 8 bits, or "
            "let it say its depth (sBIT of PNG, MaxSampleValue of TIFF, SignificantBits of OME-XML)"
        )
    return depth


def check_depth(largest: int, declared: int, what: str) -> None:
    """Raises InvalidInputError where `largest` needs more bits than a file declares."""
    if largest >> declared:
        raise InvalidInputError(
            f"{what} says that it has {declared} bits and holds {largest}; write it again with its true depth"
        )


def to_8_bits(values: np.ndarray, depth: int) -> np.ndarray:
    """uint8 of the same shape: 0 stays 0, 2 ** depth - 1 becomes 255, rounded to the nearest."""
    white = 2**depth - 1
    table = (np.minimum(np.arange(2**16, dtype=np.uint32), white) * 255 + white // 2) // white
    return table.astype(np.uint8)[values]


def declared_tiff_depth(
    bits_per_sample: int, max_sample_value: int | None, description: bytes | str = b""
) -> int | None:
    """Bits of a channel as a TIFF says them: 9 to 15 bits per sample, MaxSampleValue, or OME-XML's SignificantBits.

    description: of tag ImageDescription. None where the file says no more than that samples have 16 bits.
    """
    if 8 < bits_per_sample < 16:
        return bits_per_sample
    text = description.encode("utf-8", "replace") if isinstance(description, str) else description
    said = _SIGNIFICANT_BITS.search(text)
    if said and 8 <= int(said[1]) < bits_per_sample:  # all of them is what writers say that do not know
        return int(said[1])
    # 2 ** bits - 1 is a white; another MaxSampleValue is the largest value of the picture, all of 16 bits a default.
    white = max_sample_value or 0
    return white.bit_length() if 255 <= white < 65535 and not white & (white + 1) else None


def png_depth(values: np.ndarray, significant: int | None) -> int | None:
    """Bits of the samples of a 16-bit PNG in which `significant` ones are said to count, see `declared_png_depth`.

    The format has writers scale such samples up to 16 bits, and some leave them as they are: those have no
    larger value.
    What could be either is what the format says, unless it would be nearly black.
    """
    if significant is None or significant == 16:
        return significant
    if int(values.max(initial=0)) >> significant:
        return 16
    if 2**significant <= 2**16 // NEARLY_BLACK:
        return significant
    upper = values >> (16 - significant)
    scaled_up = np.round(upper * (65535 / (2**significant - 1)))
    return 16 if (values == upper << (16 - significant)).all() or (values == scaled_up).all() else significant


def declared_png_depth(head: bytes) -> int | None:
    """The largest number of significant bits in a PNG's chunk sBIT; None without one. head: up to its first IDAT."""
    start = 8
    while start + 8 <= len(head):
        length, name = int.from_bytes(head[start : start + 4]), head[start + 4 : start + 8]
        if name == b"sBIT" and 1 <= length <= 4:
            bits = max(head[start + 8 : start + 8 + length], default=0)
            return bits if 1 <= bits <= 16 else None
        if name == b"IDAT":
            return None
        start += 12 + length
    return None
