"""Predictions of a baseline -> TrainedHead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import Component, TrainedHead
from guidestore.heads.metrics import evaluate
from guidestore.heads.row_training import RowsJob


def outcome(
    job: RowsJob,
    facts: Mapping[str, float],
    components: Mapping[str, Component],
    predict: Callable[[np.ndarray], np.ndarray],
    **common: Any,
) -> TrainedHead:
    """The head that predicts the val and test cases of `job` with z_I by `predict`, (m, d_I) -> (m, k)."""
    paired = job.paired
    shown = np.flatnonzero(np.isin(paired.parts, ("val", "test")) & paired.has_inferior)
    parts, labels = paired.parts[shown], paired.labels[shown]
    probabilities = np.zeros((0, len(paired.classes)))
    try:
        if len(shown):
            probabilities = predict(paired.inferior_nd[shown])
    except DivergedError as error:
        return diverged_head(job, error, **common)
    metrics = {}
    for part in ("val", "test"):
        scored = (parts == part) & (labels >= 0)
        if scored.any():
            metrics[part] = evaluate(labels[scored], probabilities[scored], paired.classes)
    return TrainedHead(
        mode=job.mode,
        seed=job.seed,
        status="ok",
        case_ids=tuple(paired.case_ids[i] for i in shown),
        parts=parts,
        labels=labels,
        probabilities=probabilities,
        metrics=metrics,
        components=components,
        facts=facts,
        **common,
    )


def diverged_head(job: RowsJob, error: DivergedError | str, **common: Any) -> TrainedHead:
    """The head of a fit that left the finite numbers."""
    return TrainedHead(mode=job.mode, seed=job.seed, status="diverged", message=str(error), **common)
