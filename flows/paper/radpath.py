"""Table 1 of the paper from one call: cohort, codes of both modalities, heads, table; what the store has is reused."""

from __future__ import annotations

from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.kinds.volumes import GROUPS
from guidestore.flows.encoding.cohort_facts import split_folds
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.settings import RadPathSettings
from guidestore.flows.paper.table import PaperTable
from guidestore.flows.paper.table1 import build_table1
from guidestore.flows.results.effects import row_effects
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.radpath import SPLIT, Radpath
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores

TARGET, SUPERIOR = "class", "histology"


def run_radpath(store: EmbeddingStore, settings: RadPathSettings, progress: Progress = no_progress) -> ExperimentReport:
    """Encodes and trains what is missing, and makes the table. Raises GuidestoreError for what concerns all cases."""
    notes = _cohort(store, settings)
    snapshot = store.snapshot()
    folds = split_folds(snapshot, settings.cohort, SPLIT)[: settings.splits]
    inputs, missing = _inputs(snapshot, settings)
    notes += missing

    small = settings.preset == "demo"
    patch_encoder = settings.patch_encoder or ("texture" if small else "resnet50_trunc")
    common = {"cohort": settings.cohort, "key": settings.key}
    common |= {"preset": settings.preset, "device": settings.device, "seed": settings.seed}
    fold_wise = {"split": SPLIT, "folds": folds, "targets": (TARGET,)}
    slides = encode(
        store,
        EncodeSettings(
            **common,
            modality=SUPERIOR,
            encoder=patch_encoder,
            weights=settings.weights,
            pretrained_on=settings.pretrained_on,
            tile_px=settings.tile_px,
            mpp=settings.mpp,
        ),
        progress,
    )
    bags = slides.code_sets[0].name.encoder_text
    superior = encode(
        store,
        EncodeSettings(**common, **fold_wise, modality=SUPERIOR, encoder=settings.superior_encoder, patch_encoder=bags),
        progress,
    )
    reports = [slides, superior]
    superior_of = {key.trained_on.fold: key for key in superior.code_sets}
    runs: list[str] = []
    trained = 0
    for modality in inputs:
        inferior = encode(
            store, EncodeSettings(**common, **fold_wise, modality=modality, encoder=settings.inferior_encoder), progress
        )
        reports.append(inferior)
        for key in inferior.code_sets:
            fold = key.trained_on.fold
            guided = guide(
                store,
                GuideSettings(
                    cohort=settings.cohort,
                    inferior=key.name.within,
                    superior=superior_of[fold].name.within,
                    targets=(TARGET,),
                    split=SPLIT,
                    folds=(fold,),
                    seeds=(settings.seed,),
                    guidance=settings.guidance or ("autoencoder" if small else "radpath-paper"),
                    decoder=settings.decoder or ("mlp" if small else "radpath-paper"),
                    modes=(settings.mode,),
                    permutations=settings.permutations,
                    device=settings.device,
                ),
                progress,
            )
            runs += guided.runs
            trained += guided.trained
            notes += [note for note in guided.notes if note not in notes]
    for report in reports:
        notes += [note for note in report.notes if note not in notes]
    return ExperimentReport(
        _table(store.snapshot(), settings.cohort, runs),
        runs,
        sum(report.images_read for report in reports),
        sum(report.encoded for report in reports),
        trained + sum(report.trained for report in reports),
        {case: reason for report in reports for case, reason in report.failed.items()},
        notes,
        store.snapshot().version,
    )


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
    )
    report = add_layout(store, settings.cohort, layout)
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


def _table(snapshot: Snapshot, cohort: str, runs: list[str]) -> PaperTable:
    trained = load_runs(snapshot, runs)
    effects = row_effects(trained, load_predictions(snapshot, trained))
    layouts = snapshot.rows("cohorts", cohort=cohort)["layout"].to_pylist()  # one row per folder that was added
    return build_table1(trained, load_scores(snapshot, trained), effects, cohort=cohort, layout=layouts[0])
