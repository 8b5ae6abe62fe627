"""A look at an image when its cohort is added: which files it has, and what decides its pixels."""

from __future__ import annotations

from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import REFUSED, Examined, PixelRecipe
from guidestore.encoders.image_files import files_of
from guidestore.encoders.input_kind import kind_of
from guidestore.encoders.sources import CaseImage, ImageFile

KINDS = ("tiles", "photographs", "volumes")
"""What is taken for a slide where nobody knows it: OpenSlide says best what it is not."""


def _without_path(sentence: str, path: Path) -> str:
    for named in (f"slide {path}", f"photograph {path}", str(path)):
        sentence = sentence.replace(named, "it")
    return sentence


def examine(path: Path, modality: str, given: PixelRecipe) -> Examined:
    """What an image is, by its header: `embeddings.pixels.Examine`.

    A file that no encoder will read is noted, not refused: its case goes into quarantine when it is encoded. Raises
    OSError where the file cannot be opened.
    """
    files = files_of(path)
    try:
        kind = kind_of([CaseImage("", "", (ImageFile(modality, path, (), given),))], KINDS)
        pixels, notes = kind.examine(path, given)
    except InvalidInputError as error:
        return Examined(files, given, ((REFUSED, _without_path(str(error), path)),))
    return Examined(files, pixels, tuple(notes))
