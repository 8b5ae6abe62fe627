"""Trains the input rows of many training sets at once: first every G, then every decoder, then the predictions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.controls import CONTROLS
from guidestore.heads.errors import DivergedError
from guidestore.heads.input_rows import INPUT_ROWS, Arm, S
from guidestore.heads.outcomes import reference_of, said
from guidestore.heads.replaced_codes import replaced
from guidestore.heads.rows.checking import check_job
from guidestore.heads.rows.decoders import DecoderFits, Decoders
from guidestore.heads.rows.guidance import Guided, Variant, fit_all
from guidestore.heads.rows.job import LEARNS_LABELS, RowsJob
from guidestore.heads.rows.reading import read
from guidestore.heads.shared_codes import SharedCodes
from guidestore.heads.trained import Component, TrainedHead


def train_rows(jobs: Sequence[RowsJob], *, device: str = "cpu") -> list[list[TrainedHead]]:
    """Per job: train its heads on train, choose on val, predict val and test once; in the order of its arms.

    Permutation p of a control that permutes pairs trains G with the job's seed on pairs in the order of (seed, p); one
    that replaces z_S trains G, and D_S where G(I) reads with it, on the codes of heads.replaced_codes. device: where
    networks train. G is fitted on train pairs, labelled or not, through the decoder of row S (matched) or D_S
    where its loss says so; decoders on the labelled train rows that have the modalities of the row, with val alike for
    early stopping. G(I)+I is fitted on the same cases as I. All jobs are fitted at once: jobs of the same pairs, seed
    and guidance share each G, rows without G are shared by all guidance models, rows with one code by all fusions, and
    a head does not depend on its company.

    All input is checked before anything is trained. A fit that diverges marks the heads that use it (status 'diverged')
    and harms no other. Raises InvalidInputError.
    """
    for job in jobs:
        check_job(job)
    own, places = _without_replacing(jobs)
    for job in own[len(jobs) :]:
        check_job(job)
    trained = _train(own, device)
    return [
        [_of_arm(trained[number][arm], asked) for asked in job.arms for number, arm in (of_job[asked],)]
        for job, of_job in zip(jobs, places, strict=True)
    ]


def _without_replacing(jobs: Sequence[RowsJob]) -> tuple[list[RowsJob], list[dict[Arm, tuple[int, Arm]]]]:
    """The jobs, and as jobs of their own the controls that put other codes in place of z_S: the same rows on the
    replaced codes. Per job: head that is asked for -> number of the job that trains it, and as what."""
    own = [replace(job, arms=tuple(arm for arm in job.arms if not _replaces(arm))) for job in jobs]
    made: dict[Hashable, PairedCodes] = {}
    places: list[dict[Arm, tuple[int, Arm]]] = []
    for number, job in enumerate(jobs):
        place = {arm: (number, arm) for arm in own[number].arms}
        for control, permutation in dict.fromkeys(arm[1:] for arm in job.arms if _replaces(arm)):
            key = (id(job.paired), job.seed, control, permutation)
            if key not in made:
                made[key] = replaced(job.paired, control, permutation, seed=job.seed)
            held = [arm for arm in job.arms if arm[1:] == (control, permutation)]
            place |= {arm: (len(own), Arm(arm.row)) for arm in held}
            own.append(replace(job, paired=made[key], arms=tuple(Arm(arm.row) for arm in held)))
        places.append(place)
    return own, places


def _replaces(arm: Arm) -> bool:
    return bool(arm.control) and CONTROLS[arm.control].replaces


def _of_arm(head: TrainedHead, arm: Arm) -> TrainedHead:
    return replace(head, control=arm.control, permutation=arm.permutation)


def _train(jobs: Sequence[RowsJob], device: str) -> list[dict[Arm, TrainedHead]]:
    """Per job: its heads, none of which replaces z_S."""
    codes = SharedCodes()
    decoders = DecoderFits(codes, device)
    through = {number: job for number, job in enumerate(jobs) if job.through_decoder}
    trained = decoders.fit(jobs, [[Arm(S)] if number in through else [] for number in range(len(jobs))], {})
    teachers = {number: job.d_s or trained[number, Arm(S)] for number, job in through.items()}
    guided = fit_all(jobs, teachers, codes, device=device)
    fitted = decoders.fit(jobs, [job.arms for job in jobs], guided)
    return [
        {arm: _head(number, job, arm, guided, fitted, codes) for arm in job.arms} for number, job in enumerate(jobs)
    ]


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
        if job.through_decoder:
            facts[LEARNS_LABELS] = 1.0
        if guided.without_fold and row.cross_fits:
            facts["guidance_cross_fit"] = float(job.cross_fit)
    reference = reference_of(job.paired)
    return replace(head, components=components, facts=facts).predicting(
        job.paired,
        row.has(job.paired),
        lambda rows_n: said(decoder, read(job, arm.row, rows_n, guided, codes), reference),
    )
