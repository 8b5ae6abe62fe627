"""Where an attention network looked in the slides of a case: as rows, and as a picture over each slide's thumbnail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.pairing import class_targets, labels_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetName, check_name
from guidestore.encoders.sources import ImageFile
from guidestore.flows.encoding.images import images_of
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

THUMBNAIL_PX = 1200
"""Longer edge of the picture of a slide."""

SCALE_BARS_UM = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """Attention over the n tiles of one slide by each of j branches."""

    case_id: str
    image_id: str
    modality: str
    code_set: str
    branches: tuple[str, ...]
    """Their class, '' for a single branch."""
    attention_jn: np.ndarray
    """(j, n) float32; sums to 1 over all slides of the case."""
    coords_n2: np.ndarray | None
    """(n, 2) int32 level-0 x, y of the tiles' upper left corners; None where the bag was imported without them."""
    tile_size_level0_px: int
    mpp: float | None
    """um per level-0 pixel that the tiles were cut at; None where the bag does not say it."""

    def as_rows(self) -> list[dict[str, Any]]:
        """One row for each tile and branch; x and y are None where nobody knows them."""
        tiles = self.attention_jn.shape[1]
        corners = [(None, None)] * tiles if self.coords_n2 is None else self.coords_n2.tolist()
        return [
            {"image_id": self.image_id, "branch": branch, "tile": tile, "x": x, "y": y, "attention": value}
            for branch, weights_n in zip(self.branches, self.attention_jn.tolist(), strict=True)
            for tile, ((x, y), value) in enumerate(zip(corners, weights_n, strict=True))
        ]


def attention_of(
    snapshot: Snapshot,
    cohort: str,
    case_id: str,
    *,
    encoder: str = "clam_sb",
    modality: str = "histology",
    split: str = "",
    fold: int = -1,
) -> list[AttentionMap]:
    """The stored attention over each slide of a case. `encoder`: NAME or NAME@DIGEST; `split` and `fold` tell apart
    those that were trained on several. Raises NotFoundInStoreError, AmbiguousNameError."""
    check_name(case_id, "case id")
    key = snapshot.code_set(CodeSetName.parse(f"{modality}/{encoder}", cohort), split=split, fold=fold)
    rows = snapshot.rows("attention", cohort=cohort)
    chosen = (pc.field("case_id") == case_id) & (pc.field("encoder_digest") == key.encoder_digest)
    of_case = rows.filter(chosen).to_pylist()
    if not of_case:
        raise NotFoundInStoreError(
            f"code set {key} holds no attention of case {case_id}: the case is not in it, or the encoder pools without "
            f"attention; `guidestore sql \"FROM attention WHERE encoder = '{key.encoder}'\"` lists what there is"
        )
    by_slide: dict[str, dict[int, dict[str, Any]]] = {}
    for row in of_case:
        by_slide.setdefault(row["bag"], {}).setdefault(row["branch"], row)
    maps = []
    for artifact, by_branch in by_slide.items():
        bag = read_bag(snapshot.storage, snapshot.entry(artifact))
        ordered = [by_branch[branch] for branch in sorted(by_branch)]
        names = _branch_names(snapshot, key.cohort, len(ordered))
        maps.append(
            AttentionMap(
                case_id,
                ordered[0]["image_id"],
                modality,
                str(key),
                names,
                np.array([row["attention"] for row in ordered], np.float32),
                bag.coords_n2,
                bag.tile_size_level0_px,
                bag.mpp,
            )
        )
    return sorted(maps, key=lambda slide_map: slide_map.image_id)


def _branch_names(snapshot: Snapshot, cohort: str, count: int) -> tuple[str, ...]:
    """The class of each branch, where one target of the cohort has as many classes."""
    if count == 1:
        return ("",)
    for target in class_targets(snapshot, cohort):
        classes, _ = labels_of(snapshot, cohort, target)
        if len(classes) == count:
            return tuple(classes)
    return tuple(str(branch) for branch in range(count))


def draw_attention(
    snapshot: Snapshot, cohort: str, maps: Sequence[AttentionMap], folder: Path, key_file: Path | None = None
) -> list[Path]:
    """One PNG for each slide, ``CASE_IMAGE_attention.png``: the thumbnail, and beside it each branch's attention.

    Colours are percentiles within the slide: attention itself spans orders of magnitude. `key_file`: of a pseudonymized
    cohort, where the slides' paths lie. Raises NotFoundInStoreError, InvalidInputError.
    """
    paths = Pseudonyms.load(key_file).image_paths(cohort) if key_file else None
    images, _ = images_of(snapshot, cohort, maps[0].modality, paths)
    by_id = {(image.case_id, image.image_id): image for image in images}
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for drawn in maps:
        image = by_id.get((drawn.case_id, drawn.image_id))
        if drawn.coords_n2 is None:
            raise InvalidInputError(
                f"the bag of case {drawn.case_id}, slide {drawn.image_id}, was imported without coordinates: its "
                "attention can be listed, but not drawn"
            )
        if image is None:
            raise NotFoundInStoreError(
                f"cohort {cohort} has no slide {drawn.image_id} of case {drawn.case_id} any more"
            )
        (slide_file,) = image.files
        file = folder / f"{drawn.case_id}_{drawn.image_id}_attention.png"
        with image.verify():
            _draw(drawn, drawn.coords_n2, slide_file, file)
        files.append(file)
    return files


def _draw(drawn: AttentionMap, coords_n2: np.ndarray, slide_file: ImageFile, file: Path) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from guidestore.encoders.slides.reader import Slide
    from guidestore.encoders.slides.tiling import read_thumbnail

    with Slide(slide_file.path, drawn.mpp) as slide:
        downsample = max(max(slide.width_px, slide.height_px) / THUMBNAIL_PX, 1.0)
        thumbnail_hwc = read_thumbnail(slide, downsample)
        mpp_level0 = slide.mpp
    height, width = thumbnail_hwc.shape[:2]
    panels = 1 + len(drawn.branches)
    panel_in = 5.0
    figure = Figure(figsize=(panels * panel_in, panel_in * height / width + 0.9), dpi=120, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(thumbnail_hwc)
    axes[0].set_title("slide", fontsize=10)
    _scale_bar(axes[0], width, mpp_level0 * downsample)
    edge = drawn.tile_size_level0_px / downsample
    for axis, branch, weights_n in zip(axes[1:], drawn.branches, drawn.attention_jn, strict=True):
        axis.imshow(thumbnail_hwc.mean(axis=2), cmap="gray", vmin=0, vmax=255)  # so that colours are attention alone
        ranks_n = 100 * weights_n.argsort().argsort() / max(len(weights_n) - 1, 1)
        heat_hw = np.full((height, width), np.nan)
        for (x, y), rank in zip(coords_n2 / downsample, ranks_n, strict=True):
            heat_hw[round(y) : round(y + edge), round(x) : round(x + edge)] = rank
        axis.imshow(heat_hw, cmap="viridis", vmin=0, vmax=100, alpha=0.6, interpolation="nearest")
        axis.set_title(f"attention for {branch}" if branch else "attention", fontsize=10)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 100), "viridis"), ax=axes[-1], shrink=0.7)
    bar.set_label("percentile of the slide's tiles")
    figure.suptitle(f"case {drawn.case_id}, slide {drawn.image_id}: {drawn.code_set}", fontsize=10)
    figure.savefig(file)


def _scale_bar(axis: Any, width_px: int, mpp: float) -> None:
    """The longest round length that takes at most a quarter of the picture."""
    fitting = [um for um in SCALE_BARS_UM if um / mpp <= width_px / 4]
    if not fitting:
        return
    length = fitting[-1] / mpp
    y = axis.get_ylim()[0] * 0.97
    axis.plot([width_px * 0.03, width_px * 0.03 + length], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    label = f"{fitting[-1]} um" if fitting[-1] < 1000 else f"{fitting[-1] // 1000} mm"
    axis.text(width_px * 0.03, y * 0.985, label, fontsize=8, va="bottom")
