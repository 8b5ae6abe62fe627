"""How many um a pixel of a slide is: who says so, whom to believe, and what cannot be true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import openslide

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.slides.tiff_header import TiffHeader, number

GIVEN_MPP = (0.02, 20.0)
"""um per pixel that may be given: outside lies no light microscope's slide."""

LIKELY_MPP = (0.1, 2.0)
"""um per pixel that a file may say by itself where no objective power bears it out: 60x to 5x. TIFF files saved at
72 dpi say 352.8."""

UM_AT_POWER_1 = 10.0
"""um per pixel times objective power: 0.25 at 40x, 0.5 at 20x."""

MOST_OFF = 2.0
"""A file whose mpp and objective power differ by more than this factor has one of them wrong."""

SAME = 0.02
"""Sources that differ by less say the same; more, along x and y, are no square pixels."""

REMEDY = (
    "give the slide's own with --slide-mpp or in the manifest's column mpp (um per level-0 pixel; --mpp is that of "
    "the tiles)"
)

_WORDS = {
    "manifest": "the manifest",
    "option": "--slide-mpp",
    "openslide": "OpenSlide",
    "ome-xml": "the OME-XML",
    "tags": "the TIFF tags",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """What all sources say, the one to believe first. `by_source`: um per level-0 pixel along x and y."""

    by_source: Mapping[str, tuple[float, float]]
    power: float | None
    """Of the objective."""
    given: bool = field(default=False)
    """Whether the first is no word of the file."""

    @classmethod
    def of(
        cls,
        properties: Mapping[str, str],
        header: TiffHeader | None,
        given_mpp: float | None = None,
        given_by: str = "manifest",
    ) -> Self:
        """properties: OpenSlide's. given_mpp, given_by: where the cohort or an option says it."""
        said: dict[str, tuple[float, float] | None] = {}
        if given_mpp is not None:
            said[given_by] = (given_mpp, given_mpp)
        # Of a generic TIFF OpenSlide knows what the tags say, no more: the OME-XML knows better.
        generic = properties.get(openslide.PROPERTY_NAME_VENDOR) == "generic-tiff"
        x, y = (
            number(properties.get(openslide.PROPERTY_NAME_MPP_X)),
            number(properties.get(openslide.PROPERTY_NAME_MPP_Y)),
        )
        own = (x, y) if x and y else None
        ome = header.ome if header else None
        said["openslide"] = None if generic else own
        said["ome-xml"] = ome.mpp if ome else None
        said["tags"] = own if generic else header.tags_mpp if header else None
        power = number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)) or (ome.power if ome else None)
        return cls(
            {source: mpp for source, mpp in said.items() if mpp and (source == given_by or min(mpp) > 0)},
            power if power and power > 0 else None,
            given_mpp is not None,
        )

    @property
    def source(self) -> str | None:
        return next(iter(self.by_source), None)

    @property
    def mpp(self) -> float | None:
        """The effective one, whether it can be true or not."""
        return self.by_source[self.source][0] if self.source else None

    @property
    def notes(self) -> list[str]:
        """A sentence where others say something else than the one that is believed."""
        if not (self.source and self.mpp):
            return []
        others = {name: x for name, (x, _) in self.by_source.items() if abs(x - self.mpp) > SAME * self.mpp}
        if not others:
            return []
        said = ", ".join(f"{x:g} of {_WORDS[name]}" for name, x in others.items())
        return [f"mpp {self.mpp:g} of {_WORDS[self.source]} is used, not {said}"]

    def checked(self, slide: str) -> float:
        """um per level-0 pixel. Raises InvalidInputError where nobody says it, or what is said cannot be true."""
        if not (self.source and self.mpp):
            raise InvalidInputError(f"{slide} does not say its um per pixel; {REMEDY}")
        x, y = self.by_source[self.source]
        if self.given:
            if not GIVEN_MPP[0] <= x <= GIVEN_MPP[1]:
                raise InvalidInputError(
                    f"mpp {x} was given for {slide}; it must be um per level-0 pixel, between {GIVEN_MPP[0]} and "
                    f"{GIVEN_MPP[1]} (0.25 at 40x, 0.5 at 20x)"
                )
            return x
        says = f"{slide} says {x:g} x {y:g} um per pixel by {_WORDS[self.source]}"
        if abs(x - y) > SAME * x:
            raise InvalidInputError(f"{says}, which are no square pixels; {REMEDY}")
        if self.power:
            expected = UM_AT_POWER_1 / self.power
            if not expected / MOST_OFF <= x <= expected * MOST_OFF:
                raise InvalidInputError(
                    f"{says}, but an objective of {self.power:g}x, at which they are about {expected:g}; {REMEDY}"
                )
        elif not LIKELY_MPP[0] <= x <= LIKELY_MPP[1]:
            raise InvalidInputError(
                f"{says}, which is no microscope's likely scale ({LIKELY_MPP[0]:g} to {LIKELY_MPP[1]:g}), and names no "
                f"objective power that bears it out; {REMEDY}"
            )
        return x
