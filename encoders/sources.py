"""What is encoded, one item per code: the images of a cohort as files, and what reads them for an encoder."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, overload

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import NOTHING_SAID, PixelRecipe, pixels_of
from guidestore.embeddings.records import FileRef
from guidestore.encoders.checks import said_of
from guidestore.encoders.image_files import files_of


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file of a cohort, as it was when the cohort was added."""

    modality: str
    path: Path
    files: tuple[FileRef, ...]
    """All files that it consists of, itself first: size in bytes, sha256. Where they lie now follows from `path`."""
    pixels: PixelRecipe = NOTHING_SAID
    """What the cohort says decides its pixels."""

    def verify(self) -> Verified:
        """Hashes the files. Raises InvalidInputError where one is gone or another than when the cohort was added."""
        try:
            _stamp(self.path)
            paths = files_of(self.path)
            before = {path: _stamp(path) for path in paths}
            sizes = [stamp.size for stamp in before.values()]
            if sizes != [file.size for file in self.files]:
                then = sum(file.size for file in self.files)
                raise InvalidInputError(
                    f"{self.path} {CHANGED}: {sum(sizes)} bytes in {len(sizes)} file(s) now, {then} in "
                    f"{len(self.files)} then; {ADD_AGAIN}"
                )
            for path, file in zip(paths, self.files, strict=True):
                with path.open("rb") as handle:
                    digest = hashlib.file_digest(handle, "sha256").hexdigest()
                if digest != file.sha256:
                    raise InvalidInputError(
                        f"{path} {CHANGED}: its sha256 is {digest[:12]}… now, {file.sha256[:12]}… then; {ADD_AGAIN}"
                    )
        except FileNotFoundError as error:
            raise InvalidInputError(
                f"{self.path} is not there any more; restore it, or add the cohort again"
            ) from error
        except OSError as error:
            raise InvalidInputError(
                f"{self.path} cannot be read ({error.strerror}); correct the file's permissions"
            ) from error
        return Verified(before)


CHANGED = "changed since cohort add"
ADD_AGAIN = "restore the file, or add the cohort again"


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What the file system says of a file: any write changes the last two, whatever a program sets the third to."""

    inode: tuple[int, int]
    size: int
    mtime_ns: int
    ctime_ns: int


def _stamp(path: Path) -> _Stamp:
    """Raises OSError, and InvalidInputError for a pipe or a device, whose reading may never end."""
    now = path.stat()
    if not stat.S_ISREG(now.st_mode):
        raise InvalidInputError(f"{path} {CHANGED}: it is a folder, pipe or device now; {ADD_AGAIN}")
    return _Stamp((now.st_dev, now.st_ino), now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Verified:
    """Files whose bytes were those of the cohort. As a context manager it looks again on the way out.

    The stamps were taken before the bytes were hashed, so what was read between the two looks was what was hashed.
    """

    before: Mapping[Path, _Stamp]

    def check(self) -> None:
        """Raises InvalidInputError where a file was written or replaced since."""
        for path, stamp in self.before.items():
            try:
                same = _stamp(path) == stamp
            except OSError:
                same = False
            if not same:
                raise InvalidInputError(f"{path} {CHANGED}, while it was read; {ADD_AGAIN}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            self.check()  # Before what reading says: a file that was being written may be damaged in any way.


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to encode, and what identifies its input: digests of image files, or artifact ids of bags."""

    case_id: str
    image_id: str
    digests: tuple[str, ...]
    pixel_recipes: tuple[PixelRecipe, ...] = ()
    """Of each image, in channel order."""

    @property
    def pixels(self) -> dict[str, Any]:
        """Of the recipe of its code."""
        return pixels_of(self.pixel_recipes)


@dataclass(frozen=True, slots=True)
class CaseImage:
    """One image to encode: a slide, a photograph, or the sequences of a volume. `files`: in channel order."""

    case_id: str
    image_id: str
    files: tuple[ImageFile, ...]

    @property
    def item(self) -> Item:
        digests = tuple(part.sha256 for file in self.files for part in file.files)
        return Item(self.case_id, self.image_id, digests, tuple(file.pixels for file in self.files))

    def at_mpp(self, mpp: float | None) -> CaseImage:
        """With the mpp of an option, which says better than a file does, but not than the manifest; None: as it is."""
        files = tuple(
            file
            if mpp is None or file.pixels.mpp_source == "manifest"
            else replace(file, pixels=replace(file.pixels, mpp=mpp, mpp_source="option"))
            for file in self.files
        )
        return replace(self, files=files)

    def verify(self) -> Verified:
        """Raises InvalidInputError where a file is gone or another."""
        return Verified({path: stamp for file in self.files for path, stamp in file.verify().before.items()})


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
