"""What is encoded, one item per code: the images of a cohort as files, and what reads them for an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, overload

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import said_of


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of a cohort, as it was when the cohort was added."""

    modality: str
    path: Path
    sha256: str
    size: int
    """Bytes."""
    mpp: float | None
    """um per pixel of a slide, where the cohort says it."""

    def check_unchanged(self) -> None:
        """Raises InvalidInputError where the file is gone or no longer as long as when the cohort was added."""
        if not self.path.is_file():
            raise InvalidInputError(f"{self.path} is not there any more; restore it, or add the cohort again")
        size = self.path.stat().st_size
        if size != self.size:
            raise InvalidInputError(
                f"{self.path} has {size} bytes, {self.size} when the cohort was added; add the cohort again"
            )


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to encode, and the digests that identify its input: of image files, or artifact ids of bags."""

    case_id: str
    image_id: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaseImage:
    """One image to encode: a slide, a photograph, or the sequences of a volume. `files`: in channel order."""

    case_id: str
    image_id: str
    files: tuple[ImageFile, ...]

    @property
    def item(self) -> Item:
        return Item(self.case_id, self.image_id, tuple(file.sha256 for file in self.files))

    def check_unchanged(self) -> None:
        """Raises InvalidInputError where a file is gone or another."""
        for file in self.files:
            file.check_unchanged()


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
        """Channels of an image, or d of the patch codes."""
        ...

    def load(self, item: Item) -> Any:
        """What an encoder takes for one item, see `Encoder`; safe in threads.

        Raises InvalidInputError where it cannot be read.
        """
        ...


def load_item(source: Source, item: Item) -> Any:
    """`source.load(item)`. Whatever is wrong with one item, its memory too, raises InvalidInputError."""
    with said_of(
        f"image {item.image_id} of case {item.case_id} cannot be read", "copy its file again, or leave it out"
    ):
        return source.load(item)


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
