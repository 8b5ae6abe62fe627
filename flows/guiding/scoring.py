"""Scores stored heads on test: from their weights and the codes they were trained beside, once and when asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.pairing import pair
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName, PairedCodes
from guidestore.flows.guiding.commit import prediction_rows
from guidestore.flows.results.runs import load_runs, scored_runs
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread


def score_test(store: EmbeddingStore, runs: Sequence[str], progress: Progress = no_progress) -> int:
    """Predicts the test cases by those of the `runs` that were not yet scored on them; says how many those were.

    The cases are those of the snapshot that a run was trained on. Runs that diverged are left out. Raises
    GuidestoreError.
    """
    snapshot = store.snapshot()
    facts, _ = load_runs(snapshot, runs)
    done = scored_runs(snapshot, "test")
    waiting = [fact for fact in facts if fact["status"] == "ok" and fact["run"] not in done]
    if not waiting:
        return 0
    groups: dict[tuple[Any, ...], list[dict]] = {}
    for fact in waiting:
        names = ("snapshot", "cohort", "target", "inferior", "superior", "split", "fold")
        groups.setdefault(tuple(fact[name] for name in names), []).append(fact)
    with one_thread(), store.begin(f"{len(waiting)} heads scored on test") as transaction:
        for (at, cohort, target, inferior, superior, split, fold), members in counted(
            groups.items(), len(groups), "scoring test", progress
        ):
            both = {"inferior": CodeSetName.parse(inferior), "superior": CodeSetName.parse(superior)}
            paired = pair(store.snapshot(at), cohort=cohort, target=target, split=split, fold=fold, **both)
            for fact in members:
                metrics, predictions = _scored(snapshot, fact, paired)
                recipe = {"run": fact["run"], "part": "test"}
                for kind, rows in (("metrics", metrics), ("predictions", predictions)):
                    transaction.write_rows(kind, rows, cohort=fact["cohort"], recipe=recipe)
    return len(waiting)


def _scored(snapshot: Snapshot, fact: Mapping[str, Any], paired: PairedCodes) -> tuple[list[dict], list[dict]]:
    """Rows of schemas ``metrics`` and ``predictions`` of one run on test."""
    from guidestore.heads.input_rows import input_row
    from guidestore.heads.trained import metrics_by_part

    rows = paired.rows("test", input_row(fact["row"]).has(paired))
    if not len(rows):
        return [], []
    probabilities = _predicted(snapshot, fact, paired, rows)
    shown = [
        {"run": fact["run"], "part": part, "metric": name, "value": float(value)}
        for part, values in metrics_by_part(paired, rows, probabilities).items()
        for name, value in values.items()
    ]
    case_ids = [paired.case_ids[row] for row in rows]
    return shown, prediction_rows(fact["run"], paired, case_ids, paired.parts[rows], paired.labels[rows], probabilities)


def _predicted(snapshot: Snapshot, fact: Mapping[str, Any], paired: PairedCodes, rows: np.ndarray) -> np.ndarray:
    """(m, k) of the cases at `rows`."""
    from guidestore.heads.prediction import predict_row

    components = {}
    for role, artifact in json.loads(fact["weights"]).items():
        tensors, entry = snapshot.weights(artifact)
        components[role] = (entry.meta["config"], tensors)
    return predict_row(fact["row"], components, paired.inferior_nd[rows], paired.superior_nd[rows])
