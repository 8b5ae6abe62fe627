"""The columns of runs that people filter on are those of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guidestore.embeddings.runs import Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query
from guidestore.warehouse.indexer import build_index

PLAIN = Run("a" * 64, "glioma", "grade", "published", 0, "I", decoder="mlp", classes=("G", "O"))
TOLD = replace(
    PLAIN,
    id="b" * 64,
    decoder="mlp, fusion=gated",
    labelled=50,
    device="cuda",
    training={"decoder_best_epoch": 2.0, "val_f1_micro": 0.2, "val_majority": 0.6},
)


@pytest.mark.parametrize("view", ["runs", "metrics"])
def test_labels_fusion_device_and_note_are_columns(store: EmbeddingStore, root: Path, view: str) -> None:
    metrics = [{"run": run.id, "part": "val", "metric": "auroc", "value": 0.5} for run in (PLAIN, TOLD)]
    with store.begin("runs") as transaction:
        transaction.write_runs([PLAIN, TOLD], metrics, [], inputs={PLAIN.id: [], TOLD.id: []})
    build_index(store)
    sql = f"SELECT run, labelled, fusion, device, note, decoder FROM {view} ORDER BY run"
    rows = query(root, sql).table.to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (PLAIN.id, "all", "", "", "", "mlp"),
        (TOLD.id, "50", "gated", "cuda", TOLD.note, "mlp, fusion=gated"),
    ]
    assert "best epoch of the decoder 2; micro F1 0.20 on val" in TOLD.note
