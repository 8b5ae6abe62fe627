"""What decides the pixels of a slide, read from its header when a cohort is added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import DISAGREE, REFUSED, Note, PixelRecipe
from guidestore.encoders.slides.reader import check_stored, open_slide
from guidestore.encoders.slides.scale import Scale
from guidestore.encoders.slides.tiff_header import read_tiff_header


def slide_pixels(path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
    """The effective mpp, its source, orientation and depth; notes where sources of an mpp disagree, or it is refused.

    given: with the mpp that the cohort says. Raises InvalidInputError for what OpenSlide does not read, OSError.
    """
    header = read_tiff_header(path)
    with open_slide(path, "it") as slide:
        scale = Scale.of(slide.properties, header, given.mpp, given.mpp_source or "manifest")
    notes = [(DISAGREE, sentence) for sentence in scale.notes]
    try:
        check_stored(header, "it")
        scale.checked("it")
    except InvalidInputError as error:
        notes.append((REFUSED, str(error)))
    orientation = str(header.orientation) if header else None
    depth = None if header is None else 8 if header.stored_bits == 8 else header.declared_bits
    return replace(given, mpp=scale.mpp, mpp_source=scale.source, orientation=orientation, bit_depth=depth), notes
