"""Decision-level ensemble: what D_I says of z_I and what D_S says of G(z_I), averaged; nothing is trained on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from guidestore.heads.baselines.outcome import diverged_head, outcome
from guidestore.heads.input_rows import BASELINE_ROWS, GUIDED, Component, I, TrainedHead, places_of, predict_row
from guidestore.heads.row_training import RowsJob, train_rows

ENSEMBLE = BASELINE_ROWS[2]


def ensemble(jobs: Sequence[RowsJob], *, permutations: int, device: str) -> list[list[TrainedHead]]:
    """Per job: E(I), then each permutation of the control whose G saw shuffled pairs. Of the job's places nothing is
    read."""
    trained = train_rows([replace(job, places=places_of((I, GUIDED), permutations)) for job in jobs], device=device)
    results: list[list[TrainedHead]] = []
    for job, (inferior, *guided) in zip(jobs, trained, strict=True):
        heads: list[TrainedHead] = []
        for head in guided:
            common = {
                "row": ENSEMBLE,
                "guidance": head.guidance,
                "decoder": inferior.decoder,
                "control": head.control,
                "permutation": head.permutation,
                "n_pairs": head.n_pairs,
                "n_train": inferior.n_train,
            }
            broken = [member.message for member in (inferior, head) if member.status == "diverged"]
            if broken:
                heads.append(diverged_head(job, broken[0], **common))
                continue
            components = {
                "decoder": inferior.components["decoder"],
                "guidance": head.components["guidance"],
                "superior_decoder": head.components["decoder"],
            }
            facts = {**inferior.facts, **{k: v for k, v in head.facts.items() if k.startswith("guidance_")}}
            mean = (inferior.probabilities + head.probabilities) / 2  # both rows show the cases with z_I
            heads.append(outcome(job, facts, components, lambda _, mean=mean: mean, **common))
        results.append(heads)
    return results


def predict_ensemble(components: Mapping[str, Component], z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_I) -> (n, k) float64 probabilities, from the components of E(I)."""
    guided = {"guidance": components["guidance"], "decoder": components["superior_decoder"]}
    return (predict_row(I, components, z_inferior_nd) + predict_row(GUIDED, guided, z_inferior_nd)) / 2
