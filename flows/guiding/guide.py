"""Codes -> heads -> runs: the five input rows and their controls, on stored codes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import pair, targets_of
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetKey, PairedCodes
from guidestore.flows.encoding.lookups import check_cohort, only_split, only_target, split_folds
from guidestore.flows.encoding.seen import encoders_behind, seen_notes
from guidestore.flows.guiding.commit import commit_heads
from guidestore.flows.guiding.jobs import HeadJob, plan_heads, train_ahead
from guidestore.flows.guiding.recipes import SCHEMES, HeadRecipe, RowsRecipe, check_guidance, references
from guidestore.flows.guiding.scoring import score_test
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.results.looks import count_look
from guidestore.flows.work.devices import AUTO, in_words, one_device
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, Say, counted, no_progress, say_nothing
from guidestore.flows.work.threads import one_thread
from guidestore.heads.choice import Choice
from guidestore.heads.redundancy import redundancy
from guidestore.heads.registry import build_decoder_of, decoder_choice, guidance_choice
from guidestore.warehouse.runs import load_runs

if TYPE_CHECKING:  # torch loads with it
    from guidestore.heads.trained import TrainedHead


@dataclass
class GuideReport:
    """What a guide run did: ids of all runs that the settings mean, and how many of them are new."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    notes: list[str] = field(default_factory=list)
    device: str = ""
    """Where networks trained, in words; '' where nothing was to be trained."""
    snapshot: int = 0


def guide(
    store: EmbeddingStore,
    settings: GuideSettings,
    progress: Progress = no_progress,
    *,
    looks: bool = True,
    say: Say = say_nothing,
    guidance: object = None,
    decoder: object = None,
) -> GuideReport:
    """Trains and evaluates what the store does not have yet, one commit per fold, seed, mode and target.

    The references for row I are trained beside it, with mode matched. The targets and modes of a fold and seed are
    trained together, because they share every G, and two such batches at a time, each on one core. Raises
    GuidestoreError: unknown names, leakage between folds, too few cases.

    looks: whether it counts a look at test of its runs; False where the caller counts one for several calls. say: is
    told, before anything is trained on them, that codes cannot guide (heads.redundancy); the notes have it too.
    guidance, decoder: a class, an object or a choice in place of the names that the settings have (heads.registry's
    `guidance_choice`).
    """
    if settings.device != AUTO:
        one_device(settings.device, "heads")
    snapshot, settings = store.snapshot(), with_first_name(store, settings)
    check_cohort(snapshot, settings.cohort)
    targets = settings.targets or (only_target(snapshot, settings.cohort),)
    # Once for all folds: code that cannot be digested is another choice each time. A wrong name costs no training.
    models = _Models(guidance_choice(guidance or settings.guidance), decoder_choice(decoder or settings.decoder))
    check_guidance(models.guidance)
    known = targets_of(snapshot, settings.cohort)
    for target in targets:
        kind = known[target].kind if target in known else "classes"  # pairing refuses what is not there
        build_decoder_of(kind, models.decoder.name, target=target, **models.decoder.params)
    split = settings.split or only_split(snapshot, settings.cohort)
    folds = settings.folds or split_folds(snapshot, settings.cohort, split)
    report = GuideReport()
    asked_of: set[tuple[CodeSetKey | None, ...]] = set()

    def batches() -> Iterator[list[HeadJob]]:
        for fold in folds:
            paired = [_pair(snapshot, settings, target, split, fold) for target in targets]
            keys = (paired[0].inferior_key, paired[0].superior_key)
            if keys not in asked_of and (told := redundancy(paired[0])):
                report.notes.append(told)
                say(told)
            asked_of.add(keys)
            for of_target in paired:
                _note_issues(report, snapshot, of_target)
                _note_metric(report, of_target)
            for seed in settings.seeds:
                yield _planned(snapshot, settings, models, paired, seed, report)

    missing = filter(None, batches())
    if first := next(missing, None):  # torch takes seconds to load, and need not where nothing is to be trained
        _train(store, settings, snapshot, chain([first], missing), len(folds) * len(settings.seeds), report, progress)
    if report.existing:  # a sweep may have trained them, and left test alone
        score_test(store, report.runs, progress)
    if looks and (refused := count_look(store, load_runs(store.snapshot(), report.runs), "guide")):
        report.notes.append(refused)
    report.snapshot = store.snapshot().version
    return report


def _train(
    store: EmbeddingStore,
    settings: GuideSettings,
    snapshot: Snapshot,
    batches: Iterable[list[HeadJob]],
    most: int,
    report: GuideReport,
    progress: Progress,
) -> None:
    """Trains the batches, `most` at most, and commits each as it is done."""
    device = one_device(settings.device, "heads")
    report.device = in_words((device,))
    what = f"guide {settings.inferior} by {settings.superior}"
    with one_thread():
        for jobs, trained in counted(train_ahead(batches, device=device), most, what, progress):
            if isinstance(trained, InvalidInputError):
                raise trained
            for what_of, members in _together(jobs, trained).items():
                with store.begin(f"heads of {what_of}", device=report.device, read_at=snapshot.read_at) as transaction:
                    for job, heads in members:
                        report.trained += commit_heads(transaction, job, heads, device=report.device)


def _together(
    jobs: Sequence[HeadJob], trained: Sequence[list[TrainedHead]]
) -> dict[str, list[tuple[HeadJob, list[TrainedHead]]]]:
    """Jobs with their heads by the commit that they make, in words."""
    commits: dict[str, list[tuple[HeadJob, list[TrainedHead]]]] = {}
    for job, heads in zip(jobs, trained, strict=True):
        paired, recipe = job.paired, job.recipe
        fold = f"{paired.cohort}/{paired.split}/{paired.fold}"
        commits.setdefault(f"{paired.target} on {fold}, {recipe.mode}, seed {recipe.seed}", []).append((job, heads))
    return commits


def _pair(snapshot: Snapshot, settings: GuideSettings, target: str, split: str, fold: int) -> PairedCodes:
    return pair(
        snapshot,
        cohort=settings.cohort,
        target=target,
        inferior=settings.inferior,
        superior=settings.superior,
        split=split,
        fold=fold,
        kinds=KINDS,
    )


def _note_issues(report: GuideReport, snapshot: Snapshot, paired: PairedCodes) -> None:
    sentences = [issue.sentence for issue in paired.issues]
    keys = [key for key in (paired.inferior_key, paired.superior_key) if key]
    sentences += seen_notes(snapshot, paired.cohort, [key.name for key in keys])
    for key in keys:
        for made_by in encoders_behind(snapshot, key):
            if made_by.trained_on.kind == "unknown":
                sentences.append(f"what the encoder of {made_by.modality}/{made_by.encoder} was trained on is unknown")
    report.notes += [sentence for sentence in dict.fromkeys(sentences) if sentence not in report.notes]


def _note_metric(report: GuideReport, paired: PairedCodes) -> None:
    """Said before anything is trained."""
    if paired.kind != "classes":
        return
    test = paired.labels[paired.rows("test", paired.has_label, paired.has_inferior)]
    lacking = [name for number, name in enumerate(paired.classes) if number not in test]
    if lacking:
        where = f"{paired.cohort}/{paired.split}/{paired.fold}"
        report.notes.append(
            f"test of {where} has no case of {', '.join(lacking)} for {paired.target}: AUROC is not defined there, so "
            "balanced accuracy decides"
        )


class _Models(NamedTuple):
    guidance: Choice
    decoder: Choice


def _planned(
    snapshot: Snapshot,
    settings: GuideSettings,
    models: _Models,
    of_targets: Sequence[PairedCodes],
    seed: int,
    report: GuideReport,
) -> list[HeadJob]:
    """What the store lacks of one fold and seed."""
    guidance, decoder = models
    taken: set[str] = set()
    jobs = []
    for paired in of_targets:
        recipes: list[HeadRecipe] = [
            RowsRecipe(mode, seed, guidance, decoder, settings.permutations) for mode in settings.modes
        ]
        if guidance.name in SCHEMES:
            recipes = [SCHEMES[guidance.name](seed, settings.permutations)]
        for recipe in [*recipes, *references(seed, paired.kind)]:
            ids, job = plan_heads(snapshot, paired, recipe, have=snapshot.artifacts, taken=taken)
            report.runs += ids
            report.existing += len(ids) - (len(job.ids) if job else 0)
            if job:
                jobs.append(job)
    return jobs
