"""Trains baselines and predicts with them, in the shape of heads.input_rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.heads.baselines.distillation import GD, KD, DistillationSettings, distil
from guidestore.heads.baselines.ensemble import ENSEMBLE, ensemble, predict_ensemble
from guidestore.heads.checks import check_codes, check_number
from guidestore.heads.input_rows import Component, I, TrainedHead, predict_row
from guidestore.heads.row_training import RowsJob

BASELINES = (KD, GD, ENSEMBLE)


def train_baselines(
    jobs: Sequence[RowsJob],
    *,
    baselines: Sequence[str] = BASELINES,
    permutations: int = 0,
    settings: DistillationSettings | None = None,
    device: str = "cpu",
) -> list[list[TrainedHead]]:
    """Per job: the `baselines` in the order of BASELINES, then each permutation of their shuffled-pairs controls.

    KD(I) and GD(I) read the job's decoder, which must be an mlp; E(I) its guidance too. The job's places are not read.
    Train, val and test as in heads.input_rows.train_rows. Raises InvalidInputError.
    """
    check_number(permutations, "permutations", 0, integer=True)
    for name in baselines:
        if name not in BASELINES:
            raise unknown_name("baseline", name, BASELINES)
    results: list[list[TrainedHead]] = [[] for _ in jobs]
    taught = [row for row in (KD, GD) if row in baselines]
    if taught:
        settings = settings or DistillationSettings()
        distilled = distil(jobs, taught, permutations=permutations, settings=settings, device=device)
        results = [own + more for own, more in zip(results, distilled, strict=True)]
    if ENSEMBLE in baselines:
        averaged = ensemble(jobs, permutations=permutations, device=device)
        results = [own + more for own, more in zip(results, averaged, strict=True)]
    return [sorted(own, key=lambda head: head.permutation) for own in results]


def predict_baseline(row: str, components: Mapping[str, Component], z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_I) z_I -> (n, k) float64 probabilities of a trained baseline, from its components.

    Raises InvalidInputError.
    """
    if row not in BASELINES:
        raise unknown_name("baseline", row, BASELINES)
    needed = ("decoder", "guidance", "superior_decoder") if row == ENSEMBLE else ("decoder",)
    for name in needed:
        if name not in components:
            raise InvalidInputError(f"baseline {row} lacks its {name}; pass all components of the trained head")
    z_inferior_nd = check_codes(z_inferior_nd, f"baseline {row}: z_I")
    return predict_ensemble(components, z_inferior_nd) if row == ENSEMBLE else predict_row(I, components, z_inferior_nd)
