"""What a kind of input is: everything that differs between slides, volumes, photographs and bags."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import Note, PixelRecipe
from guidestore.embeddings.plugins import Registry, one_per_file
from guidestore.embeddings.snapshot import Snapshot
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.sources import CaseImage, ImageFile, Source


class InputOptions(Protocol):
    """What an encode is asked about its input; None stands for what the encoder or its preset was made for."""

    @property
    def cohort(self) -> str: ...
    @property
    def modality(self) -> str: ...
    @property
    def photograph_px(self) -> int | None: ...
    @property
    def tile_px(self) -> int | None: ...
    @property
    def mpp(self) -> float | None: ...
    @property
    def patch_encoder(self) -> str: ...
    @property
    def trust_geometry(self) -> bool: ...
    @property
    def volume_parameters(self) -> tuple[tuple[int, int, int], float, Any]:
        """Shape in voxels (d, h, w), spacing in mm, and fit."""
        ...


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What a source is opened from."""

    snapshot: Snapshot
    images: Sequence[CaseImage]
    """Of the modality; empty for a kind that reads the store."""
    options: InputOptions
    info: EncoderInfo
    """Says what the encoder was made for where the options do not."""
    again: bool
    """Each item is asked for many times, by a training."""


@dataclass(frozen=True, slots=True)
class NewImages:
    """Files of new cases, and how the codes that they are to be compared with were made."""

    files: Sequence[Path]
    modality: str
    preprocessing: Mapping[str, Any]
    """Of the encoder's spec."""
    mpp: float | None
    """um per pixel of slides that do not say it."""
    encoder: Callable[[str], Encoder]
    """The encoder of a digest."""
    trust_geometry: bool = False
    """Of volumes of several sequences: their files' word for where they lie."""


class InputKind(ABC):
    """One kind of input: a file of `encoders.kinds`. Its objects hold nothing."""

    name: ClassVar[str]
    """As in `EncoderSpec.input_kind`."""
    images: ClassVar[str]
    """What people call several of them."""
    gives: ClassVar[Literal["bag", "codes"]] = "codes"
    """What an encoder makes of one: a code for each tile, or one of the whole."""
    reads_images: ClassVar[bool] = True
    """Whether it reads the image files of a cohort; else what the store has."""

    def recognises(self, file: ImageFile) -> bool:
        """Whether the file is an image of this kind."""
        return False

    def may_be(self, file: ImageFile) -> bool:
        """Whether the file can be read as one of this kind, though it is more likely of another."""
        return False

    def examine(self, path: Path, given: PixelRecipe) -> tuple[PixelRecipe, list[Note]]:
        """What decides the pixels of a file of this kind, by its header, and notes on it. `given`: by the cohort.

        Raises InvalidInputError for what will be refused whatever the cohort says.
        """
        return PixelRecipe(), []

    @abstractmethod
    def check(self, batch: Any, encoder: str, width: int = 3) -> None:
        """Raises InvalidInputError unless `encoder` can take `batch`. width: channels of an image, d of patch codes."""

    @abstractmethod
    def source(self, request: SourceRequest) -> Source:
        """The items that a cohort has, to be read one by one. Raises InvalidInputError, NotFoundInStoreError."""

    def new_inputs(self, new: NewImages) -> dict[str, Any]:
        """case id -> what an encoder takes of it. Raises InvalidInputError where files are no images of this kind."""
        raise InvalidInputError(f"codes of {self.images} cannot be predicted from; choose a run on case codes")

    def encoder_arguments(self, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
        """What a frozen encoder must be told of input that was prepared so."""
        return {}

    @abstractmethod
    def in_words(self, preprocessing: Mapping[str, Any]) -> str:
        """What is to be done to an image before the encoder."""

    # As the input of an ONNX graph, `pixels` of n items or of the n tiles of one bag -------------------------------

    @abstractmethod
    def graph_input(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        """dtype and shape."""

    @abstractmethod
    def example(self, preprocessing: Mapping[str, Any], config: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Made-up pixels: 2 items, or the tiles of a small bag."""

    def pixels_of(self, batch: Any) -> list[np.ndarray]:
        """What the graph is to be run on, one after the other, for the codes of `batch`."""
        return [batch]

    def batch_of(self, pixels: np.ndarray) -> Any:
        """The batch of an encoder that holds what the graph is given."""
        return pixels


def by_case(files: Sequence[Path], case_of: Callable[[Path], str]) -> dict[str, Path]:
    """case id -> its file. Raises InvalidInputError where two files are of one case: one would hide the other."""
    cases: dict[str, Path] = {}
    for file in files:
        case_id = case_of(file)
        check_one(file, cases.get(case_id), f"case {case_id}")
        cases[case_id] = file
    return cases


def check_one(file: Path, before: Path | None, what: str) -> None:
    """Raises InvalidInputError where `before` is `what` already."""
    if before is not None:
        raise InvalidInputError(f"{before} and {file} would both be {what}; rename one of them, or give each alone")


INPUT_KINDS: Registry[type[InputKind]] = Registry("input kind", "", one_per_file("guidestore.encoders.kinds"))


def input_kind(name: str) -> InputKind:
    """Raises InvalidInputError for an unknown name."""
    return INPUT_KINDS.load(name)()


def kind_of(images: Sequence[CaseImage], takes: Sequence[str]) -> InputKind:
    """The kind as which an encoder that takes these kinds is given the images of a modality.

    Of several that it takes the one of most files; files of another kind are for the sources to refuse, one by one. A
    kind that it does not take where no file is of one that it takes: the caller says so.
    """
    files = [file for image in images for file in image.files]
    wanted = [input_kind(name) for name in takes]
    if len(wanted) == 1 and any(wanted[0].recognises(file) or wanted[0].may_be(file) for file in files):
        return wanted[0]
    kinds = [input_kind(name) for name in INPUT_KINDS.names()]
    counts = {kind.name: sum(kind.recognises(file) for file in files) for kind in kinds}
    most = max([kind for kind in wanted if counts[kind.name]] or kinds, key=lambda kind: counts[kind.name])
    # What nobody knows is for the encoder's own reader to refuse.
    return most if counts[most.name] else wanted[0]
