"""What leaves the store for another tool: slides that are read a part at a time, case codes, labels and parts."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from guidestore.embeddings.bags import SHARD_ROWS
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.halves import as_float32
from guidestore.embeddings.plugins import Registry, one_per_file
from guidestore.embeddings.types import PARTS, Bag, CaseCodes, CodeSetKey
from guidestore.embeddings.words import count_of

_NAMED = 5


@dataclass(frozen=True, slots=True)
class OutgoingSlide:
    """One bag, not read yet. `name` names its files: the image id, or ``<case>_<image>`` where image ids repeat."""

    case_id: str
    image_id: str
    name: str
    tiles: int
    code_dim: int
    dtype: np.dtype
    has_places: bool
    read: Callable[[slice], Bag]

    def parts(self) -> Iterator[tuple[slice, Bag]]:
        """The bag in parts of at most 16,384 rows, one at least; what is no row (mpp, tile size) is in each."""
        for start in range(0, max(self.tiles, 1), SHARD_ROWS):
            place = slice(start, min(start + SHARD_ROWS, self.tiles))
            yield place, self.read(place)


@dataclass(frozen=True, slots=True)
class OutgoingBags:
    """A set of bags. slides: sorted by case and image. preprocessing: of the encoder."""

    key: CodeSetKey
    slides: tuple[OutgoingSlide, ...]
    preprocessing: Mapping[str, Any]
    version: str

    @property
    def filled(self) -> list[OutgoingSlide]:
        """Those with tiles."""
        return [slide for slide in self.slides if slide.tiles]


@dataclass(frozen=True, slots=True, eq=False)
class OutgoingCodes:
    """A set of case codes, sorted by case and image, and the version of what made them."""

    key: CodeSetKey
    codes: CaseCodes
    version: str

    def by_case(self) -> dict[str, np.ndarray]:
        """case_id -> (d,) float32: the mean of its codes, where it has several."""
        means = CaseMeans()
        for case_id, code in zip(self.codes.case_ids, self.codes.codes_nd, strict=True):
            means.add(case_id, code[None])
        return means.codes()


@dataclass(frozen=True, slots=True)
class OutgoingLabels:
    """A target: its classes in their order (() where it has none), and column -> case_id -> value.

    Columns: ``label`` of classes, grades and values; ``time`` and ``event`` of survival; else each label of many.
    """

    target: str
    classes: tuple[str, ...]
    columns: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """All that an export was asked for."""

    cohort: str
    snapshot: int
    bags: OutgoingBags | None
    codes: tuple[OutgoingCodes, ...]
    labels: OutgoingLabels | None
    split: str
    folds: Mapping[int, Mapping[str, str]]
    """fold -> case_id -> part."""
    stamp_version: str
    notes: list[str] = field(default_factory=list)
    """Sentences about what a writer left out or made; writers add to it."""

    def need_bags(self, layout: str) -> OutgoingBags:
        """Raises InvalidInputError where no bags were asked for."""
        if self.bags is None:
            raise InvalidInputError(
                f"layout {layout} holds bags of tiles, and {self.codes[0].key} holds case codes; name a set of bags "
                "with --code-set"
            )
        return self.bags

    def need_classes(self, layout: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """Classes, and case_id -> class. Raises InvalidInputError."""
        if self.labels is None:
            raise InvalidInputError(f"layout {layout} needs labels: name a target of {self.cohort} with --target")
        if not self.labels.classes or "label" not in self.labels.columns:
            raise InvalidInputError(
                f"layout {layout} knows classes alone, and target {self.labels.target} has none; name another --target"
            )
        return self.labels.classes, self.labels.columns["label"]

    def need_folds(self, layout: str) -> Mapping[int, Mapping[str, str]]:
        """Raises InvalidInputError where the cohort has no split, or several and none was named."""
        if not self.folds:
            raise InvalidInputError(f"layout {layout} needs parts: name a split of {self.cohort} with --split")
        return self.folds

    def pooled(self, means: CaseMeans, what: str) -> dict[str, np.ndarray]:
        """case_id -> (d,) float32: the codes that were asked for, else the mean of the case's tiles, which is said."""
        if self.codes:
            return self.codes[0].by_case()
        self.notes.append(
            f"{what} are the mean of all tiles of a case; name a set of case codes with --code-set for others"
        )
        return means.codes()

    def left_out(self, what: str, why: str, names: Iterable[str]) -> None:
        """Names what the folder lacks."""
        listed = sorted(set(names))
        if listed:
            shown = ", ".join(listed[:_NAMED]) + (", …" if len(listed) > _NAMED else "")
            self.notes.append(f"left out: {count_of(len(listed), what)} {why}: {shown}")


class CaseMeans:
    """The mean of all rows of each case, summed in float64."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self._counts: Counter[str] = Counter()

    def add(self, case_id: str, rows_nd: np.ndarray) -> None:
        if len(rows_nd):
            total = as_float32(rows_nd).sum(axis=0, dtype=np.float64)
            self._sums[case_id] = self._sums[case_id] + total if case_id in self._sums else total
            self._counts[case_id] += len(rows_nd)

    def codes(self) -> dict[str, np.ndarray]:
        """case_id -> (d,) float32, sorted by case."""
        return {case: (self._sums[case] / self._counts[case]).astype(np.float32) for case in sorted(self._sums)}


def need_places(slide: OutgoingSlide, layout: str) -> None:
    """Raises InvalidInputError where the bag has no coordinates."""
    if not slide.has_places:
        raise InvalidInputError(
            f"slide {slide.name} of case {slide.case_id} came without coordinates, which layout {layout} needs; choose "
            "eva, npz or parquet"
        )


def need_mpp(slide: OutgoingSlide, bag: Bag, layout: str) -> float:
    """um per level-0 pixel. Raises InvalidInputError where nobody said it, or the tiles' size."""
    if not bag.mpp or not bag.tile_size_level0_px:
        what = "um per pixel (mpp)" if not bag.mpp else "tile size in level-0 pixels"
        raise InvalidInputError(
            f"slide {slide.name} of case {slide.case_id} has no {what}, which layout {layout} needs; import its bags "
            "again with one (--mpp, or a table of slides)"
        )
    return bag.mpp


def part_counts(out: Outgoing, folds: Mapping[int, Mapping[str, str]], cases: set[str]) -> None:
    """Notes the parts of folds that none of `cases` is in: other tools fail on them."""
    for fold, parts in folds.items():
        empty = [part for part in PARTS if part not in {parts.get(case) for case in cases}]
        if empty:
            out.notes.append(f"fold {fold} of split {out.split} has no cases in {' and '.join(empty)}")


_READ_AS_MISSING = frozenset(
    {
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
    }
    | {"NaN", "None", "n/a", "nan", "null"}
)
"""What pandas.read_csv takes for no value."""


def check_ids(
    ids: Iterable[str], what: str, tool: str, reads: Literal["text", "numbers", "no numbers"] = "text"
) -> None:
    """Refuses ids that a tool's CSV reader (pandas) would not read back as they are.

    reads: as text; as numbers, where all are; or so that numbers fail. Raises InvalidInputError.
    """
    listed = sorted(set(ids))
    lost = [text for text in listed if text in _READ_AS_MISSING]
    if lost:
        raise InvalidInputError(
            f"{tool} would read the {what} {lost[0]!r} as no value; rename it in the source, or export npz or parquet"
        )
    if reads == "text" or not listed or not all(_is_number(text) for text in listed):
        return
    changed = [text for text in listed if reads == "no numbers" or not (text.isdigit() and str(int(text)) == text)]
    if changed:
        raise InvalidInputError(
            f"{tool} would read the {what}s as numbers, since all look like some ({changed[0]} does), and not find "
            "them again; import them under names with a letter, or export as npz or parquet"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    """Writes a table in UTF-8 with a header."""
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


class Writer(ABC):
    """Writes folders that a tool reads."""

    tool: ClassVar[str]
    """As its users call it."""
    keeps_nan: ClassVar[bool] = False
    """Whether codes that lack values go out; other tools would train on NaN."""

    @abstractmethod
    def write(self, out: Outgoing, folder: Path) -> None:
        """Fills the new `folder`, one slide in memory at a time at most.

        Raises InvalidInputError where the layout cannot hold what was asked for.
        """


WRITERS: Registry[type[Writer]] = Registry(
    "layout",
    "",
    {
        name.replace("_", "-"): place
        for name, place in one_per_file("guidestore.embeddings.interchange.writers").items()
    },
)
