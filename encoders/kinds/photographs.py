"""Photographs, which an encoder sees whole: one code each."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Note, PixelRecipe
from guidestore.encoders.checks import shown
from guidestore.encoders.content import content_or_name_of
from guidestore.encoders.input_kind import InputKind, NewImages, SourceRequest, by_case
from guidestore.encoders.kinds.tiles import Tiles
from guidestore.encoders.photograph_headers import photograph_pixels
from guidestore.encoders.photographs import PhotographSettings, load_photograph
from guidestore.encoders.sources import CaseImage, ImageFile, Item

FORMATS = frozenset({"JPEG", "PNG", "GIF", "BMP", "WebP", "HEIC", "AVIF", "JPEG 2000"})
"""Of files that are never slides (but for .mrxs, which begins as a JPEG); TIFF may be either."""

KEPT_BYTES = 4 * 2**30
"""Photographs that stay in memory between epochs: Derm7pt's 1,002 at 512 x 512 px are 0.8 GB."""


class Photographs(InputKind):
    name = "photographs"
    images = "photographs"

    def recognises(self, file: ImageFile) -> bool:
        """By the content; a TIFF unless it is a slide, see `Tiles.recognises`."""
        content = content_or_name_of(file.path)
        return (content in FORMATS or content == "TIFF") and not Tiles().recognises(file)

    def examine(self, path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
        return photograph_pixels(path), []

    def check(self, batch: Any, encoder: str, width: int = 3) -> None:
        """photographs_bhwc: (b, h, w, 3) uint8 RGB, each with pixels."""
        if (
            not isinstance(batch, np.ndarray)
            or batch.dtype != np.uint8
            or batch.shape[3:] != (width,)
            or not min(batch.shape[1:])
        ):
            raise InvalidInputError(
                f"encoder {encoder} takes photographs of shape (b, h, w, {width}) uint8 RGB, not {shown(batch)}; load "
                "them with guidestore.encoders.photographs.load_photograph"
            )

    def source(self, request: SourceRequest) -> PhotographSource:
        size_px = request.options.photograph_px or request.info.photograph_px or PhotographSettings().size_px
        return PhotographSource(request.images, size_px, KEPT_BYTES if request.again else 0)

    def new_inputs(self, new: NewImages) -> dict[str, np.ndarray]:
        # What a frozen network does to a photograph besides stands in the preprocessing too.
        settings = PhotographSettings(**{name: new.preprocessing[name] for name in PhotographSettings().as_dict()})
        files = by_case(new.files, lambda file: file.stem)
        return {case_id: load_photograph(file, settings) for case_id, file in files.items()}

    def in_words(self, preprocessing: Mapping[str, Any]) -> str:
        edge = preprocessing["size_px"]
        return (
            f"upright RGB; the centre square, resampled to {edge} x {edge} px by Lanczos; values 0 to 255, uint8, "
            "channels last"
        )

    def graph_input(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        edge = preprocessing["size_px"]
        return f"uint8 (n, {edge}, {edge}, 3)"

    def example(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any], rng: np.random.Generator) -> Any:
        edge = preprocessing["size_px"]
        return rng.integers(0, 256, (2, edge, edge, 3), np.uint8)


class PhotographSource:
    """Photographs from files as squares of `size_px`.

    kept_bytes: of photographs that stay in memory, for a training, which asks for each again and again; those beyond
    are read again.
    """

    input_width = 3
    """Channels."""

    def __init__(self, images: Sequence[CaseImage], size_px: int, kept_bytes: int = 0) -> None:
        self._images = {image.item: image for image in images}
        self._settings = PhotographSettings(size_px)
        self._kept: dict[Item, np.ndarray] = {}
        self._free_bytes = kept_bytes
        self._lock = threading.Lock()
        self.items = list(self._images)
        self.images_read = 0

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self._settings.as_dict()

    def load(self, item: Item) -> np.ndarray:
        """photograph_hwc (size_px, size_px, 3) uint8."""
        kept = self._kept.get(item)
        if kept is not None:
            return kept
        image = self._images[item]
        if Tiles().recognises(image.files[0]):
            raise InvalidInputError(
                f"{image.files[0].path} is a slide, and the other images of the modality are photographs; give it a "
                "modality of its own"
            )
        with image.verify():
            with self._lock:
                self.images_read += 1
            photograph_hwc = load_photograph(_only_path(image), self._settings)
        with self._lock:
            if item not in self._kept and photograph_hwc.nbytes <= self._free_bytes:
                self._free_bytes -= photograph_hwc.nbytes
                self._kept[item] = photograph_hwc
        return photograph_hwc


def _only_path(image: CaseImage) -> Path:
    (file,) = image.files
    return file.path
