"""Sweeps: a grid of heads on stored codes, planned, trained in batches, and ranked on val.

A batch is what shares codes: all targets, modes, guidance models and decoders of one pair of code sets, fold, seed and
label budget. It commits when it is done, so a killed sweep trains at most the batches in flight again.
"""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embeddings.errors import InvalidInputError
from embeddings.pairing import pair
from embeddings.snapshot import Snapshot
from embeddings.store import EmbeddingStore
from embeddings.types import PairedCodes
from flows.ahead import read_ahead
from flows.cohort_facts import only_split, only_target, split_folds
from flows.effects import METRIC, RowEffect, row_effects
from flows.head_runs import HeadJob, Transfer, commit_heads, plan_heads, plan_transfer, train_jobs
from flows.reporting import Progress, counted, no_progress
from flows.stored_predictions import Part, load_predictions
from flows.stored_runs import load_runs
from flows.sweep_file import MOST_RUNS, SweepFile
from flows.threads import one_thread
from heads.choice import Choice
from warehouse.indexer import build_index

JOBS_AT_ONCE = 32
"""Of a batch: what is trained and committed together. More saves little on a CPU, and a kill loses more."""
TIMED_EPOCHS = 4
"""Of each model that has epochs, to estimate a sweep's time."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training set of the grid."""

    inferior: str
    superior: str
    fold: int
    seed: int
    labelled: int | str


@dataclass
class SweepPlan:
    """What a sweep asks for at a snapshot, and what of it is missing."""

    sweep: SweepFile
    snapshot: int
    runs: list[str] = field(default_factory=list)
    budgets: dict[str, int | str] = field(default_factory=dict)
    """Run -> its label budget."""
    missing: int = 0
    guidance_fits: int = 0
    """Distinct G to train, shuffled ones too."""
    decoder_fits: int = 0
    batches: int = 0
    notes: list[str] = field(default_factory=list)
    """What does not fit in the training sets, each once."""
    seconds: float = 0.0
    """Estimated, of what is missing."""


@dataclass
class SweepReport:
    """What a sweep run did."""

    runs: list[str] = field(default_factory=list)
    trained: int = 0
    existing: int = 0
    diverged: int = 0
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """One guided head of a sweep, over its folds and seeds."""

    labelled: int | str
    effect: RowEffect
    test: RowEffect | None = None
    """None unless it was chosen, and looked at."""

    def as_row(self) -> dict[str, Any]:
        """Flat, for tables, CSV and Parquet."""
        found = self.effect
        score = found.score
        row = {"target": found.target, "mode": found.mode, "row": found.row, "guidance": found.guidance}
        row |= {"decoder": found.decoder, "inferior": found.inferior, "superior": found.superior}
        row |= {"labelled": self.labelled, "val": score and score.value, "val_low": score and score.low}
        row |= {"val_high": score and score.high, "gain_over_i": found.as_row()["gain_over_i"]}
        row |= {"gain_over_shuffled": found.as_row()["gain_over_shuffled"]}
        row |= {"gain_over_self_training": found.as_row()["gain_over_self_training"], "verdict": found.verdict}
        if self.test:
            gain = self.test.as_row()
            row |= {"test": self.test.score and self.test.score.value, "test_gain_over_i": gain["gain_over_i"]}
            row |= {"test_verdict": self.test.verdict}
        return row


def plan_sweep(root: Path, sweep: SweepFile) -> SweepPlan:
    """What the sweep would train, and about how long that takes here. Raises GuidestoreError."""
    snapshot = EmbeddingStore.open(root).snapshot(sweep.at)
    plan = SweepPlan(sweep, snapshot.version)
    first: HeadJob | None = None
    counted_fits: set[Any] = set()
    fits: dict[tuple[str, Choice], int] = {}
    for jobs in _batches(snapshot, sweep, plan):
        plan.batches += 1
        for job in jobs:
            first = first or job
            plan.missing += len(job.ids)
            for kind, choice, key in _fits(job):
                if key not in counted_fits:
                    counted_fits.add(key)
                    fits[kind, choice] = fits.get((kind, choice), 0) + 1
    plan.guidance_fits = sum(count for (kind, _), count in fits.items() if kind == "guidance")
    plan.decoder_fits = sum(count for (kind, _), count in fits.items() if kind == "decoder")
    if first:
        with one_thread():
            plan.seconds = sum(count * _fit_seconds(kind, choice, first) for (kind, choice), count in fits.items()) / 2
    return plan


def run_sweep(root: Path, sweep: SweepFile, progress: Progress = no_progress) -> SweepReport:
    """Trains what the store lacks of the sweep, two batches at a time. Raises GuidestoreError."""
    store = EmbeddingStore.open(root)
    snapshot = store.snapshot(sweep.at)
    plan = SweepPlan(sweep, snapshot.version)
    report = SweepReport()
    # Planned at the sweep's snapshot, but what was trained since then is there.
    batches = list(_batches(snapshot, sweep, plan, have=store.snapshot().artifacts))
    report.notes = plan.notes
    report.runs, report.existing = plan.runs, len(plan.runs) - sum(len(job.ids) for jobs in batches for job in jobs)

    with one_thread():
        for jobs, trained in counted(read_ahead(train_jobs, batches), len(batches), f"sweep {sweep.name}", progress):
            if isinstance(trained, InvalidInputError):
                raise trained
            paired = jobs[0].asked.paired
            with store.begin(
                f"sweep {sweep.name}: heads on {paired.cohort}/{paired.split}/{paired.fold}"
            ) as transaction:
                for job, heads in zip(jobs, trained, strict=True):
                    budget = plan.budgets[next(iter(job.ids.values()))]
                    report.trained += commit_heads(transaction, job, heads, labelled=budget)
                    report.diverged += sum(head.status == "diverged" for head in heads)
    report.snapshot = store.snapshot().version
    build_index(store)
    return report


def rank_sweep(root: Path, sweep: SweepFile, *, metric: str = METRIC, chosen: int = 0) -> list[Ranked]:
    """The guided heads of the sweep that are there, best on val first; test of the first `chosen`, which is counted.

    Raises GuidestoreError, and InvalidInputError where none is there.
    """
    store = EmbeddingStore.open(root)
    plan = SweepPlan(sweep, store.snapshot(sweep.at).version)
    for _ in _batches(store.snapshot(sweep.at), sweep, plan):
        pass
    snapshot = store.snapshot()
    runs = [run for run in plan.runs if run in snapshot.artifacts]
    if not runs:
        raise InvalidInputError(f"sweep {sweep.name} has no runs in the store; run `guidestore sweep run` first")
    facts, _ = load_runs(snapshot, runs)
    ranked = _ranked(snapshot, facts, plan, metric, "val")
    ranked.sort(key=lambda one: -one.effect.score.value if one.effect.score else 1.0)
    if not chosen:
        return ranked
    _count_looks(store, sweep, facts, ranked[:chosen])
    tested = {_place(one): one.effect for one in _ranked(snapshot, facts, plan, metric, "test")}
    best = [Ranked(one.labelled, one.effect, tested.get(_place(one))) for one in ranked[:chosen]]
    return best + ranked[chosen:]


def _ranked(snapshot: Snapshot, facts: Sequence[dict], plan: SweepPlan, metric: str, part: Part) -> list[Ranked]:
    predictions = load_predictions(snapshot, facts, part)
    found = []
    for budget in dict.fromkeys(plan.budgets[fact["run"]] for fact in facts):
        of_budget = [fact for fact in facts if plan.budgets[fact["run"]] == budget]
        found += [Ranked(budget, effect) for effect in row_effects(of_budget, predictions, metrics=(metric,))]
    return found


def _count_looks(store: EmbeddingStore, sweep: SweepFile, facts: Sequence[dict], chosen: Sequence[Ranked]) -> None:
    """Records that test was looked at for the runs of these heads."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    wanted = {_head_of(one.effect) for one in chosen}
    looked = [fact for fact in facts if not fact["control"] and _head_of(fact) in wanted]
    rows = [
        {"cohort": sweep.cohort, "target": fact["target"], "run": fact["run"], "part": "test", "why": why, "at": now}
        for fact in looked
        for why in [f"the best {len(chosen)} on val of sweep {sweep.name}"]
    ]
    with store.begin(f"a look at test for {len(chosen)} heads of sweep {sweep.name}") as transaction:
        transaction.write_rows("looks", rows, cohort=sweep.cohort)
    build_index(store)


def _head_of(one: Any) -> tuple[str, ...]:
    """What an effect and its runs share."""
    names = ("target", "mode", "row", "guidance", "decoder", "inferior", "superior")
    values = (one[name] if isinstance(one, dict) else getattr(one, name) for name in names)
    return tuple(value.partition("@")[0] for value in values)


def count_looks(snapshot: Snapshot, cohort: str) -> int:
    """How often somebody has looked at test of the cohort for runs that were chosen on val."""
    looks = snapshot.rows("looks", cohort=cohort)
    return len(set(zip(looks["why"].to_pylist(), looks["at"].to_pylist(), strict=True)))


def _place(one: Ranked) -> tuple[Any, ...]:
    effect = one.effect
    names = (effect.target, effect.mode, effect.row, effect.inferior, effect.superior, effect.guidance, effect.decoder)
    return (one.labelled, *names)


def _batches(snapshot: Snapshot, sweep: SweepFile, plan: SweepPlan, have: Any = None) -> Iterator[list[HeadJob]]:
    """The jobs that are missing, batch by batch; `plan` collects all runs that the sweep means."""
    from heads.label_budget import hide_labels
    from heads.registry import build_decoder, build_guidance
    from heads.transfer.students.protocol import build_student

    targets = sweep.targets or (only_target(snapshot, sweep.cohort),)
    split = sweep.split or only_split(snapshot, sweep.cohort)
    folds = sweep.folds or split_folds(snapshot, sweep.cohort, split)
    guidance, decoders, students = (sweep.choices(kind) for kind in ("guidance", "decoder", "students"))
    there: Container[str] = snapshot.artifacts if have is None else have
    if not guidance and not students:
        raise InvalidInputError(f"sweep {sweep.name} has neither guidance nor students; name one to try")
    grid = itertools.product(sweep.inferior, sweep.superior, folds, sweep.labelled, sweep.seeds)
    cells = [Cell(i, s, fold, seed, budget) for i, s, fold, budget, seed in grid]
    heads = len(cells) * len(targets) * (len(sweep.modes) * len(guidance) * len(decoders) + len(students))
    if heads * (5 + 2 * sweep.permutations) > MOST_RUNS:
        raise InvalidInputError(
            f"sweep {sweep.name} asks for {heads:,} heads with {5 + 2 * sweep.permutations} runs each; the most is "
            f"{MOST_RUNS:,} runs, so take values out of the grid"
        )
    for target, choice in itertools.product(targets, decoders):
        build_decoder(choice.name, target=target, **choice.params)
    for choice in guidance:
        build_guidance(choice.name, **choice.params)
    for choice in students:
        build_student(choice.name, **choice.params)
    taken: set[str] = set()
    pairs: dict[tuple[Any, ...], PairedCodes] = {}
    for cell in cells:
        jobs: list[HeadJob] = []
        for target in targets:
            place = (cell.inferior, cell.superior, cell.fold, target)
            if place not in pairs:
                pairs = {key: kept for key, kept in pairs.items() if key[:3] == place[:3]}
                pairs[place] = _pair(snapshot, sweep, place, split)
                sentences = (issue.sentence for issue in pairs[place].issues)
                plan.notes += [sentence for sentence in sentences if sentence not in plan.notes]
            budget = None if cell.labelled == "all" else int(cell.labelled)
            paired = hide_labels(pairs[place], budget, seed=cell.seed)
            planned = []
            for mode, g, decoder in itertools.product(sweep.modes, guidance, decoders):
                asked = {"mode": mode, "seed": cell.seed, "guidance": g, "decoder": decoder}
                asked |= {"permutations": sweep.permutations, "controls": sweep.controls, "cross_fit": sweep.cross_fit}
                planned.append(plan_heads(snapshot, paired, **asked, taken=taken, have=there))
            for student in students:
                transfer = Transfer(student, sweep.noisy_labels, sweep.permutations)
                planned.append(plan_transfer(there, paired, seed=cell.seed, transfer=transfer, taken=taken))
            for ids, job in planned:
                new = [run for run in ids if run not in plan.budgets]
                plan.runs += new
                plan.budgets |= dict.fromkeys(new, cell.labelled)
                if job:
                    jobs.append(job)
        for first in range(0, len(jobs), JOBS_AT_ONCE):
            yield jobs[first : first + JOBS_AT_ONCE]


def _pair(snapshot: Snapshot, sweep: SweepFile, place: tuple[Any, ...], split: str) -> PairedCodes:
    inferior, superior, fold, target = place
    names = {"inferior": f"{sweep.cohort}/{inferior}", "superior": f"{sweep.cohort}/{superior}"}
    return pair(snapshot, cohort=sweep.cohort, target=target, **names, split=split, fold=fold)


def _fits(job: HeadJob) -> Iterator[tuple[str, Choice, Any]]:
    """(guidance or decoder, which, what makes it distinct) of the fits that a job of input rows needs."""
    from heads.input_rows import GUIDED_ROWS
    from heads.row_training import RowsJob

    asked, paired = job.asked, job.asked.paired
    if not isinstance(asked, RowsJob):
        return
    codes = (paired.fold, str(paired.inferior_key), str(paired.superior_key), asked.seed)
    for (row, _, permutation), run in job.ids.items():
        if row in GUIDED_ROWS:
            yield "guidance", asked.guidance, ("guidance", codes, asked.guidance, permutation)
        if not (asked.mode == "as-published" and row in ("S", "I", "G(I)")) and row != "G(I)":
            yield "decoder", asked.decoder, run


def _fit_seconds(kind: str, choice: Choice, job: HeadJob) -> float:
    """Of one fit on the training set of `job`: some epochs of a model that has them, scaled up; else a whole fit."""
    import numpy as np

    from heads.registry import build_decoder, build_guidance

    paired = job.asked.paired
    model: Any
    target = {"target": paired.target} if kind == "decoder" else {}
    build = build_guidance if kind == "guidance" else build_decoder
    model = build(choice.name, **target, **choice.params)
    epochs = model.config.get("epochs", 0)
    if epochs:
        model = build(choice.name, **target, **{**choice.params, "epochs": min(TIMED_EPOCHS, epochs)})
    pairs = paired.rows("train", paired.is_pair)
    z_i, z_s = paired.inferior_nd[pairs], paired.superior_nd[pairs]
    train, val = (paired.rows(part, paired.has_label, paired.is_pair) for part in ("train", "val"))

    def fit() -> None:
        if kind == "guidance":
            model.fit(z_i, z_s, seed=0)
            return
        both = [np.hstack([paired.superior_nd[rows], paired.inferior_nd[rows]]) for rows in (train, val)]
        labels = [paired.labels[rows] for rows in (train, val)]
        model.fit(both[0], labels[0], both[1], labels[1], n_classes=len(paired.classes), seed=0)

    fit()  # imports and first allocations
    start = time.perf_counter()
    fit()
    taken = time.perf_counter() - start
    return taken * epochs / min(TIMED_EPOCHS, epochs) if epochs else taken
