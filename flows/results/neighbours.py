"""The cases most like a case, with what a reader wants beside each: labels, and the part of a fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.index import CodeIndex, Neighbour, open_index
from guidestore.embeddings.index.faiss_index import RECALL_K
from guidestore.embeddings.index.metric import Metric
from guidestore.embeddings.pairing import class_targets, labels_of, parts_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import FoldScope, check_name
from guidestore.embeddings.words import count_of

_OWN = ("rank", "case_id", "image_id", "of_image", "similarity", "distance", "part")


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """Rows of one question, the columns in their order, and sentences on how they were looked up."""

    title: str
    rows: list[dict[str, Any]]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def neighbours(
    store: EmbeddingStore,
    case_id: str,
    code_set: str,
    *,
    k: int = 10,
    metric: Metric = "cosine",
    image_id: str = "",
    split: str = "",
    fold: int = -1,
    targets: Sequence[str] = (),
    at: int | str | None = None,
    exact: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> NeighbourTable:
    """The k cases nearest to a case in a code set (``COHORT/MODALITY/ENCODER[@DIGEST]``); the case itself is left out.

    `split` and `fold` choose one of several fold-trained sets, and add each neighbour's part of that fold; a set that
    was trained on a fold shows it unasked. `targets`: whose labels are shown; none: all of the cohort. An index that
    had to be built is committed, and `note` told so. Raises NotFoundInStoreError, AmbiguousNameError,
    InvalidInputError, FoldLeakageError.
    """
    check_name(case_id, "case id")
    if bool(split) != (fold >= 0):
        raise InvalidInputError("--split and --fold name one fold together; give both or neither")
    snapshot = store.snapshot(at)
    key = snapshot.code_set(code_set, split=split, fold=fold)
    index = open_index(snapshot, key, metric=metric, exact=exact, note=note)
    nearest = index.of_case(case_id, k, image_id=image_id)

    labels = _labels(snapshot, key.cohort, targets)
    scope = FoldScope.of(key.cohort, split, fold) if split else key.trained_on
    parts = parts_of(snapshot, key.cohort, scope.split, scope.fold) if scope.kind == "fold" else None
    rows = [
        _row(rank, neighbour, metric, {target: of_case.get(neighbour.case_id) for target, of_case in labels.items()})
        | ({"part": parts.get(neighbour.case_id)} if parts else {})
        for rank, neighbour in enumerate(nearest, start=1)
    ]
    several = len({neighbour.of_image for neighbour in nearest}) > 1
    value = "similarity" if metric == "cosine" else "distance"
    columns = ("rank", "case_id", "image_id", *(("of_image",) if several else ()), value, *map(_column, labels))
    own = ", ".join(f"{target} {of_case[case_id]}" for target, of_case in labels.items() if case_id in of_case)
    title = f"nearest to {case_id}{f' ({own})' if own else ''} in {key}"
    return NeighbourTable(title, rows, (*columns, *(("part",) if parts else ())), tuple(_notes(index, nearest, k)))


def _row(rank: int, neighbour: Neighbour, metric: Metric, labels: dict[str, str | None]) -> dict[str, Any]:
    return {
        "rank": rank,
        "case_id": neighbour.case_id,
        "image_id": neighbour.image_id,
        "of_image": neighbour.of_image,
        "similarity" if metric == "cosine" else "distance": neighbour.value,
        **{_column(target): label for target, label in labels.items()},
    }


def _column(target: str) -> str:
    return f"label_{target}" if target in _OWN else target


def _labels(snapshot: Snapshot, cohort: str, targets: Sequence[str]) -> dict[str, dict[str, str]]:
    """Target -> case_id -> class. Raises NotFoundInStoreError."""
    return {target: labels_of(snapshot, cohort, target)[1] for target in targets or class_targets(snapshot, cohort)}


def _notes(index: CodeIndex, nearest: Sequence[Neighbour], k: int) -> list[str]:
    notes = []
    if index.meta is None:
        notes.append(f"exact: compared with all {index.index.size:,} codes")
    else:
        notes.append(
            f"approximate: an index of {index.meta['size']:,} codes, of whose {index.meta['lists']:,} lists "
            f"{index.meta['probes']:,} are read; recall@{RECALL_K} {index.meta['recall']:.3f} against exact, measured "
            "when it was built; --exact compares all"
        )
    if index.not_finite:
        notes.append(f"{count_of(index.not_finite, 'code')} with NaN or infinity left out")
    if len(nearest) < k:
        notes.append(f"{k:,} were asked for, and {index.key} has {len(nearest):,} other cases")
    return notes
