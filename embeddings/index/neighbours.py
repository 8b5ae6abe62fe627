"""The cases nearest to a case, or to a code, in one code set of one snapshot."""

from __future__ import annotations

import difflib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.index.exact import ExactIndex
from guidestore.embeddings.index.flat import has_faiss
from guidestore.embeddings.index.metric import Metric, check_metric, prepared
from guidestore.embeddings.index.protocol import Index
from guidestore.embeddings.index.stored import stored_index
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey, CodeSetName
from guidestore.embeddings.words import count_of

EXACT_UP_TO = 200_000
"""Codes of a set that needs no index: comparing all of 200,000 x 256 takes 23 ms on 2 cores, less than reading them. At
100,000 codes without much structure an index reads most of its lists, and gains nothing."""
_SUGGEST_AMONG = 20_000
"""Cases among which a misspelt one is looked for: 0.3 s."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A case near the one that was asked for, by the nearest of its images."""

    case_id: str
    image_id: str
    of_image: str
    """Image of the asked case that it is nearest to; '' for a code that was handed over."""
    value: float
    """Cosine similarity, or Euclidean distance."""


@dataclass(frozen=True, eq=False)
class CodeIndex:
    """Neighbours in one code set under one metric; made by `open_index`, kept for many questions.

    A case is near by the nearest pair of its images and those asked for, and comes once; so SQL's neighbours() has it.
    """

    key: CodeSetKey
    metric: Metric
    case_ids: tuple[str, ...]
    """Of each row, sorted."""
    image_ids: tuple[str, ...]
    index: Index
    meta: Mapping[str, Any] | None
    """Of the stored index: size, lists, probes, recall (at 10), faiss, recipe; None where all codes are compared."""
    snapshot: int

    @property
    def not_finite(self) -> int:
        """Codes that hold NaN or infinity, which are nobody's neighbours."""
        return len(self.case_ids) - self.index.size

    def of_case(self, case_id: str, k: int = 10, *, image_id: str = "") -> list[Neighbour]:
        """The k nearest other cases, nearest first; fewer where there are fewer. All images of the case ask, or one.

        Raises NotFoundInStoreError if the case, or its image, has no code here, InvalidInputError if none is finite.
        """
        rows = self._rows_of(case_id, image_id)
        codes = {row: code_d for row in rows if (code_d := self.index.code(row)) is not None}
        if not codes:
            raise InvalidInputError(
                f"the code of case {case_id} in {self.key} is not finite, so it has no neighbours; "
                "encode or import the case again"
            )
        of_images = [self.image_ids[row] for row in codes]
        return self._cases(np.stack(list(codes.values())), k, of_images, case_id)

    def of_codes(self, codes_md: np.ndarray, k: int = 10) -> list[list[Neighbour]]:
        """The k nearest cases of each of m codes (m, d) of the same encoder. Raises InvalidInputError."""
        codes_md = np.asarray(codes_md, dtype=np.float32)
        if codes_md.ndim != 2 or codes_md.shape[1] != self.index.width:
            raise InvalidInputError(
                f"codes of shape {codes_md.shape} have no neighbours in {self.key}; give (m, {self.index.width})"
            )
        if not np.isfinite(codes_md).all():
            raise InvalidInputError(f"a code that is not finite has no neighbours in {self.key}; leave it out")
        return [self._cases(code_d[None], k, [""], "") for code_d in prepared(codes_md, self.metric)]

    def _rows_of(self, case_id: str, image_id: str) -> list[int]:
        rows = range(bisect_left(self.case_ids, case_id), bisect_right(self.case_ids, case_id))
        if not rows:
            known = sorted(set(self.case_ids))
            near = difflib.get_close_matches(case_id, known, n=1) if len(known) <= _SUGGEST_AMONG else []
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"it has {count_of(len(known), 'case')}, as {', '.join(known[:3])}"
            )
            raise NotFoundInStoreError(f"case {case_id} has no code in {self.key} at snapshot {self.snapshot}; {hint}")
        of_image = [row for row in rows if image_id in ("", self.image_ids[row])]
        if not of_image:
            images = ", ".join(self.image_ids[row] for row in rows)
            raise NotFoundInStoreError(f"case {case_id} has no image {image_id} in {self.key}; it has {images}")
        return of_image

    def _cases(self, queries_md: np.ndarray, k: int, of_images: list[str], left_out: str) -> list[Neighbour]:
        if k < 1:
            raise InvalidInputError(f"{k} neighbours were asked for; ask for 1 or more")
        if not self.index.size:
            return []
        wanted = k + 8  # the images of the case itself, and second images of others, take places too
        while True:
            wanted = min(wanted, self.index.size)
            values_mk, rows_mk = self.index.search(queries_md, wanted)
            nearest = [self._nearest_of_each(values_mk[i], rows_mk[i], left_out) for i in range(len(queries_md))]
            if wanted == self.index.size or min(len(hits) for hits in nearest) >= k:
                break
            wanted *= 4
        sign = -1 if self.metric == "cosine" else 1
        pairs = sorted(
            (sign * value, self.case_ids[row], row, image)
            for hits, image in zip(nearest, of_images, strict=True)
            for value, row in hits
        )
        best: dict[str, Neighbour] = {}
        for signed, case_id, row, image in pairs:
            best.setdefault(case_id, Neighbour(case_id, self.image_ids[row], image, sign * signed))
        return list(best.values())[:k]

    def _nearest_of_each(self, values_k: np.ndarray, rows_k: np.ndarray, left_out: str) -> list[tuple[float, int]]:
        """(value, row) of the first row of each case."""
        first: dict[str, tuple[float, int]] = {}
        for value, row in zip(values_k.tolist(), rows_k.tolist(), strict=True):
            first.setdefault(self.case_ids[row], (value, row))
        first.pop(left_out, None)
        return list(first.values())


def open_index(
    snapshot: Snapshot,
    code_set: CodeSetKey | CodeSetName | str,
    *,
    metric: Metric = "cosine",
    exact: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> CodeIndex:
    """The index of a set of case codes, as a key or a name (`Snapshot.code_set`).

    Up to EXACT_UP_TO codes, or with `exact`, all are compared and nothing is stored. Beyond, the first call builds an
    approximate index, says so to `note`, and commits it; its measured recall is in `meta`. Without faiss
    all are compared, by torch. Raises InvalidInputError on bags, NotFoundInStoreError, AmbiguousNameError,
    CorruptArtifactError.
    """
    check_metric(metric)
    key = code_set if isinstance(code_set, CodeSetKey) else snapshot.code_set(code_set)
    if key.kind == "bag":
        raise InvalidInputError(
            f"code set {key} holds bags, and a bag has no single code to compare; pool them into case codes first "
            "(`guidestore encode … --encoder mean_pooling`)"
        )
    rows = snapshot.select(
        kind="codes", cohort=key.cohort, modality=key.modality, encoder_digest=key.encoder_digest
    ).select(["case_id", "image_id", "artifact"])
    if not rows.num_rows:
        raise NotFoundInStoreError(f"no codes of {key} at snapshot {snapshot.version}")
    rows = rows.sort_by([(name, "ascending") for name in rows.column_names])  # the order of `Snapshot.codes`
    compared = exact or rows.num_rows <= EXACT_UP_TO
    if not compared and not has_faiss():
        note(f"faiss is not installed, so each question compares all {rows.num_rows:,} codes")
        compared = True
    if compared:
        index, meta = ExactIndex(snapshot.codes(key).codes_nd, metric), None
    else:
        index, meta = stored_index(snapshot, key, rows["artifact"].to_pylist(), metric, note)
    case_ids, image_ids = (tuple(rows[name].to_pylist()) for name in ("case_id", "image_id"))
    return CodeIndex(key, metric, case_ids, image_ids, index, meta, snapshot.version)


def nearest(
    snapshot: Snapshot,
    code_set: CodeSetKey | CodeSetName | str,
    case_id: str,
    k: int = 10,
    *,
    image_id: str = "",
    metric: Metric = "cosine",
    exact: bool = False,
) -> list[Neighbour]:
    """The k cases nearest to a case, itself left out: `open_index`, then `CodeIndex.of_case`."""
    return open_index(snapshot, code_set, metric=metric, exact=exact).of_case(case_id, k, image_id=image_id)
