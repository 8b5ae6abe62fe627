"""What of a training set's heads the store lacks, and their training."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.recipe import rows_artifact, weights_artifact
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey, PairedCodes
from guidestore.flows.guiding.identity import IMPLEMENTATION, paired_digest
from guidestore.flows.guiding.recipes import (
    BaselinesRecipe,
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    ReferenceRecipe,
    RowsRecipe,
    TransferRecipe,
)
from guidestore.flows.work.ahead import read_ahead
from guidestore.heads.input_rows import Arm

if TYPE_CHECKING:  # torch loads with them
    from guidestore.heads.protocol import FrozenDecoder
    from guidestore.heads.rows.job import RowsJob
    from guidestore.heads.trained import TrainedHead


@dataclass(frozen=True, slots=True, eq=False)
class HeadJob:
    """The heads of one recipe on one training set that the store lacks."""

    paired: PairedCodes
    recipe: HeadRecipe
    ids: Mapping[Arm, str]
    """Of the runs to train."""
    stored: Mapping[str, FrozenDecoder] = field(default_factory=dict)
    """`d_i` and `d_s` in mode as-published."""


def plan_heads(
    snapshot: Snapshot, paired: PairedCodes, recipe: HeadRecipe, *, have: Container[str], taken: set[str]
) -> tuple[list[str], HeadJob | None]:
    """All run ids that a recipe means, and the job of those that are neither in `have` nor `taken`; None for none.

    snapshot: where the stored D_I and D_S of mode as-published are. taken: ids that other jobs train already (rows
    without G are the same for every G); those of the job are added. Raises InvalidInputError.
    """
    data = paired_digest(paired)
    ids = {arm: run_id(data, recipe, arm) for arm in recipe.arms}
    missing = {arm: run for arm, run in ids.items() if run not in have and run not in taken}
    taken.update(missing.values())
    if not missing:
        return list(ids.values()), None
    stored = _stored_decoders(snapshot, paired) if recipe.mode == "as-published" else {}
    return list(ids.values()), HeadJob(paired, recipe, missing, stored)


def run_id(data: str, recipe: HeadRecipe, arm: Arm) -> str:
    """Of the head of an arm; data: the digest of its training set."""
    decides = {"implementation": IMPLEMENTATION, "data": data, **recipe.of(arm), **arm._asdict()}
    return rows_artifact("run", decides)


def train_jobs(jobs: Sequence[HeadJob], *, test: bool = True, device: str = "cpu") -> list[list[TrainedHead]]:
    """The heads of each job. Jobs of one kind are trained together, because they share every G.

    test: whether test is predicted; without, it is not read. Raises InvalidInputError.
    """
    if not test:
        without_test = cache(_without_test)  # jobs of the same codes go on sharing them
        jobs = [replace(job, paired=without_test(job.paired)) for job in jobs]
    groups: dict[Any, list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault(_kind(job), []).append(i)
    trained: dict[int, list[TrainedHead]] = {}
    for numbers in groups.values():
        trained |= zip(numbers, _train([jobs[i] for i in numbers], device), strict=True)
    # Rows of one kind are trained together, those too that the store has already.
    return [
        [head for head in trained[i] if (head.row, head.control, head.permutation) in job.ids]
        for i, job in enumerate(jobs)
    ]


_LOADED = (
    *("scipy.linalg", "scipy.optimize", "scipy.spatial.distance", "scipy.stats"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection"),
    *(f"guidestore.heads.{room}.train" for room in ("baselines", "margins", "plug", "references", "rows", "transfer")),
)
"""What heads import where they need it."""


def train_ahead(
    batches: Iterable[list[HeadJob]], *, test: bool = True, device: str
) -> Iterator[tuple[list[HeadJob], list[list[TrainedHead]] | InvalidInputError]]:
    """`train_jobs` of two batches at a time, each on one core, as `read_ahead` gives them.

    Libraries are loaded before: of two threads that load parts of scipy at once, one may find a module half made.
    """
    for name in _LOADED:
        import_module(name)
    return read_ahead(partial(train_jobs, test=test, device=device), batches)


def _kind(job: HeadJob) -> Any:
    """Equal for jobs that are trained together."""
    match job.recipe:
        case RowsRecipe():
            return RowsRecipe
        case BaselinesRecipe(rows=rows, permutations=permutations):
            return rows, permutations
        case TransferRecipe():
            return replace(job.recipe, seed=0), _transfer_rows(job)
        case PlugRecipe(family=family):
            return PlugRecipe, family
        case ReferenceRecipe() | MarginsRecipe():
            return type(job.recipe)


def _train(jobs: Sequence[HeadJob], device: str) -> list[list[TrainedHead]]:
    """Of jobs of one kind."""
    from guidestore.heads.baselines.train import train_baselines
    from guidestore.heads.margins.train import MarginsJob, train_margins
    from guidestore.heads.plug.train import PlugJob, train_plug
    from guidestore.heads.references.train import ReferenceJob, train_references
    from guidestore.heads.rows.train import train_rows

    match jobs[0].recipe:
        case RowsRecipe():
            return train_rows([_rows_job(job, tuple(job.ids)) for job in jobs], device=device)
        case BaselinesRecipe(rows=rows, permutations=permutations):
            asked = [_rows_job(job) for job in jobs]
            return train_baselines(asked, baselines=rows, permutations=permutations, device=device)
        case TransferRecipe():
            return _train_transfer(jobs, jobs[0].recipe)
        case MarginsRecipe(permutations=permutations):
            return train_margins([MarginsJob(job.paired, job.recipe.seed, permutations) for job in jobs])
        case PlugRecipe(permutations=permutations, family=family):
            return train_plug([PlugJob(job.paired, job.recipe.seed, permutations, family) for job in jobs])
        case ReferenceRecipe():
            return train_references([ReferenceJob(job.paired, job.recipe.seed, _decoder_name(job)) for job in jobs])


def _rows_job(job: HeadJob, arms: tuple[Arm, ...] = ()) -> RowsJob:
    """arms: baselines read none."""
    from guidestore.heads.rows.job import RowsJob

    recipe = job.recipe
    assert isinstance(recipe, RowsRecipe | BaselinesRecipe)  # noqa: S101  (of its caller)
    joined = {"fusion": recipe.fusion, "cross_fit": recipe.cross_fit} if isinstance(recipe, RowsRecipe) else {}
    models: dict[str, Any] = {"guidance": recipe.guidance, "decoder": recipe.decoder, **joined, **job.stored}
    return RowsJob(job.paired, recipe.mode, recipe.seed, arms=arms, **models)


def _decoder_name(job: HeadJob) -> str:
    assert isinstance(job.recipe, ReferenceRecipe)  # noqa: S101  (of its caller)
    return job.recipe.decoder


def _train_transfer(jobs: Sequence[HeadJob], recipe: TransferRecipe) -> list[list[TrainedHead]]:
    from guidestore.heads.transfer.train import TransferJob, train_transfer

    params: dict[str, Any] = {"student": recipe.student.name, "student_params": recipe.student.params}
    if recipe.guidance:
        params |= {"guidance": recipe.guidance}
    return train_transfer(
        [TransferJob(job.paired, job.recipe.seed) for job in jobs],
        **params,
        rows=_transfer_rows(jobs[0]),
        permutations=recipe.permutations,
        noisy_labels=recipe.noisy_labels,
    )


def _transfer_rows(job: HeadJob) -> tuple[str, ...]:
    return tuple(dict.fromkeys(arm.row for arm in job.ids))


def _without_test(paired: PairedCodes) -> PairedCodes:
    kept = np.flatnonzero(paired.parts != "test")
    names = ("inferior_nd", "superior_nd", "has_inferior", "has_superior", "labels", "outcomes", "parts")
    arrays = {name: of[kept] for name in names if (of := getattr(paired, name)) is not None}
    return replace(paired, case_ids=tuple(paired.case_ids[row] for row in kept), **arrays)


def _stored_decoders(snapshot: Snapshot, paired: PairedCodes) -> dict[str, Any]:
    """D_I and D_S. Raises InvalidInputError."""
    keys = {"d_i": paired.inferior_key, "d_s": paired.superior_key}
    return {name: _classifier(snapshot, key, paired.target) for name, key in keys.items()}


def _classifier(snapshot: Snapshot, key: CodeSetKey | None, target: str) -> Any:
    """D_I or D_S of the encoder that made a code set. Raises InvalidInputError where it was not trained here."""
    from guidestore.flows.encoding.training import classifier_recipe
    from guidestore.heads.registry import load_decoder

    if key is not None:
        encoders = snapshot.rows("encoders").to_pylist()
        digest = next((row["weights_sha256"] for row in encoders if row["encoder_digest"] == key.encoder_digest), "")
        artifact = weights_artifact("decoder", classifier_recipe(digest, target))
        if digest and artifact in snapshot.artifacts:
            tensors, entry = snapshot.weights(artifact)
            return load_decoder(entry.meta["config"], tensors)
    raise InvalidInputError(
        f"code set {key} has no trained classifier for target {target}, so mode as-published has no rows I and S; use "
        "--mode matched"
    )
