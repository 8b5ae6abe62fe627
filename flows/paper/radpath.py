"""Table 1 of the paper from one call: cohort, codes of both modalities, heads, table; what the store has is reused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetKey
from guidestore.encoders.kinds.volumes import GROUPS
from guidestore.flows.encoding.cohorts import add_files
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.encoding.lookups import split_folds
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.paper.course import Course
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.settings import RadPathSettings
from guidestore.flows.paper.table import PaperTable
from guidestore.flows.paper.table1 import build_table1
from guidestore.flows.results.effects import row_effects
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.metrics import BALANCED_ACCURACY
from guidestore.warehouse.cohorts.layouts.radpath import SPLIT, Radpath
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores

TARGET, SUPERIOR = "class", "histology"


def run_radpath(store: EmbeddingStore, settings: RadPathSettings, progress: Progress = no_progress) -> ExperimentReport:
    """Encodes and trains what is missing, and makes the table. Raises GuidestoreError for what concerns all cases."""
    course, settings = Course(store, progress), with_first_name(store, settings)
    course.note(_cohort(store, settings))
    snapshot = store.snapshot()
    folds = split_folds(snapshot, settings.cohort, SPLIT)[: settings.splits]
    inputs, missing = _inputs(snapshot, settings)
    course.note(missing)
    superior = _superior(course, settings, folds)
    for modality in inputs:
        _guide_by(course, settings, _of_folds(settings, folds, modality, settings.inferior_encoder), superior)
    return course.report(partial(_table, settings.cohort))


def _superior(course: Course, settings: RadPathSettings, folds: tuple[int, ...]) -> dict[int, CodeSetKey]:
    """Fold -> codes of C_S on it: slides to bags, and those to case codes."""
    bags = course.encode(
        EncodeSettings(
            **_common(settings),
            modality=SUPERIOR,
            encoder=settings.patch_encoder or ("texture" if settings.preset == "demo" else "resnet50_trunc"),
            weights=settings.weights,
            pretrained_on=settings.pretrained_on,
            tile_px=settings.tile_px,
            mpp=settings.mpp,
            slide_mpp=settings.slide_mpp,
        )
    )
    of_folds = _of_folds(settings, folds, SUPERIOR, settings.superior_encoder)
    patch_encoder = bags.code_sets[0].name.encoder_text
    pooled = course.encode(of_folds.model_copy(update={"patch_encoder": patch_encoder}))
    return {key.trained_on.fold: key for key in pooled.code_sets}


def _guide_by(
    course: Course, settings: RadPathSettings, inferior: EncodeSettings, superior: Mapping[int, CodeSetKey]
) -> None:
    """Codes of one MRI input on each fold, and the heads that C_S of the same fold guides."""
    small = settings.preset == "demo"
    for key in course.encode(inferior).code_sets:
        fold = key.trained_on.fold
        course.guide(
            GuideSettings(
                cohort=settings.cohort,
                inferior=key.name.within,
                superior=superior[fold].name.within,
                targets=(TARGET,),
                split=SPLIT,
                folds=(fold,),
                seeds=(settings.seed,),
                guidance=settings.guidance or ("autoencoder" if small else "radpath-paper"),
                decoder=settings.decoder or ("demo" if small else "radpath-paper"),
                modes=(settings.mode,),
                permutations=settings.permutations,
                device=settings.device,
            )
        )


def _common(settings: RadPathSettings) -> dict[str, Any]:
    return settings.model_dump(include={"cohort", "key", "preset", "device", "precision", "deterministic", "seed"})


def _of_folds(settings: RadPathSettings, folds: tuple[int, ...], modality: str, encoder: str) -> EncodeSettings:
    """An encoder that is trained on each fold."""
    fold_wise = {"split": SPLIT, "folds": folds, "targets": (TARGET,)}
    return EncodeSettings(**_common(settings), **fold_wise, modality=modality, encoder=encoder)


def _cohort(store: EmbeddingStore, settings: RadPathSettings) -> list[str]:
    """Adds the cohort, and the splits that it lacks. Sentences of what was met on the way."""
    snapshot = store.snapshot()
    added = snapshot.rows("cohorts", cohort=settings.cohort).to_pylist()
    rows = snapshot.rows("splits", cohort=settings.cohort).to_pylist()
    have = {row["fold"] for row in rows if row["split"] == SPLIT}
    if added and have >= set(range(settings.splits)):
        return []
    source = settings.source or (Path(added[-1]["source"]) if added and added[-1]["source"] else None)
    if source is None:
        raise NotFoundInStoreError(
            f"the store has no cohort {settings.cohort} with {settings.splits} splits, and no folder to read it from; "
            "name the RadPath folder with --source"
        )
    layout = Radpath(
        source=source,
        labels=settings.labels,
        splits=settings.splits,
        seed=settings.seed,
        pseudonymize=settings.key,
        slide_mpp=settings.slide_mpp,
    )
    report = add_files(store, settings.cohort, layout)
    return [issue.sentence for issue in report.issues]


def _inputs(snapshot: Snapshot, settings: RadPathSettings) -> tuple[list[str], list[str]]:
    """The inputs that the cohort has images of, and a sentence about each other one."""
    have = set(snapshot.rows("images", cohort=settings.cohort)["modality"].to_pylist())
    inputs = [modality for modality in settings.inputs if have.issuperset(GROUPS.get(modality, (modality,)))]
    if not inputs:
        raise InvalidInputError(
            f"cohort {settings.cohort} has no images of {', '.join(settings.inputs)}; it has {', '.join(sorted(have))}"
        )
    absent = [modality for modality in settings.inputs if modality not in inputs]
    return inputs, [f"cohort {settings.cohort} has no images of {', '.join(absent)}: no column"] if absent else []


def _table(cohort: str, snapshot: Snapshot, runs: list[str]) -> PaperTable:
    trained = load_runs(snapshot, runs)
    effects = row_effects(trained, load_predictions(snapshot, trained), metrics=(BALANCED_ACCURACY.name,))
    layouts = snapshot.rows("cohorts", cohort=cohort)["layout"].to_pylist()  # one row per folder that was added
    table = build_table1(trained, load_scores(snapshot, trained), effects, cohort=cohort, layout=layouts[0])
    return replace(table, notes=(*table.notes, *notes_on(snapshot, trained)))
