"""Refuses a job that cannot be trained, before anything is."""

from __future__ import annotations

from typing import get_args

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.heads.checks import check_choice, check_number, check_seed
from guidestore.heads.cross_fitting import check_cross_fit
from guidestore.heads.input_rows import ALL_ROWS, INPUT_ROWS, S_PLUS_I, Mode, S, input_row
from guidestore.heads.outcomes import check_stop, check_target, refuse_other_than_classes
from guidestore.heads.registry import check_class_weights
from guidestore.heads.rows.job import RowsJob


def check_job(job: RowsJob) -> None:
    """Raises InvalidInputError where `job` is none, or its training set has not what its rows need."""
    paired = job.paired
    check_choice(job.mode, "mode", get_args(Mode))
    check_seed(job.seed)
    _check_arms(job)
    if paired.kind in ONE_CLASS_KINDS and len(paired.classes) < 2:
        raise InvalidInputError(f"target {paired.target} has fewer than 2 classes; there is nothing to predict")
    job.build_guidance()
    job.build_decoder(S_PLUS_I)
    if paired.kind == "classes":
        check_class_weights(job.decoder.name, paired.classes, job.decoder.params, target=paired.target)
    _check_stored(job)
    n_pairs = len(job.pairs)
    if job.guided_rows and n_pairs < 2:
        raise InvalidInputError(
            f"{job.where} has {n_pairs} train pairs, but {job.guided_rows[0]} fits G on at least 2; "
            + paired.why_unpaired("materialize both modalities for its train cases")
        )
    check_cross_fit(job.cross_fit, n_pairs, job.where)
    for row in dict.fromkeys((*job.rows, S) if job.through_decoder else job.rows):
        _check_labels(job, row)


def _check_arms(job: RowsJob) -> None:
    if not job.arms or len(set(job.arms)) != len(job.arms):
        raise InvalidInputError(f"{job.where}: {len(job.arms)} heads are asked for, or one twice; name each once")
    for name, control, permutation in job.arms:
        row = input_row(name, ALL_ROWS)
        check_choice(control, f"control of row {name}", ("", *row.controls))
        check_number(permutation, "permutation", 0 if control else -1, integer=True)


def _check_labels(job: RowsJob, row: str) -> None:
    """The decoder that `row` trains sees something to learn in train, and some val case to stop on."""
    paired, trained_as = job.paired, job.trained_as(row)
    if not trained_as:
        return
    needs = INPUT_ROWS[trained_as].needs
    check_target(paired, job.labelled("train", trained_as), row, needs)
    check_stop(paired, job.labelled("val", trained_as), row, needs)


def _check_stored(job: RowsJob) -> None:
    """D_I and D_S are there where the mode uses them, fit the codes and the classes, and nowhere else."""
    if job.mode == "matched":
        if job.d_i is not None or job.d_s is not None:
            raise InvalidInputError(
                "mode matched trains every decoder itself and takes no d_i or d_s; leave them out or use as-published"
            )
        return
    paired = job.paired
    refuse_other_than_classes(paired, "mode as-published reads the stored classifiers", "use --mode matched")
    for name, code_dim in (("d_i", paired.inferior_nd.shape[1]), ("d_s", paired.superior_nd.shape[1])):
        wanted = [row for row in job.rows if _uses(job, row, name)]
        if not wanted:
            continue
        stored = getattr(job, name)
        if stored is None:
            raise InvalidInputError(
                f"row {wanted[0]} as-published is the stored classifier, but {name} is missing; pass it or use matched"
            )
        k = stored.predict_proba(np.zeros((1, code_dim), dtype=np.float32)).shape[1]
        if k != len(paired.classes):
            raise InvalidInputError(
                f"{name} predicts {k} classes, but target {paired.target} has {len(paired.classes)}; use the "
                "classifier that was trained on this target"
            )


def _uses(job: RowsJob, row: str, stored: str) -> bool:
    """Whether an as-published `row` reads with that stored classifier, or its G learns through it."""
    of = (row, *INPUT_ROWS[row].decoders_of)
    if any(INPUT_ROWS[name].stored == stored for name in of):
        return True
    return stored == "d_s" and INPUT_ROWS[row].has_g and job.through_decoder
