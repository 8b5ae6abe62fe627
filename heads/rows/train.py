"""Trains the input rows of many training sets at once: first every G, then every decoder, then the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import INPUT_ROWS, Arm, S
from guidestore.heads.rows.checking import check_job
from guidestore.heads.rows.decoders import DecoderFits, Decoders
from guidestore.heads.rows.guidance import Guided, Variant, fit_all
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.reading import read
from guidestore.heads.shared_codes import SharedCodes
from guidestore.heads.trained import Component, TrainedHead


def train_rows(jobs: Sequence[RowsJob], *, device: str = "cpu") -> list[list[TrainedHead]]:
    """Per job: train its heads on train, choose on val, predict val and test once; in the order of its arms.

    Permutation p of the shuffled-pairs control trains G with the job's seed on pairs shuffled by (seed, p). device:
    where networks train. G is fitted on train pairs, labelled or not, through the decoder of row S (matched) or D_S
    where its loss says so; decoders on the labelled train rows that have the modalities of the row, with val alike for
    early stopping. G(I)+I is fitted on the same cases as I. All jobs are fitted at once: jobs of the same pairs, seed
    and guidance share each G, rows without G are shared by all guidance models, rows with one code by all fusions, and
    a head does not depend on its company.

    All input is checked before anything is trained. A fit that diverges marks the heads that use it (status 'diverged')
    and harms no other. Raises InvalidInputError.
    """
    for job in jobs:
        check_job(job)
    codes = SharedCodes()
    decoders = DecoderFits(codes, device)
    through = {number: job for number, job in enumerate(jobs) if job.through_decoder}
    trained = decoders.fit(jobs, [[Arm(S)] if number in through else [] for number in range(len(jobs))], {})
    teachers = {number: job.d_s or trained[number, Arm(S)] for number, job in through.items()}
    guided = fit_all(jobs, teachers, codes, device=device)
    fitted = decoders.fit(jobs, [job.arms for job in jobs], guided)
    return [[_head(number, job, arm, guided, fitted, codes) for arm in job.arms] for number, job in enumerate(jobs)]


def _head(
    number: int, job: RowsJob, arm: Arm, every: Mapping[Variant, Guided], decoders: Decoders, codes: SharedCodes
) -> TrainedHead:
    """The head of one arm predicted with what was fitted, or marked as diverged."""
    row, trained_as, stored = INPUT_ROWS[arm.row], job.trained_as(arm.row), job.stored(arm.row)
    guided = every[number, arm.control, arm.permutation] if row.has_g else None
    head = TrainedHead(
        *(arm.row, job.mode, str(job.guidance) if row.has_g else "", job.decoder_shown(arm.row)),
        *(arm.control, arm.permutation, job.seed),
        n_pairs=len(job.pairs) if row.has_g else 0,
        n_train=len(job.labelled("train", trained_as)) if trained_as else 0,
    )
    decoder_arm = job.decoder_arm(arm)
    decoder: Any = decoders[number, decoder_arm] if decoder_arm else stored
    for part in (guided.model if guided else None, decoder):
        if isinstance(part, DivergedError):
            return head.diverged(part)
    components: dict[str, Component] = {"decoder": (decoder.config, decoder.tensors())}
    facts = {f"decoder_{name}": value for name, value in decoder.facts.items()} if decoder_arm else {}
    if guided is not None and not isinstance(guided.model, DivergedError):
        components["guidance"] = (guided.model.config, guided.model.tensors())
        facts |= {f"guidance_{name}": value for name, value in guided.model.facts.items()}
        if guided.without_fold and row.cross_fits:
            facts["guidance_cross_fit"] = float(job.cross_fit)
    return replace(head, components=components, facts=facts).predicting(
        job.paired, row.has(job.paired), lambda rows_n: decoder.predict_proba(read(job, arm.row, rows_n, guided, codes))
    )
