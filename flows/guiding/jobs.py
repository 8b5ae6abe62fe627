"""What heads a training set asks for: their run ids, which of them the store lacks, and their training."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.recipe import rows_artifact, weights_artifact
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import CodeSetKey, PairedCodes
from guidestore.flows.guiding.identity import IMPLEMENTATION, paired_digest
from guidestore.heads.choice import Choice

if TYPE_CHECKING:  # torch loads with it
    from guidestore.heads.input_rows import Arm, Mode
    from guidestore.heads.rows.job import RowsJob
    from guidestore.heads.trained import TrainedHead
    from guidestore.heads.transfer.train import TransferJob

CONCATENATION = Choice.of("concatenation")


@dataclass(frozen=True, slots=True)
class Transfer:
    """How labels are transferred: the student of row T(I), and whether labels may be wrong."""

    student: Choice
    noisy_labels: bool
    permutations: int
    guidance: Choice | None = None
    """Where given, the student reads [G(z_I), z_I]: the paper's D_c with the teacher's scores as an extra term."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """Which baselines, with how many shuffled-pairs controls each."""

    rows: tuple[str, ...]
    permutations: int


@dataclass(frozen=True, slots=True)
class HeadJob:
    """One target, fold, mode, seed and choice of models, of which the store lacks runs."""

    asked: RowsJob | TransferJob
    ids: Mapping[Arm, str]
    """Of the runs to train."""
    how: Transfer | Baselines | None = None
    """None: input rows. `Transfer` goes with a TransferJob, `Baselines` with a RowsJob, whose arms are not read."""

    @property
    def mode(self) -> Mode:
        return "matched" if isinstance(self.how, Transfer) else self.asked.mode  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def guidance(self) -> Choice | None:
        """G that it fits."""
        return self.how.guidance if isinstance(self.how, Transfer) else self.asked.guidance  # pyright: ignore[reportAttributeAccessIssue]


def train_jobs(jobs: Sequence[HeadJob], *, test: bool = True, device: str = "cpu") -> list[list[TrainedHead]]:
    """The heads of each job. Jobs of input rows are trained together, baselines too.

    test: whether test is predicted; without, it is not read. Raises InvalidInputError.
    """
    from guidestore.heads.baselines.train import train_baselines
    from guidestore.heads.rows.train import train_rows
    from guidestore.heads.transfer.train import TRANSFER_ROWS, train_transfer

    without_test = cache(_without_test)  # jobs of the same codes go on sharing them
    asked: list[Any] = [
        job.asked if test else replace(job.asked, paired=without_test(job.asked.paired)) for job in jobs
    ]
    trained: dict[int, list[TrainedHead]] = {}
    of_rows = [i for i, job in enumerate(jobs) if job.how is None]
    trained |= zip(of_rows, train_rows([asked[i] for i in of_rows], device=device), strict=True)
    baselines: dict[Baselines, list[int]] = {}
    for i, job in enumerate(jobs):
        if isinstance(job.how, Baselines):
            baselines.setdefault(job.how, []).append(i)
        elif isinstance(job.how, Transfer):
            how = job.how
            params: dict[str, Any] = {"student": how.student.name, "student_params": how.student.params}
            params["rows"] = tuple(row for row in TRANSFER_ROWS if any(arm.row == row for arm in job.ids))
            if how.guidance:
                params |= {"guidance": how.guidance.name, "guidance_params": how.guidance.params}
            trained[i] = train_transfer(
                [asked[i]], **params, permutations=how.permutations, noisy_labels=how.noisy_labels
            )[0]
    for how, numbers in baselines.items():
        heads = train_baselines(
            [asked[i] for i in numbers], baselines=how.rows, permutations=how.permutations, device=device
        )
        trained |= zip(numbers, heads, strict=True)
    # Rows of one kind are trained together, those too that the store has already.
    return [
        [head for head in trained[i] if (head.row, head.control, head.permutation) in job.ids]
        for i, job in enumerate(jobs)
    ]


def _without_test(paired: PairedCodes) -> PairedCodes:
    kept = np.flatnonzero(paired.parts != "test")
    names = ("inferior_nd", "superior_nd", "has_inferior", "has_superior", "labels", "parts")
    arrays = {name: getattr(paired, name)[kept] for name in names}
    return replace(paired, case_ids=tuple(paired.case_ids[row] for row in kept), **arrays)


def plan_transfer(
    have: Container[str], paired: PairedCodes, *, seed: int, transfer: Transfer, taken: set[str]
) -> tuple[list[str], HeadJob | None]:
    """As `plan_heads`, for label transfer: its references, row T(I) and its controls, which are trained together."""
    from guidestore.heads.input_rows import TAUGHT
    from guidestore.heads.transfer.train import TRANSFER_ROWS, TransferJob, transfer_arms

    recipe = {"data": paired_digest(paired), "seed": seed}
    recipe |= {"student": _named(transfer.student), "noisy_labels": transfer.noisy_labels}
    with_g = {"guidance": _named(transfer.guidance)} if transfer.guidance else {}
    ids = {
        arm: _run_id(arm, recipe | (with_g if arm.row == TAUGHT else {}))
        for arm in transfer_arms(TRANSFER_ROWS, transfer.permutations)
    }
    return _planned(ids, have, taken, lambda missing: HeadJob(TransferJob(paired, seed), missing, transfer))


def plan_baselines(
    snapshot: Snapshot,
    paired: PairedCodes,
    *,
    mode: Mode,
    seed: int,
    guidance: Choice,
    decoder: Choice,
    baselines: Baselines,
    taken: set[str],
    have: Container[str],
) -> tuple[list[str], HeadJob | None]:
    """As `plan_heads`, for rows of heads.baselines."""
    from guidestore.heads.input_rows import INPUT_ROWS, arms_of
    from guidestore.heads.rows.job import RowsJob

    recipe = {"data": paired_digest(paired), "mode": mode, "seed": seed, "decoder": _named(decoder)}
    ids = {
        arm: _run_id(arm, recipe | {"guidance": _named(guidance) if INPUT_ROWS[arm.row].has_g else ""})
        for arm in arms_of(baselines.rows, baselines.permutations)
    }
    stored = _stored_decoders(snapshot, paired) if mode == "as-published" else {}
    job = RowsJob(paired, mode, seed, guidance, decoder, **stored)
    return _planned(ids, have, taken, lambda missing: HeadJob(job, missing, baselines))


def plan_heads(
    snapshot: Snapshot,
    paired: PairedCodes,
    *,
    mode: Mode,
    seed: int,
    guidance: Choice,
    decoder: Choice,
    permutations: int,
    taken: set[str],
    fusion: Choice = CONCATENATION,
    controls: Sequence[str] = ("shuffled",),
    cross_fit: int = 0,
    have: Container[str] | None = None,
) -> tuple[list[str], HeadJob | None]:
    """All run ids that are asked for, and the job of those that are neither in the store nor `taken`; None for none.

    taken: ids that other jobs train already (rows without G are the same for every G); those of the job are added.
    have: what the store has; None: what the snapshot has.
    """
    from guidestore.heads.input_rows import ALL_ROWS, INPUT_ROWS, arms_of
    from guidestore.heads.rows.job import RowsJob

    recipe = {"data": paired_digest(paired), "mode": mode, "seed": seed, "decoder": _named(decoder)}

    def run_id(arm: Arm) -> str:
        row = INPUT_ROWS[arm.row]
        of_row = {"guidance": _named(guidance) if row.has_g else ""}
        if cross_fit and row.cross_fits:
            of_row["cross_fit"] = cross_fit
        if fusion != CONCATENATION and row.fuses:
            of_row["fusion"] = _named(fusion)
        return _run_id(arm, recipe | of_row)

    def job(missing: dict[Arm, str]) -> HeadJob:
        stored = _stored_decoders(snapshot, paired) if mode == "as-published" else {}
        asked = RowsJob(
            paired, mode, seed, guidance, decoder, tuple(missing), cross_fit=cross_fit, fusion=fusion, **stored
        )
        return HeadJob(asked, missing)

    ids = {arm: run_id(arm) for arm in arms_of(ALL_ROWS, permutations, controls)}
    return _planned(ids, snapshot.artifacts if have is None else have, taken, job)


def _planned(
    ids: Mapping[Arm, str],
    have: Container[str],
    taken: set[str],
    job: Callable[[dict[Arm, str]], HeadJob],
) -> tuple[list[str], HeadJob | None]:
    missing = {arm: run for arm, run in ids.items() if run not in have and run not in taken}
    taken.update(missing.values())
    return list(ids.values()), job(missing) if missing else None


def _run_id(arm: Arm, recipe: Mapping[str, Any]) -> str:
    return rows_artifact("run", {"implementation": IMPLEMENTATION, **recipe, **arm._asdict()})


def _named(choice: Choice) -> Any:
    """A bare name where nothing differs from the defaults."""
    return {"name": choice.name, "params": json.loads(choice.key)} if choice.params else choice.name


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
