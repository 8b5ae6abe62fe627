"""Commits of an encode: what encoders are, codes in batches, and the quarantine of what could not be read."""

from __future__ import annotations

import datetime
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.transaction import Transaction
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.embeddings.words import count_of
from guidestore.encoders.sources import Item
from guidestore.flows.encoding.stored_encoders import StoredEncoder
from guidestore.flows.work.reporting import EncodeReport

BATCH_CODES = 64
BATCH_SECONDS = 30.0
"""Case codes commit in batches of this many or this long: 1,500 one-row files would read 30 times slower than one."""


def register_encoder(transaction: Transaction, spec: EncoderSpec, config: Mapping[str, Any]) -> None:
    """Records what an encoder digest stands for, so that prediction can build it again."""
    transaction.write_rows("encoders", [StoredEncoder.of(spec, config).row()], recipe={"encoder_digest": spec.digest})


@dataclass(frozen=True, slots=True)
class OlderCodes:
    """Codes of images that are encoded again, because of another mpp, file or pooled bag: the new ones supersede them.

    A case with two codes of one encoder would be left out of every training.
    """

    by_image: Mapping[tuple[str, str], Sequence[Entry]]
    """(case_id, image_id) -> entries."""

    @classmethod
    def of(cls, snapshot: Snapshot, key: CodeSetKey, items: Sequence[Item]) -> Self:
        """Those of `items`, which lack the code that is to be made."""
        images = {(item.case_id, item.image_id) for item in items}
        older: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in snapshot.code_set_entries(key):
            if (entry.case_id, entry.image_id) in images:
                older[entry.case_id, entry.image_id].append(entry)
        return cls(older)

    def supersede(self, transaction: Transaction, item: Item, artifact: str) -> None:
        """`artifact`: of the item's new code, written in this transaction."""
        for entry in self.by_image.get((item.case_id, item.image_id), ()):
            if entry.artifact != artifact and transaction.exists(entry.artifact):
                transaction.replace(entry, by=artifact)


class CodeBatch:
    """Collects case codes and commits them by BATCH_CODES or BATCH_SECONDS, and what is left on the way out."""

    def __init__(
        self,
        store: EmbeddingStore,
        key: CodeSetKey,
        spec: EncoderSpec,
        config: Mapping[str, Any],
        older: OlderCodes,
        read_at: int,
        device: str = "",
    ) -> None:
        """device: where the codes are made, in words."""
        self._store, self._key, self._spec, self._config = store, key, spec, config
        self._older, self._read_at, self._device = older, read_at, device
        self._held: list[tuple[Item, np.ndarray]] = []
        self._attention: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def add(self, item: Item, code_d: np.ndarray, attention: Sequence[Mapping[str, Any]] = ()) -> None:
        """attention: image_id, bag, branch and attention of the item's slides."""
        key = self._key
        common = {
            "cohort": key.cohort,
            "case_id": item.case_id,
            "modality": key.modality,
            "encoder": key.encoder,
            "encoder_digest": key.encoder_digest,
        }
        self._held.append((item, code_d))
        self._attention += [{**common, **row} for row in attention]
        if len(self._held) >= BATCH_CODES or time.monotonic() - self._since > BATCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            items = [item for item, _ in self._held]
            codes = CaseCodes(
                tuple(item.case_id for item in items),
                np.stack([code_d for _, code_d in self._held]).astype(np.float32),
                tuple(item.image_id for item in items),
                self._key,
            )
            message = f"{self._key}: {count_of(len(items), 'code')}"
            with self._store.begin(message, device=self._device, read_at=self._read_at) as transaction:
                register_encoder(transaction, self._spec, self._config)
                artifacts = transaction.write_codes(
                    codes, input_digests=[item.digests for item in items], pixels=[item.pixels for item in items]
                )
                for item, artifact in zip(items, artifacts, strict=True):
                    self._older.supersede(transaction, item, artifact)
                if self._attention:
                    recipe = {"attention_of": artifacts}
                    transaction.write_rows("attention", self._attention, cohort=self._key.cohort, recipe=recipe)
        self._held, self._attention, self._since = [], [], time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()


@dataclass(frozen=True)
class Quarantine:
    """Turns an InvalidInputError of one case into a quarantine row, so that the other cases go on."""

    store: EmbeddingStore
    key: CodeSetKey
    item: Item
    report: EncodeReport
    hidden: Mapping[str, str]
    """What must not reach the store: the paths of a pseudonymized cohort, which hold patient ids -> image id."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, InvalidInputError):
            return False
        reason = str(error).replace("\n", "\\n")  # of a file's name
        for path, image_id in self.hidden.items():
            reason = reason.replace(path.replace("\n", "\\n"), f"image {image_id}")
        self.report.failed[self.item.case_id] = reason
        what = {
            "cohort": self.key.cohort,
            "case_id": self.item.case_id,
            "image_id": self.item.image_id,
            "modality": self.key.modality,
            "encoder": self.key.encoder,
            "encoder_digest": self.key.encoder_digest,
            "reason": reason,
        }
        row = {**what, "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        with self.store.begin(f"quarantine of {self.item.case_id}") as transaction:
            transaction.write_rows("quarantine", [row], cohort=self.key.cohort, recipe=what)
        return True
