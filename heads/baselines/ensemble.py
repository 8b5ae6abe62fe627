"""Decision-level ensemble: what D_I says of z_I and what D_S says of G(z_I), averaged; nothing is trained on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guidestore.heads.input_rows import ENSEMBLE, GUIDED, INPUT_ROWS, I, arms_of
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.train import train_rows
from guidestore.heads.trained import TrainedHead


def ensemble(jobs: Sequence[RowsJob], *, permutations: int, device: str) -> list[list[TrainedHead]]:
    """Per job: E(I), then its controls. Of the job's arms nothing is read."""
    controls = INPUT_ROWS[ENSEMBLE].controls
    asked = [replace(job, arms=arms_of((I, GUIDED), permutations, controls, mode=job.mode)) for job in jobs]
    trained = train_rows(asked, device=device)
    return [
        [_averaged(job, inferior, guided) for guided in more]
        for job, (inferior, *more) in zip(jobs, trained, strict=True)
    ]


def _averaged(job: RowsJob, inferior: TrainedHead, guided: TrainedHead) -> TrainedHead:
    """E(I) of the heads of row I and of row G(I), which show the same cases: those with z_I."""
    head = replace(guided, row=ENSEMBLE, decoder=inferior.decoder, n_train=inferior.n_train)
    for member in (inferior, guided):
        if member.status == "diverged":
            return head.diverged(member.message)
    components = {
        "decoder": inferior.components["decoder"],
        "guidance": guided.components["guidance"],
        "superior_decoder": guided.components["decoder"],
    }
    facts = {**inferior.facts, **{k: v for k, v in guided.facts.items() if k.startswith("guidance_")}}
    mean = (inferior.probabilities + guided.probabilities) / 2
    return replace(head, components=components, facts=facts).predicting(
        job.paired, job.paired.has_inferior, lambda _: mean
    )
