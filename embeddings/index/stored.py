"""The index of a large code set as an artifact: built once per codes, metric and parameters, then read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.index.faiss_index import PARAMETERS, FaissIndex, build
from guidestore.embeddings.index.metric import Metric
from guidestore.embeddings.log_table import entry_of
from guidestore.embeddings.recipe import index_artifact
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.tables import read_verified
from guidestore.embeddings.types import CodeSetKey
from guidestore.embeddings.words import count_of

VERSION = 1
"""Of the build; raise it when the same codes would give another index."""


def stored_index(
    snapshot: Snapshot, key: CodeSetKey, artifacts: Sequence[str], metric: Metric, note: Callable[[str], None]
) -> tuple[FaissIndex, Mapping[str, Any]]:
    """The index of the codes `artifacts` (ids of all codes of `key` in the snapshot) and its `meta`.

    Where the store has none it is built, which `note` is told, and committed. Raises CorruptArtifactError on a damaged
    file, CommitConflictError if a case was purged while it was built, StorageError.
    """
    digest = codes_digest(artifacts)
    recipe = {
        "cohort": key.cohort,
        "modality": key.modality,
        "encoder_digest": key.encoder_digest,
        "codes": digest,
        "metric": metric,
        "index": "ivf_flat",
        "parameters": PARAMETERS,
        "version": VERSION,
    }
    artifact = index_artifact(recipe)
    entry = _live(snapshot, artifact)
    if entry is None:
        store = EmbeddingStore(snapshot.storage)  # may know more than the snapshot
        entry = _live(store.snapshot(), artifact) or _built(store, snapshot, key, recipe, len(artifacts), note)
    return _read(snapshot, entry, metric), entry.meta


def _built(
    store: EmbeddingStore,
    snapshot: Snapshot,
    key: CodeSetKey,
    recipe: Mapping[str, Any],
    count: int,
    note: Callable[[str], None],
) -> Entry:
    """Builds and commits the index; the entry that counts: another process may have been first."""
    note(f"building the index of {count_of(count, 'code')} of {key}, once")
    built = build(snapshot.codes(key).codes_nd, recipe["metric"])
    described = {name: value for name, value in asdict(built).items() if name != "data"}
    with store.begin(f"index of {key}", read_at=snapshot.read_at) as transaction:
        artifact = transaction.write_index(
            key,
            built.data,
            recipe=recipe,
            meta={**described, "recipe": recipe},
            inputs=(recipe["codes"], key.encoder_digest),
        )
    return store.snapshot().entry(artifact)


def _live(snapshot: Snapshot, artifact: str) -> Entry | None:
    """An index as the log has it now: that of an old snapshot's codes is of a later commit."""
    stands = (pc.field("artifact") == artifact) & pc.field("removed_at").is_null()
    rows = snapshot.log.filter(stands).to_pylist()
    return entry_of(rows[0]) if rows else None


def codes_digest(artifacts: Sequence[str]) -> str:
    """sha256 over the sorted artifact ids of the codes, a line each."""
    return hashlib.sha256("".join(f"{id_}\n" for id_ in sorted(artifacts)).encode()).hexdigest()


def _read(snapshot: Snapshot, entry: Entry, metric: Metric) -> FaissIndex:
    (file,) = entry.files
    data = read_verified(snapshot.storage, file)
    try:
        return FaissIndex(data, metric)
    except RuntimeError as error:
        raise InvalidInputError(
            f"{file.path} is whole, but this faiss cannot read it: a newer one wrote it; upgrade faiss"
        ) from error
