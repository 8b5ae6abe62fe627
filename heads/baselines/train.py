"""Trains baselines, in the shape of heads.rows."""

from __future__ import annotations

from collections.abc import Sequence

from guidestore.embeddings.errors import unknown_name
from guidestore.heads.baselines.distillation import DistillationSettings, distil
from guidestore.heads.baselines.ensemble import ensemble
from guidestore.heads.checks import check_number
from guidestore.heads.input_rows import BASELINE_ROWS, ENSEMBLE, GD, KD, Arm, arms_of
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.trained import TrainedHead


def train_baselines(
    jobs: Sequence[RowsJob],
    *,
    baselines: Sequence[str] = BASELINE_ROWS,
    permutations: int = 0,
    settings: DistillationSettings | None = None,
    device: str = "cpu",
) -> list[list[TrainedHead]]:
    """Per job: the `baselines` in the order of BASELINE_ROWS, then their controls.

    KD(I) and GD(I) read the job's decoder, which must be an mlp; E(I) its guidance too. The job's arms are not read.
    Train, val and test as in heads.rows.train.train_rows. Raises InvalidInputError.
    """
    check_number(permutations, "permutations", 0, integer=True)
    for name in baselines:
        if name not in BASELINE_ROWS:
            raise unknown_name("baseline", name, BASELINE_ROWS)
    results: list[list[TrainedHead]] = [[] for _ in jobs]
    taught = [row for row in (KD, GD) if row in baselines]
    if taught:
        settings = settings or DistillationSettings()
        distilled = distil(jobs, taught, permutations=permutations, settings=settings, device=device)
        results = [own + more for own, more in zip(results, distilled, strict=True)]
    if ENSEMBLE in baselines:
        averaged = ensemble(jobs, permutations=permutations, device=device)
        results = [own + more for own, more in zip(results, averaged, strict=True)]
    places = {
        arm: place
        for place, arm in enumerate(arms_of([row for row in BASELINE_ROWS if row in baselines], permutations))
    }
    return [sorted(own, key=lambda head: places[Arm(head.row, head.control, head.permutation)]) for own in results]
