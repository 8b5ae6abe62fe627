"""The bags of a code set in Python: read one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import Bag, CodeSetName
from guidestore.flows.library.arguments import public
from guidestore.heads.checks import check_seed

if TYPE_CHECKING:
    import torch


class BagBatch(NamedTuple):
    """Several bags as tensors, filled up with zeros to the longest."""

    features: torch.Tensor
    """(b, n, d) float32."""
    mask: torch.Tensor
    """(b, n) bool: which rows are patches."""
    places: torch.Tensor
    """(b,) int64: places in the Bags, whose `case_ids` and `image_ids` name them."""


@public
class Bags:
    """The bags (patch codes of slides) of one code set, sorted by case and image; `len` counts them, `[i]` reads one.

    What is read is verified against the commit. Made by `Store.bags`.

    >>> bags = store.bags("slides/histology/uni2_h")
    >>> bags
    Bags slides/histology/uni2_h@...: 3 bags of 3 cases, 8 dimensions
    >>> bags[0].features_nd.shape, bags[0].features_nd.dtype.name, bags[0].coords_n2.dtype.name
    ((5, 8), 'float16', 'int32')
    """

    def __init__(self, snapshot: Snapshot, name: CodeSetName | str) -> None:
        """Raises NotFoundInStoreError, AmbiguousNameError, InvalidInputError where the set holds case codes."""
        self.key = snapshot.code_set(name)
        if self.key.kind != "bag":
            raise InvalidInputError(f"code set {self.key} holds one code a case, no bags; pair it with `store.pair`")
        self._storage, self._entries = snapshot.storage, snapshot.code_set_entries(self.key)
        self.case_ids = tuple(entry.case_id for entry in self._entries)
        """One for each bag."""
        self.image_ids = tuple(entry.image_id for entry in self._entries)
        self.sizes = np.array([entry.shape[0] for entry in self._entries], dtype=np.int64)
        """Patches of each bag."""

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: int) -> Bag:
        """Raises CorruptArtifactError where it is not what was committed, IndexError."""
        return read_bag(self._storage, self._entries[place])

    def __iter__(self) -> Iterator[Bag]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        cases = len(set(self.case_ids))
        return f"Bags {self.key}: {len(self):,} bags of {cases:,} cases, {self.key.code_dim} dimensions"

    def torch(
        self,
        *,
        batch_size: int = 1,
        collate: Callable[[list[tuple[int, Bag]]], Any] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
    ) -> torch.utils.data.DataLoader[Any]:
        """A torch DataLoader: batches of bags, read as they are asked for, ahead in `workers` processes.

        collate: makes a batch of [(place, Bag), …]; None: a `BagBatch`. shuffle: in another order in each epoch, drawn
        from the seed; a bag is read whole, one shard of it behind the other. Raises InvalidInputError.

        >>> batch = next(iter(bags.torch(batch_size=2)))
        >>> batch.features.shape, batch.mask.sum(dim=1).tolist(), batch.places.tolist()
        (torch.Size([2, 7, 8]), [5, 7], [0, 1])
        """
        import torch
        from torch.utils.data import DataLoader, Dataset

        if batch_size < 1 or workers < 0:
            raise InvalidInputError(f"batch_size {batch_size} and workers {workers}: at least 1 and 0 are needed")
        check_seed(seed)
        return DataLoader(
            cast("Dataset[tuple[int, Bag]]", _Places(self)),
            batch_size=batch_size,
            shuffle=shuffle,
            collate_fn=collate or padded,
            num_workers=workers,
            generator=torch.Generator().manual_seed(seed),
        )


class _Places:
    """A map-style data set of (place, Bag)."""

    def __init__(self, bags: Bags) -> None:
        self.bags = bags

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, place: int) -> tuple[int, Bag]:
        return place, self.bags[place]


def padded(items: Sequence[tuple[int, Bag]]) -> BagBatch:
    """Bags of one width as one batch."""
    import torch

    longest = max(len(bag) for _, bag in items)
    features = torch.zeros(len(items), longest, items[0][1].features_nd.shape[1])
    mask = torch.zeros(len(items), longest, dtype=torch.bool)
    for row, (_, bag) in enumerate(items):
        features[row, : len(bag)] = torch.from_numpy(bag.features_nd)
        mask[row, : len(bag)] = True
    return BagBatch(features, mask, torch.tensor([place for place, _ in items]))
