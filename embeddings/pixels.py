"""What decides the pixels of an image besides its bytes: kept in its row, and part of the recipe of its codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

GIVEN = ("manifest", "option")
"""Sources of an mpp that somebody gave, whatever the file says."""


@dataclass(frozen=True, slots=True)
class PixelRecipe:
    """Of one image; None where it does not apply, or nobody looked. Columns of a row of kind ``images``."""

    mpp: float | None = None
    """um per level-0 pixel that a slide is read at."""
    mpp_source: str | None = None
    """Who said so: ``manifest``, ``option``, ``openslide``, ``ome-xml``, ``tags``."""
    orientation: str | None = None
    """TIFF or EXIF orientation of the file, ``1`` to ``8``; of a volume the axes that it is brought to, ``RAS``."""
    bit_depth: int | None = None
    """True bits of a channel: 12 of a 12-bit scan in 16."""
    scaling: str | None = None
    """How values became the encoder's: the one that is white, ``4095``; of a volume ``slope,intercept``."""
    geometry: str | None = None
    """Where a volume's affine comes from: ``qform``, ``sform``, ``none`` (it says no place), ``trusted``."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{name: row[name] if row[name] != "" else None for name in COLUMNS})

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def given_mpp(self) -> float | None:
        """The mpp that somebody gave; None: the file's own counts."""
        return self.mpp if self.mpp_source is None or self.mpp_source in GIVEN else None


NOTHING_SAID = PixelRecipe()
COLUMNS = tuple(field.name for field in fields(PixelRecipe))


def pixels_of(images: Sequence[PixelRecipe]) -> dict[str, Any]:
    """``pixels`` of a recipe: what applies to the images that one code is made of.

    Where several (the sequences of a volume, in channel order) differ in something, the list of theirs.
    """
    pixels = {}
    for name in COLUMNS:
        values = [getattr(image, name) for image in images]
        if any(value is not None for value in values):
            pixels[name] = values[0] if len(set(values)) == 1 else values
    return pixels


DISAGREE, REFUSED = "sources disagree", "will be refused"
Note = tuple[str, str]
"""What kind of a note, such as DISAGREE or REFUSED, and a sentence without a path."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a look at an image's header says."""

    files: tuple[Path, ...]
    """All files that are read for it, the image's own first."""
    pixels: PixelRecipe
    notes: tuple[Note, ...] = ()


Examine = Callable[[Path, str, PixelRecipe], Examined]
"""(file, modality, what the cohort's tables say of its pixels) -> what it is. Reads the header alone; never raises for
what the file holds, OSError where it cannot be opened."""
