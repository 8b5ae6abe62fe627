"""What decides the pixels of a slide, read from its header when a cohort is added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import DISAGREE, REFUSED, Note, PixelRecipe
from guidestore.encoders.slides.deep_tiff import DeepTiff
from guidestore.encoders.slides.levels import check_stored, properties_of
from guidestore.encoders.slides.scale import Scale
from guidestore.encoders.slides.tiff_header import read_tiff_header


def slide_pixels(path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
    """The effective mpp, its source, orientation and depth; notes where sources of an mpp disagree, or it is refused.

    given: with the mpp that the cohort says. Reads the header alone, and a level of a deep slide that does not say its
    depth. Raises InvalidInputError for what OpenSlide does not read, OSError.
    """
    header = read_tiff_header(path)
    properties = properties_of(path, header)
    scale = Scale.of(properties, header, given.mpp, given.mpp_source or "manifest")
    notes = [(DISAGREE, sentence) for sentence in scale.notes]
    depth = None if header is None else 8 if header.stored_bits == 8 else header.declared_bits
    scaling = None
    try:
        check_stored(path, header, properties)
        if header and header.stored_bits > 8:
            slide = DeepTiff(path, header, properties)
            slide.close()
            depth, scaling = slide.depth, str(2**slide.depth - 1)
        scale.checked("it")
    except InvalidInputError as error:
        notes.append((REFUSED, str(error).replace(f"slide {path}", "it")))
    pixels = replace(
        given,
        mpp=scale.mpp,
        mpp_source=scale.source,
        orientation=str(header.orientation) if header else None,
        bit_depth=depth,
        scaling=scaling,
    )
    return pixels, notes
