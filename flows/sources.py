"""What an encode consumes, one item per code: slides or volumes from files, bags from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from embeddings.bags import read_bag
from embeddings.errors import InvalidInputError, NotFoundInStoreError
from embeddings.records import Entry
from embeddings.snapshot import Snapshot
from embeddings.types import Bag
from flows.images import CaseImage, sequence_of


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to encode, and the digests that identify its input: of image files, or artifact ids of bags."""

    case_id: str
    image_id: str
    digests: tuple[str, ...]


class Source(Protocol):
    """The items of one modality. `images_read` counts the image files opened so far."""

    items: list[Item]
    images_read: int

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Of the encoder's spec."""
        ...

    @property
    def input_width(self) -> int:
        """Channels of a volume, or d of the patch codes."""
        ...

    def load(self, items: Sequence[Item]) -> Any:
        """What `Encoder.encode` takes for those items. Raises InvalidInputError where one cannot be read."""
        ...


class VolumeSource:
    """Volumes from NIfTI files; each is read once and kept while the folds go by."""

    def __init__(self, images: Sequence[CaseImage], shape_vox: tuple[int, int, int], spacing_mm: float) -> None:
        self._images = {image.image_id: image for image in images}
        self._shape_vox, self._spacing_mm = shape_vox, spacing_mm
        self._volumes: dict[str, np.ndarray] = {}
        self.items = [Item(image.case_id, image.image_id, image.sha256s) for image in images]
        self.images_read = 0

    @cached_property
    def _settings(self) -> Any:
        from encoders.volumes import VolumeSettings

        sequences = tuple(sequence_of(modality) for modality in next(iter(self._images.values())).files)
        return VolumeSettings(sequences=sequences, shape_vox=self._shape_vox, spacing_mm=self._spacing_mm)

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self._settings.as_dict()

    @property
    def input_width(self) -> int:
        return len(self._settings.sequences)

    def load(self, items: Sequence[Item]) -> np.ndarray:
        """volumes_bcdhw float32."""
        return np.stack([self._volume(item) for item in items])

    def _volume(self, item: Item) -> np.ndarray:
        from encoders.volumes import load_volume

        if item.image_id not in self._volumes:
            image = self._images[item.image_id]
            image.check_unchanged()
            self.images_read += len(image.files)
            files = {sequence_of(modality): path for modality, path in image.files.items()}
            self._volumes[item.image_id] = load_volume(files, self._settings)
        return self._volumes[item.image_id]


class BagSource:
    """Stored bags of a patch encoder, one item per case: several slides of a case are pooled as one bag."""

    images_read = 0

    def __init__(self, snapshot: Snapshot, cohort: str, modality: str, patch_encoder: str) -> None:
        try:
            self._key = snapshot.code_set(f"{cohort}/{modality}/{patch_encoder}")
        except NotFoundInStoreError as error:
            command = f"guidestore encode {cohort} --modality {modality} --encoder {patch_encoder.partition('@')[0]}"
            raise NotFoundInStoreError(f"{error}; run `{command}` first") from error
        if self._key.kind != "bag":
            raise InvalidInputError(f"code set {self._key} holds case codes, not bags; name a patch encoder")
        self._storage = snapshot.storage
        self._entries: dict[str, list[Entry]] = {}
        for entry in snapshot.code_set_entries(self._key):
            self._entries.setdefault(entry.case_id, []).append(entry)
        self.items = [
            Item(case_id, case_id, tuple(entry.artifact for entry in entries))
            for case_id, entries in self._entries.items()
        ]
        self._bags: dict[str, Bag] = {}

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {"patch_encoder": self._key.encoder, "patch_encoder_digest": self._key.encoder_digest}

    @property
    def input_width(self) -> int:
        return self._key.code_dim

    def load(self, items: Sequence[Item]) -> list[Bag]:
        return [self._bag(item.case_id) for item in items]

    def _bag(self, case_id: str) -> Bag:
        if case_id not in self._bags:
            self._bags[case_id] = joined([read_bag(self._storage, entry) for entry in self._entries[case_id]])
        return self._bags[case_id]


def joined(bags: Sequence[Bag]) -> Bag:
    """Several slides of a case as one bag; the tile facts are those of the first."""
    if len(bags) == 1:
        return bags[0]
    features_nd = np.concatenate([bag.features_nd for bag in bags])
    coords_n2 = np.concatenate([bag.coords_n2 for bag in bags])
    first = bags[0]
    return Bag(features_nd, coords_n2, first.mpp, first.tile_size_px, first.tile_size_level0_px, first.magnification)
