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
    sql = f"SELECT run, kind, unit, labelled, fusion, device, note, decoder FROM {view} ORDER BY run"
    rows = query(root, sql).table.to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (PLAIN.id, "classes", "", "all", "", "", "", "mlp"),
        (TOLD.id, "classes", "", "50", "gated", "cuda", TOLD.note, "mlp, fusion=gated"),
    ]
    assert "best epoch of the decoder 2; micro F1 0.20 on val" in TOLD.note


def test_runs_of_other_kinds_are_ranked_by_the_metric_of_their_kind(store: EmbeddingStore, root: Path) -> None:
    of_os = replace(PLAIN, target="os", kind="survival", target_unit="months", classes=(), training={"horizon": 30.0})
    runs = [replace(of_os, id=letter * 64) for letter in "cd"]
    metrics = [
        {"run": run.id, "part": "val", "metric": metric, "value": value}
        for run, of_run in zip(runs, ((0.6, 0.9), (0.7, 0.8)), strict=True)
        for metric, value in zip(("uno_c", "balanced_accuracy"), of_run, strict=True)
    ]
    predictions = [
        {"run": runs[0].id, "cohort": "glioma", "case_id": "C1", "part": "val", "risk": 1.5, "times": [6.0, 12.0],
         "survival": [0.9, 0.7]}
    ]  # fmt: skip
    label = {"cohort": "glioma", "case_id": "C1", "target": "os", "time": 8.0, "event": True}
    with store.begin("runs") as transaction:
        transaction.write_rows("labels", [label], cohort="glioma")
        transaction.write_runs(runs, metrics, predictions, inputs={run.id: [] for run in runs})
    build_index(store)
    best = query(root, "SELECT run, val_score FROM best_runs('os')").table.to_pylist()
    assert [(row["run"], row["val_score"]) for row in best] == [("d" * 64, 0.7), ("c" * 64, 0.6)]
    joined = query(
        root,
        "FROM predictions p JOIN labels l USING (cohort, case_id, target) "
        "SELECT p.kind, p.unit, p.risk, p.survival, l.time, l.event",
    ).table.to_pylist()
    assert joined == [
        {"kind": "survival", "unit": "months", "risk": 1.5, "survival": [0.9, 0.7], "time": 8.0, "event": True}
    ]
