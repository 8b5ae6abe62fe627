"""Scores stored heads on test: from their weights and the codes they were trained beside, once and when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import PairedCodes
from guidestore.flows.guiding.commit import metric_rows, prediction_rows
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.conformal import conformal_of
from guidestore.heads.input_rows import input_row
from guidestore.warehouse.runs import load_runs, scored_runs


def score_test(store: EmbeddingStore, runs: Sequence[str], progress: Progress = no_progress) -> int:
    """Predicts the test cases by those of the `runs` that were not yet scored on them; says how many those were.

    The cases are those of the snapshot that a run was trained on. Runs that diverged are left out. Raises
    GuidestoreError.
    """
    snapshot = store.snapshot()
    done = scored_runs(snapshot, "test")
    waiting = [run for run in load_runs(snapshot, runs) if run.status == "ok" and run.id not in done]
    if not waiting:
        return 0
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in waiting:
        codes = (run.snapshot, run.cohort, run.target, run.inferior, run.superior, run.split, run.fold)
        groups.setdefault(codes, []).append(run)
    with one_thread(), store.begin(f"{len(waiting)} heads scored on test", read_at=snapshot.read_at) as transaction:
        for members in counted(groups.values(), len(groups), "scoring test", progress):
            paired = _paired(store, members[0])
            for run in members:
                metrics, predictions = _scored(snapshot, run, paired)
                recipe = {"run": run.id, "part": "test"}
                for kind, rows in (("metrics", metrics), ("predictions", predictions)):
                    transaction.write_rows(kind, rows, cohort=run.cohort, recipe=recipe)
    return len(waiting)


def _paired(store: EmbeddingStore, run: Run) -> PairedCodes:
    """The codes that a run was trained beside. Raises GuidestoreError."""
    if run.inferior is None or run.superior is None:
        raise InvalidInputError(f"run {run.id[:12]} names no two code sets, so it cannot be scored; leave it out")
    return pair(
        store.snapshot(run.snapshot),
        cohort=run.cohort,
        target=run.target,
        inferior=run.inferior,
        superior=run.superior,
        split=run.split,
        fold=run.fold,
        kinds=KINDS,
    )


def _scored(snapshot: Snapshot, run: Run, paired: PairedCodes) -> tuple[list[dict], list[dict]]:
    """Rows of schemas ``metrics`` and ``predictions`` of one run on test."""
    from guidestore.heads.trained import metrics_by_part

    rows = paired.rows("test", input_row(run.row).has(paired))
    if not len(rows):
        return [], []
    outputs = _predicted(snapshot, run, paired, rows)
    shown = metric_rows(run.id, metrics_by_part(paired, rows, outputs, run.reference))
    case_ids = [paired.case_ids[row] for row in rows]
    told = prediction_rows(
        run.id, paired, case_ids, paired.parts[rows], paired.y[rows], outputs, reference=run.reference,
        conformal=conformal_of(run.training),
    )  # fmt: skip
    return shown, told


def _predicted(snapshot: Snapshot, run: Run, paired: PairedCodes, rows: np.ndarray) -> np.ndarray:
    """(m, k) of the cases at `rows`."""
    from guidestore.heads.prediction import predict_row

    components = {}
    for role, artifact in run.weights.items():
        tensors, entry = snapshot.weights(artifact)
        components[role] = (entry.meta["config"], tensors)
    codes = (paired.inferior_nd[rows], paired.superior_nd[rows])
    return predict_row(run.row, components, *codes, horizon=run.reference)
