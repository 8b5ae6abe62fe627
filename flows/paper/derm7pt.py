"""Table 2 of the paper from one call: cohort, codes of both photographs, heads of all tasks, table; what the store has
is reused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.pairing import labels_of, parts_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.registry import encoder_info
from guidestore.flows.encoding.cohorts import add_files
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.paper.course import Course
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.settings import Derm7ptSettings
from guidestore.flows.paper.table import PaperTable
from guidestore.flows.paper.table2 import TASKS, build_table2
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.warehouse.cohorts.layouts.derm7pt import SPLIT, Derm7pt
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores

Mode = Literal["as-published", "matched"]
INFERIOR, SUPERIOR = "clinical", "dermoscopy"
FOLD = 0
"""The only one of the published split."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What an experiment takes where nothing else is said."""

    encoder: str
    size: str
    """Of the encoder: its own preset."""
    guidance: str
    decoder: str
    mode: Mode


PRESETS = {
    # Codes without training: the whole experiment in minutes on two cores.
    "demo": Preset("colour_texture", "demo", "autoencoder", "demo", "matched"),
    "paper": Preset("inception_multitask", "paper", "derm7pt-paper", "derm7pt-paper", "as-published"),
    "released": Preset("inception_multitask", "paper", "derm7pt-released", "derm7pt-released", "as-published"),
}


def run_derm7pt(store: EmbeddingStore, settings: Derm7ptSettings, progress: Progress = no_progress) -> ExperimentReport:
    """Encodes and trains what is missing, and makes the table. Raises GuidestoreError for what concerns all cases."""
    course, settings = Course(store, progress), with_first_name(store, settings)
    course.note(_cohort(store, settings))
    tasks, untrainable = _tasks(store.snapshot(), settings.cohort)
    course.note(untrainable)
    preset = PRESETS[settings.preset]
    encoder = settings.encoder or preset.encoder
    common: dict[str, Any] = {"cohort": settings.cohort, "encoder": encoder}
    common |= {"preset": preset.size} | settings.model_dump(include={"device", "precision", "deterministic"})
    if encoder_info(encoder).is_trained:
        common |= {"split": SPLIT, "targets": tasks, "seed": settings.encoder_seed}
    weights_of = {INFERIOR: settings.inferior_weights, SUPERIOR: settings.superior_weights}
    code_sets = {}
    for modality, weights in weights_of.items():
        loaded = {"weights": weights or settings.weights, "pretrained_on": settings.pretrained_on}
        code_sets[modality] = (
            course.encode(EncodeSettings(**common, **loaded, modality=modality)).code_sets[0].name.within
        )
    course.guide(
        GuideSettings(
            cohort=settings.cohort,
            inferior=code_sets[INFERIOR],
            superior=code_sets[SUPERIOR],
            targets=tasks,
            split=SPLIT,
            seeds=settings.seeds,
            guidance=settings.guidance or preset.guidance,
            decoder=settings.decoder or preset.decoder,
            modes=(settings.mode or preset.mode,),
            permutations=settings.permutations,
            device=settings.device,
        )
    )
    return course.report(partial(_table, settings.cohort))


def _cohort(store: EmbeddingStore, settings: Derm7ptSettings) -> list[str]:
    """Adds the cohort where it is not there. Sentences of what was met on the way."""
    snapshot = store.snapshot()
    if snapshot.rows("splits", cohort=settings.cohort).num_rows:
        return []
    if settings.source is None:
        raise NotFoundInStoreError(
            f"the store has no cohort {settings.cohort} with the published split, and no folder to read it from; name "
            "the folder release_v0 with --source"
        )
    report = add_files(store, settings.cohort, Derm7pt(source=settings.source))
    return [issue.sentence for issue in report.issues]


def _tasks(snapshot: Snapshot, cohort: str) -> tuple[tuple[str, ...], list[str]]:
    """The tasks whose every class has a train case, and a sentence about each other one."""
    parts = parts_of(snapshot, cohort, SPLIT, FOLD)
    tasks, sentences = [], []
    for task in TASKS:
        classes, labels = labels_of(snapshot, cohort, task)
        have = {label for case, label in labels.items() if parts.get(case) == "train"}
        missing = [name for name in classes if name not in have]
        if missing:
            sentences.append(f"task {task} is left out: no train case is labelled {' or '.join(missing)}")
        else:
            tasks.append(task)
    if not tasks:
        raise InvalidInputError(f"cohort {cohort} can train none of the tasks: {'; '.join(sentences)}")
    return tuple(tasks), sentences


def _table(cohort: str, snapshot: Snapshot, runs: list[str]) -> PaperTable:
    trained = load_runs(snapshot, runs)
    layouts = snapshot.rows("cohorts", cohort=cohort)["layout"].to_pylist()  # one row per folder that was added
    table = build_table2(
        trained,
        load_scores(snapshot, trained),
        load_predictions(snapshot, trained),
        cohort=cohort,
        layout=layouts[0],
    )
    return replace(table, notes=(*table.notes, *notes_on(snapshot, trained)))
