"""The heads and verdicts of one simulated cohort: by the recipes and code of `guide` and `evaluate`, no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.outcomes import known_of
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.types import CodeSetName, PairedCodes
from guidestore.flows.guiding.jobs import HeadJob, train_jobs
from guidestore.flows.guiding.recipes import (
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    RowsRecipe,
    TransferRecipe,
    references,
)
from guidestore.flows.results.effects import ComparisonGroup, RowEffect, row_effects
from guidestore.heads.choice import Choice
from guidestore.heads.input_rows import Arm
from guidestore.heads.significance import compare, draw_metrics
from guidestore.heads.trained import TrainedHead

PERMUTATIONS = 5


@dataclass(frozen=True, slots=True)
class Said:
    """Of one guided row of one cohort."""

    row: str
    verdict: str
    gain_over_i: float | None
    """None where no gain could be told: the teacher was not allowed to teach."""
    gain_over_nearest: float | None
    """Of controls and references."""


def closed_form(seed: int) -> list[HeadRecipe]:
    """G(I) and G(I)+I by ridge and logistic regression, T(I) by ridge, M(I) and P(I)."""
    return [
        RowsRecipe("matched", seed, Choice.of("ridge"), Choice.of("logistic"), PERMUTATIONS),
        TransferRecipe(seed, Choice.of("ridge"), False, PERMUTATIONS),
        MarginsRecipe(seed, PERMUTATIONS),
        PlugRecipe(seed, PERMUTATIONS),
        *references(seed),
    ]


def networks(seed: int) -> list[HeadRecipe]:
    """G(I) and G(I)+I by networks, as `guide` has them where nothing is asked."""
    return [
        RowsRecipe("matched", seed, Choice.of("autoencoder"), Choice.of("mlp"), PERMUTATIONS),
        *references(seed),
    ]


def verdicts(runs: Sequence[Run], predictions: Mapping[str, RunPredictions]) -> list[Said]:
    """In the main metric."""
    return [
        Said(found.head.row, found.verdict, _gain_over_i(found), gain_over_nearest(found))
        for found in row_effects(runs, predictions)
    ]


def first(said: RunPredictions, cases: int) -> RunPredictions:
    """Of the first test cases alone; test cases come in the order in which they were drawn."""
    return replace(
        said,
        case_ids=said.case_ids[:cases],
        labels=said.labels[:cases],
        probabilities=said.probabilities[:cases],
    )


def _gain_over_i(found: RowEffect) -> float | None:
    return found.effect.gain_over_i.gain.value if found.effect else None


def gain_over_nearest(found: RowEffect) -> float | None:
    """The smallest of the gains over controls and references."""
    if found.effect is None:
        return None
    return min(gain.over.gain.value for gain in (*found.effect.over_controls, *found.effect.over_references))


def by_cases(group: ComparisonGroup, told: RowEffect) -> bool:
    """Whether all gains that `guidance helps` asks for lie above 0 by the draw of cases alone, heads as trained."""
    if group.row is None or told.effect is None:
        return False
    drawn = draw_metrics(group.common, metrics=(told.metric,))
    rivals = [gain.rival.runs for gain in (*told.effect.over_controls, *told.effect.over_references)]
    return all(
        compare(drawn, told.metric, group.row.guided, runs).gain.above_zero for runs in (group.row.inferior, *rivals)
    )


def trained(paired: PairedCodes, recipes: Sequence[HeadRecipe]) -> tuple[list[Run], dict[str, RunPredictions]]:
    """The runs of all rows and controls, and what they said of the test cases, by the run's id."""
    runs: list[Run] = []
    predictions: dict[str, RunPredictions] = {}
    for run, head in heads_of(paired, recipes):
        runs.append(run)
        if head.status == "ok":
            predictions[run.id] = said_by(run, head, (head.parts == "test") & known_of(head.labels), head.labels)
    return runs, predictions


def heads_of(paired: PairedCodes, recipes: Sequence[HeadRecipe]) -> list[tuple[Run, TrainedHead]]:
    """Every head with its run."""
    jobs = [HeadJob(paired, recipe, {arm: _id(recipe, arm) for arm in recipe.arms}) for recipe in recipes]
    every = [
        (_run(paired, job, head), head) for job, heads in zip(jobs, train_jobs(jobs), strict=True) for head in heads
    ]
    return list({run.id: (run, head) for run, head in every}.values())


def said_by(run: Run, head: TrainedHead, shown: np.ndarray, y: np.ndarray) -> RunPredictions:
    """Of the cases `shown` ((m,) bool), whose outcomes are those of y (m, …)."""
    ids = tuple(case for case, kept in zip(head.case_ids, shown, strict=True) if kept)
    return RunPredictions(run.id, run.unit, ids, y[shown], head.probabilities[shown], run.kind, run.reference)


def _id(recipe: HeadRecipe, arm: Arm) -> str:
    return f"{type(recipe).__name__}/{recipe.of(arm)}/{arm}/{recipe.seed}"


def _run(paired: PairedCodes, job: HeadJob, head: TrainedHead) -> Run:
    arm = Arm(head.row, head.control, head.permutation)
    names = [CodeSetName(paired.cohort, modality, "drawn", "0" * 12) for modality in ("inferior", "superior")]
    return Run(
        *(job.ids[arm], paired.cohort, paired.target, paired.split, paired.fold, head.row, *names),
        guidance=head.guidance,
        decoder=head.decoder,
        control=head.control,
        permutation=head.permutation,
        seed=head.seed,
        status=head.status,
        classes=paired.classes,
        kind=paired.kind,
        training={name: float(value) for name, value in head.facts.items()},
    )
