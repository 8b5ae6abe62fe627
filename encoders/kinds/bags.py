"""Bags: the stored patch codes of a case's slides, which a trained encoder pools to one code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import Bag, CodeSetName
from guidestore.encoders.checks import shown
from guidestore.encoders.input_kind import InputKind, NewImages, SourceRequest, by_case
from guidestore.encoders.kinds.tiles import tiling_in
from guidestore.encoders.sources import Item

KEPT_BYTES = 8 * 2**30
"""Bags that stay in memory between epochs: RadPath's, 221 of some 5,000 x 1,024 float16, are 2.3 GB. Those beyond are
read again, 20 ms each, while the step before computes."""

EXAMPLE_TILES = 7


class Bags(InputKind):
    name = "bags"
    images = "bags"
    reads_images = False

    def check(self, batch: Any, encoder: str, width: int = 3) -> None:
        """Each bag has at least one tile and codes of `width` dimensions."""
        for number, bag in enumerate(batch):
            if not isinstance(bag, Bag) or bag.features_nd.shape[1] != width:
                given = shown(bag.features_nd) if isinstance(bag, Bag) else type(bag).__name__
                raise InvalidInputError(
                    f"encoder {encoder} takes bags of {width}-d patch codes, but item {number} of the batch is {given}"
                    "; use the patch encoder that it was trained with"
                )
            if len(bag) == 0:
                raise InvalidInputError(
                    f"encoder {encoder} cannot pool item {number} of the batch: its bag has no tiles (a slide without "
                    "tissue); leave that case out"
                )

    def source(self, request: SourceRequest) -> BagSource:
        options = request.options
        return BagSource(
            request.snapshot, options.cohort, options.modality, options.patch_encoder, says_width=not request.again
        )

    def encoder_arguments(self, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
        width = preprocessing.get("patch_code_dim")
        return {} if width is None else {"code_dim": width}

    def new_inputs(self, new: NewImages) -> dict[str, Bag]:
        from guidestore.encoders.slides.encode import encode_slide

        patch_encoder = new.encoder(new.preprocessing["patch_encoder_digest"])
        tiling = tiling_in(patch_encoder.spec.preprocessing)
        bags: dict[str, Bag] = {}
        for case_id, file in by_case(new.files, _slide_case).items():
            bags[case_id] = encode_slide(file, patch_encoder, tiling, new.mpp)
            if len(bags[case_id]) == 0:
                raise InvalidInputError(f"slide {file} shows no tissue; check the file, or leave it out")
        return bags

    def in_words(self, preprocessing: Mapping[str, Any]) -> str:
        return (
            f"the codes of the slide's tiles by patch encoder {preprocessing['patch_encoder']}, float32, one row each"
        )

    def graph_input(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        return f"float32 (n, {config['patch_code_dim']}), the n tiles of one slide"

    def example(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any], rng: np.random.Generator) -> Any:
        return rng.normal(size=(EXAMPLE_TILES, config["patch_code_dim"])).astype(np.float32)

    def pixels_of(self, batch: Sequence[Bag]) -> list[np.ndarray]:
        return [np.asarray(bag.features_nd, np.float32) for bag in batch]

    def batch_of(self, pixels: np.ndarray) -> list[Bag]:
        return [Bag(pixels, np.zeros((len(pixels), 2), np.int32), 1.0, 1, 1)]


def _slide_case(file: Path) -> str:
    if not file.is_file():
        raise InvalidInputError(f"there is no slide {file}")
    if file.name.endswith((".nii", ".nii.gz")):
        raise InvalidInputError(f"{file} is a volume, and the run predicts from slides")
    return file.stem


class BagSource:
    """Stored bags of a patch encoder, one item per case: several slides of a case are pooled as one bag."""

    images_read = 0

    def __init__(
        self, snapshot: Snapshot, cohort: str, modality: str, patch_encoder: str, *, says_width: bool = False
    ) -> None:
        """says_width: for an encoder without weights, of which nothing else says it."""
        self._says_width = says_width
        try:
            self._key = snapshot.code_set(CodeSetName.parse(f"{modality}/{patch_encoder}", cohort))
        except NotFoundInStoreError as error:
            command = f"guidestore encode {cohort} --modality {modality} --encoder {patch_encoder.partition('@')[0]}"
            raise NotFoundInStoreError(f"{error}; run `{command}` first") from error
        if self._key.kind != "bag":
            raise InvalidInputError(f"code set {self._key} holds case codes, not bags; name a patch encoder")
        self._storage = snapshot.storage
        self._entries: dict[str, list[Entry]] = {}
        for entry in snapshot.code_set_entries(self._key):
            if entry.shape[0]:  # a blank slide, as other tools keep them, has nothing to pool
                self._entries.setdefault(entry.case_id, []).append(entry)
        self.items = [
            Item(case_id, case_id, tuple(entry.artifact for entry in entries))
            for case_id, entries in self._entries.items()
        ]
        self._bags: dict[str, Bag] = {}
        self._kept_bytes = 0

    @property
    def preprocessing(self) -> dict[str, Any]:
        said = {"patch_encoder": self._key.encoder, "patch_encoder_digest": self._key.encoder_digest}
        return said | ({"patch_code_dim": self._key.code_dim} if self._says_width else {})

    @property
    def input_width(self) -> int:
        return self._key.code_dim

    def load(self, item: Item) -> Bag:
        """The bag of all slides of the case, in the order of `slides`."""
        kept = self._bags.get(item.case_id)
        if kept is not None:
            return kept
        bag = joined([read_bag(self._storage, entry) for entry in self._entries[item.case_id]])
        # The first that fit stay: a draw with replacement would drive out the oldest before it comes again.
        if self._kept_bytes + bag.features_nd.nbytes <= KEPT_BYTES:
            self._kept_bytes += bag.features_nd.nbytes
            self._bags[item.case_id] = bag
        return bag

    def slides(self, item: Item) -> list[tuple[str, str, int]]:
        """(image_id, bag artifact, number of tiles) of the case's slides."""
        return [(entry.image_id, entry.artifact, entry.shape[0]) for entry in self._entries[item.case_id]]


def joined(bags: Sequence[Bag]) -> Bag:
    """Several slides of a case as one bag; the tile sizes are those of the first."""
    if len(bags) == 1:
        return bags[0]
    features_nd = np.concatenate([bag.features_nd for bag in bags])
    coords = [bag.coords_n2 for bag in bags if bag.coords_n2 is not None]
    coords_n2 = np.concatenate(coords) if len(coords) == len(bags) else None
    first = bags[0]
    return Bag(features_nd, coords_n2, first.mpp, first.tile_size_px, first.tile_size_level0_px, first.magnification)
