"""What an encode consumes, one item per code: volumes and photographs from files, bags from the store."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, overload

import numpy as np

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import Bag, CodeSetName
from guidestore.flows.encoding.images import CaseImage, sequence_of

KEPT_BAG_BYTES = 8 * 2**30
"""Bags that stay in memory between epochs: RadPath's, 221 of some 5,000 x 1,024 float16, are 2.3 GB. Those beyond are
read again, 20 ms each, while the step before computes."""

KEPT_PHOTOGRAPH_BYTES = 4 * 2**30
"""Photographs that stay in memory between epochs: Derm7pt's 1,002 at 512 x 512 px are 0.8 GB."""


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

    def load(self, item: Item) -> Any:
        """volume_cdhw float32, photograph_hwc uint8, or a bag; safe in threads.

        Raises InvalidInputError where it cannot be read.
        """
        ...


@dataclass(frozen=True)
class ItemView(Sequence[Any]):
    """Some items of a source, each read when it is asked for: what `train_classifier` takes."""

    source: Source
    items: Sequence[Item]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        return ItemView(self.source, self.items[row]) if isinstance(row, slice) else self.source.load(self.items[row])

    def __iter__(self) -> Iterator[Any]:
        return (self.source.load(item) for item in self.items)


class VolumeSource:
    """Volumes from NIfTI files; each is read and resampled once, and waits in a scratch file while the folds go by.

    The scratch file is mapped, so that the operating system decides how much of it is in memory: 221 cases of four
    sequences are 24 GB at the paper's size.
    """

    def __init__(
        self, images: Sequence[CaseImage], shape_vox: tuple[int, int, int], spacing_mm: float, fit: Any
    ) -> None:
        self._images = {(image.case_id, image.image_id): image for image in images}
        self._shape_vox, self._spacing_mm, self._fit = shape_vox, spacing_mm, fit
        self.items = [Item(image.case_id, image.image_id, image.sha256s) for image in images]
        self._row_of = {item: row for row, item in enumerate(self.items)}
        self._loaded: set[Item] = set()
        self._lock = threading.Lock()
        self.images_read = 0

    @cached_property
    def settings(self) -> Any:
        """VolumeSettings."""
        from guidestore.encoders.volumes import VolumeSettings

        sequences = tuple(sequence_of(modality) for modality in next(iter(self._images.values())).files)
        return VolumeSettings(sequences, self._shape_vox, self._spacing_mm, self._fit)

    @cached_property
    def _scratch(self) -> np.memmap:
        """(n, c, d, h, w) float32. Sparse: it takes the disk that its volumes fill, and goes with the process."""
        shape = (len(self.items), len(self.settings.sequences), *self._shape_vox)
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, np.float32, "w+", shape=shape)

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self.settings.as_dict()

    @property
    def input_width(self) -> int:
        return len(self.settings.sequences)

    def load(self, item: Item) -> np.ndarray:
        """volume_cdhw float32."""
        from guidestore.encoders.volumes import load_volume

        with self._lock:
            volumes = self._scratch
            known = item in self._loaded
        row = self._row_of[item]
        if not known:
            image = self._images[item.case_id, item.image_id]
            image.check_unchanged()
            with self._lock:
                self.images_read += len(image.files)
            files = {sequence_of(modality): path for modality, path in image.files.items()}
            volumes[row] = load_volume(files, self.settings)
            with self._lock:
                self._loaded.add(item)
        return np.asarray(volumes[row])


class PhotographSource:
    """Photographs from files as squares of `size_px`.

    kept_bytes: of photographs that stay in memory, for a training, which asks for each again and again; those beyond
    are read again.
    """

    input_width = 3
    """Channels."""

    def __init__(self, images: Sequence[CaseImage], size_px: int, kept_bytes: int = 0) -> None:
        from guidestore.encoders.photographs import PhotographSettings

        self._images = {(image.case_id, image.image_id): image for image in images}
        self._settings = PhotographSettings(size_px)
        self._kept: dict[Item, np.ndarray] = {}
        self._free_bytes = kept_bytes
        self._lock = threading.Lock()
        self.items = [Item(image.case_id, image.image_id, image.sha256s) for image in images]
        self.images_read = 0

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self._settings.as_dict()

    def load(self, item: Item) -> np.ndarray:
        """photograph_hwc (size_px, size_px, 3) uint8."""
        from guidestore.encoders.photographs import load_photograph

        kept = self._kept.get(item)
        if kept is not None:
            return kept
        image = self._images[item.case_id, item.image_id]
        image.check_unchanged()
        with self._lock:
            self.images_read += 1
        (path,) = image.files.values()
        photograph_hwc = load_photograph(path, self._settings)
        with self._lock:
            if item not in self._kept and photograph_hwc.nbytes <= self._free_bytes:
                self._free_bytes -= photograph_hwc.nbytes
                self._kept[item] = photograph_hwc
        return photograph_hwc


class BagSource:
    """Stored bags of a patch encoder, one item per case: several slides of a case are pooled as one bag."""

    images_read = 0

    def __init__(self, snapshot: Snapshot, cohort: str, modality: str, patch_encoder: str) -> None:
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
            self._entries.setdefault(entry.case_id, []).append(entry)
        self.items = [
            Item(case_id, case_id, tuple(entry.artifact for entry in entries))
            for case_id, entries in self._entries.items()
        ]
        self._bags: dict[str, Bag] = {}
        self._kept_bytes = 0

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {"patch_encoder": self._key.encoder, "patch_encoder_digest": self._key.encoder_digest}

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
        if self._kept_bytes + bag.features_nd.nbytes <= KEPT_BAG_BYTES:
            self._kept_bytes += bag.features_nd.nbytes
            self._bags[item.case_id] = bag
        return bag

    def slides(self, item: Item) -> list[tuple[str, str, int]]:
        """(image_id, bag artifact, number of tiles) of the case's slides."""
        return [(entry.image_id, entry.artifact, entry.shape[0]) for entry in self._entries[item.case_id]]


def joined(bags: Sequence[Bag]) -> Bag:
    """Several slides of a case as one bag; the tile facts are those of the first."""
    if len(bags) == 1:
        return bags[0]
    features_nd = np.concatenate([bag.features_nd for bag in bags])
    coords_n2 = np.concatenate([bag.coords_n2 for bag in bags])
    first = bags[0]
    return Bag(features_nd, coords_n2, first.mpp, first.tile_size_px, first.tile_size_level0_px, first.magnification)
