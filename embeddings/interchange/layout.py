"""What a layout of another tool is: how its folders are recognised and read, and how they are written.

A file of `interchange.readers` reads one layout, a file of `interchange.writers` of the same name writes it; either may
be missing. ``patho_bench.py`` holds the class PathoBench and is the layout ``patho-bench``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from guidestore.embeddings.plugins import Registry, one_per_file
from guidestore.embeddings.types import BagStream


@dataclass(frozen=True, slots=True)
class Header:
    """What the headers of one item's files say, before anything of its values is read."""

    n: int
    """Tiles; 1 of a code; 0 of a blank slide."""
    d: int
    """Dimensions; 0 where a blank slide does not say them."""
    dtype: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to the encoder's identity: tile px, magnification or um, overlap, code hash; units in the names."""
    mpp: float | None = None
    """Level-0 um per pixel, where the tool's own files say it."""
    notes: tuple[str, ...] = ()


class PeerItem(ABC):
    """One slide (or case) of another tool: a bag, or one code."""

    name: str
    """As the tool calls it: text, whatever is in it."""
    files: Sequence[Path]
    """All that is read for it; their digests are part of the artifact's identity."""

    @abstractmethod
    def look(self) -> Header:
        """Reads headers alone. Raises InvalidInputError for what cannot be of this layout."""

    @abstractmethod
    def read(self, header: Header, mpp: float | None) -> BagStream | np.ndarray:
        """The bag, its features block by block; or the code (d,) float32. `mpp`: as it was decided. InvalidInputError.

        Of a blank slide the bag is (0, header.d).
        """


@dataclass(frozen=True, slots=True, eq=False)
class ItemOver[Item: PeerItem](PeerItem):
    """Another item, of which more is known: by default all as it is."""

    item: Item

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.item.name

    @property
    def files(self) -> Sequence[Path]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.item.files

    def look(self) -> Header:
        return self.item.look()

    def read(self, header: Header, mpp: float | None) -> BagStream | np.ndarray:
        return self.item.read(header, mpp)


@dataclass(frozen=True, slots=True, eq=False)
class PeerSet:
    """The items of one encoder in a folder of another tool."""

    layout: str
    place: str
    """The folder within the one that was given, ``.`` where it is that; for sentences."""
    encoder: str
    """As the tool calls it; '' where nothing says so."""
    kind: Literal["bag", "codes"]
    of: Literal["slide", "case"]
    """What `PeerItem.name` names."""
    items: Sequence[PeerItem]
    cases: Mapping[str, str] = field(default_factory=dict)
    """Slide -> case, where the tool's own files say so."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Item -> train, val or test, where the tool's own files say so."""
    needs_mpp: bool = False
    """Its coordinates are in um."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowIds:
    """Which case each row of an array is, for layouts that do not say it."""

    table: Path | None = None
    """With a column of ids and one of parts, or a name with ``{part}`` in it: a table for each part."""
    id_column: str = "case_id"
    order: str = ""
    """``ids``: rows follow the table; else a table whose order they follow, filtered by the part."""


NO_IDS = RowIds()


class Reader(ABC):
    """Reads the folders of one tool."""

    tool: ClassVar[str]
    """As its users call it."""

    @abstractmethod
    def sets(self, folder: Path, ids: RowIds = NO_IDS) -> list[PeerSet]:
        """What of `folder` is of this layout, by names of files and the header of one of each; [] where nothing is.

        Raises InvalidInputError for what is of this layout and is not read (TRIDENT's .pt).
        """


def _named(package: str) -> dict[str, str]:
    return {name.replace("_", "-"): place for name, place in one_per_file(package).items()}


READERS: Registry[type[Reader]] = Registry("layout", "", _named("guidestore.embeddings.interchange.readers"))
