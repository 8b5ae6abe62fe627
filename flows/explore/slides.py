"""A slide as a deep zoom through OpenSlide, and the tiles of its bag over it, coloured by attention."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any, cast

import numpy as np
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.types import Bag
from guidestore.encoders.slides.reader import Slide
from guidestore.flows.explore.explored import Once, View, literal
from guidestore.flows.explore.images import Asked, Shown

TILE_PX = 254
OVERLAP_PX = 1
_KEPT = 8
_QUALITY = 80
slides = Once(_KEPT)


class _Whole:
    """Our reader, which refuses what OpenSlide would show wrongly and reads deep slides too, as OpenSlide's own."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.level_downsamples = slide.level_downsamples
        self.level_dimensions = tuple(
            (max(int(slide.width_px / by), 1), max(int(slide.height_px / by), 1)) for by in slide.level_downsamples
        )
        self.level_count = len(slide.level_downsamples)
        self.dimensions = self.level_dimensions[0]
        self.properties: dict[str, str] = {}
        self.color_profile = None

    def get_best_level_for_downsample(self, downsample: float) -> int:
        return max(i for i, by in enumerate(self.level_downsamples) if by <= max(downsample, 1.0) * 1.01)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        region_hwc = self._slide.read(*location, *size, self.level_downsamples[level])
        return Image.fromarray(region_hwc).convert("RGBA")


class DeepZoom:
    """The pyramid of one slide."""

    def __init__(self, shown: Shown) -> None:
        self._slide = Slide(shown.path, shown.mpp or _any_mpp(shown))
        self._says_mpp = shown.mpp is not None or _any_mpp(shown) is None
        self._zoom = DeepZoomGenerator(cast(Any, _Whole(self._slide)), TILE_PX, OVERLAP_PX, limit_bounds=False)
        self._lock = threading.Lock()

    def facts(self) -> dict[str, Any]:
        return {
            "width": self._slide.width_px,
            "height": self._slide.height_px,
            "tile": TILE_PX,
            "overlap": OVERLAP_PX,
            "levels": self._zoom.level_count,
            "mpp": self._slide.mpp if self._says_mpp else None,
            "magnification": self._slide.magnification,
        }

    def tile_jpeg(self, level: int, column: int, row: int) -> bytes:
        """Raises NotFoundInStoreError for a tile that the pyramid has not."""
        try:
            tile = self._zoom.get_tile(level, (column, row))
        except ValueError as error:
            raise NotFoundInStoreError(f"the slide has no tile {level}/{column}_{row}") from error
        out = BytesIO()
        tile.convert("RGB").save(out, "JPEG", quality=_QUALITY)
        return out.getvalue()


def _any_mpp(shown: Shown) -> float | None:
    """A stand-in for a slide that does not say its um per pixel: it can be looked at all the same."""
    try:
        Slide(shown.path).close()
    except InvalidInputError as error:
        if "mpp" in str(error):
            return 1.0
        raise
    return None


def deep_zoom(shown: Shown) -> DeepZoom:
    """Raises InvalidInputError for what is no slide."""
    return slides(shown.path, lambda: DeepZoom(shown))


def tiles_of(view: View, asked: Asked) -> list[dict[str, Any]]:
    """What can be laid over a slide: the tiles of each bag of it, with the attention of each network that read the bag.

    Attention is in percentiles of the slide's tiles: itself it spans orders of magnitude.
    """
    of_image = (
        f"cohort = {literal(asked.cohort)} AND case_id = {literal(asked.case_id)} "
        f"AND image_id = {literal(asked.image_id)} AND modality = {literal(asked.modality)}"
    )
    layers = []
    for row in view.ask(f"SELECT code_set, artifact FROM bags WHERE {of_image} ORDER BY code_set"):
        bag = view.once(("bag", row["artifact"]), lambda artifact=row["artifact"]: _bag(view, artifact))
        looked = view.ask(
            f"SELECT encoder, encoder_digest, code_set, branch, attention FROM attention WHERE {of_image} "
            f"AND bag = {literal(row['artifact'])} ORDER BY code_set, branch"
        )
        if bag is None:
            continue
        corners, edge = bag
        layers.append({"name": row["code_set"], "edge": edge, "corners": corners, "percent": None})
        for one in looked:
            weights_n = np.asarray(one["attention"], np.float32)
            percent_n = 100 * weights_n.argsort(kind="stable").argsort() / max(len(weights_n) - 1, 1)
            name = f"attention of {one['code_set']}, branch {one['branch']}"
            layers.append({"name": name, "edge": edge, "corners": corners, "percent": percent_n.round(1).tolist()})
    return layers


def _bag(view: View, artifact: str) -> tuple[list[list[int]], int] | None:
    """Corners of the tiles in level-0 pixels, and their edge; None of a bag without coordinates."""
    bag: Bag = read_bag(view.snapshot.storage, view.snapshot.entry(artifact))
    if bag.coords_n2 is None or not bag.tile_size_level0_px:
        return None
    return bag.coords_n2.tolist(), bag.tile_size_level0_px
