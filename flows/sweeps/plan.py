"""What a sweep asks for at a snapshot: its runs, batch by batch, and about how long the missing ones take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import pair, targets_of
from guidestore.embeddings.runs import LabelBudget
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetKey, PairedCodes
from guidestore.flows.encoding.lookups import only_split, only_target, split_folds
from guidestore.flows.encoding.seen import seen_notes
from guidestore.flows.guiding.jobs import HeadJob, plan_heads, train_jobs
from guidestore.flows.guiding.recipes import (
    SCHEMES,
    BaselinesRecipe,
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    ReferenceRecipe,
    RowsRecipe,
    TransferRecipe,
    check_guidance,
    references,
)
from guidestore.flows.sweeps.file import MOST_RUNS, SweepFile
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.threads import one_thread
from guidestore.heads.choice import Choice
from guidestore.heads.controls import CONTROLS
from guidestore.heads.input_rows import ALL_ROWS, BASELINE_ROWS, ENSEMBLE, INPUT_ROWS, arms_of
from guidestore.heads.redundancy import redundancy
from guidestore.heads.registry import guidance_choice

type Taught = TransferRecipe | MarginsRecipe | PlugRecipe
TAUGHT_RECIPES = (TransferRecipe, MarginsRecipe, PlugRecipe)
"""Those whose fits cannot be told apart: a job is timed as a whole."""
JOBS_AT_ONCE = 64
"""Of a batch: what is trained and committed together. More saves little on a CPU, and a kill loses more."""
STUDENT_JOBS = 8
"""As how many jobs of input rows one of these counts: its nested cross-validation is long."""
TIMED_EPOCHS = 4
"""Of each model that has epochs, to estimate a sweep's time."""


@dataclass
class SweepPlan:
    """What a sweep asks for at a snapshot, and what of it is missing."""

    sweep: SweepFile
    snapshot: int
    runs: list[str] = field(default_factory=list)
    budgets: dict[str, LabelBudget] = field(default_factory=dict)
    """Run -> its label budget."""
    missing: int = 0
    guidance_fits: int = 0
    """Distinct G to train, shuffled ones too."""
    decoder_fits: int = 0
    student_fits: int = 0
    """Of label transfer, margins and plug, each with what it needs to choose its teacher and itself."""
    batches: int = 0
    notes: list[str] = field(default_factory=list)
    """What does not fit in the training sets, each once."""
    seconds: float = 0.0
    """Estimated, of what is missing."""


def plan_sweep(store: EmbeddingStore, sweep: SweepFile) -> SweepPlan:
    """What the sweep would train, and about how long that takes here. Raises GuidestoreError."""
    snapshot, sweep = store.snapshot(sweep.at), with_first_name(store, sweep)
    plan = SweepPlan(sweep, snapshot.version)
    first: HeadJob | None = None
    counted_fits: set[Any] = set()
    fits: dict[tuple[str, Choice], int] = {}
    students: dict[Taught, tuple[HeadJob, int]] = {}
    for jobs in batches_of(snapshot, sweep, plan):
        plan.batches += 1
        for job in jobs:
            plan.missing += len(job.ids)
            if isinstance(job.recipe, TAUGHT_RECIPES):
                of_any_seed = replace(job.recipe, seed=0)
                timed, count = students.get(of_any_seed, (job, 0))
                students[of_any_seed] = (timed, count + len(job.ids))
                continue
            if isinstance(job.recipe, ReferenceRecipe):  # all six of a training set take less than one network
                continue
            first = first or job
            for kind, choice, key in _fits(job):
                if key not in counted_fits:
                    counted_fits.add(key)
                    fits[kind, choice] = fits.get((kind, choice), 0) + 1
    plan.guidance_fits = sum(count for (kind, _), count in fits.items() if kind == "guidance")
    plan.decoder_fits = sum(count for (kind, _), count in fits.items() if kind == "decoder")
    plan.student_fits = sum(count for _, count in students.values())
    with one_thread():
        if first:
            plan.seconds += sum(count * _fit_seconds(kind, choice, first) for (kind, choice), count in fits.items())
        plan.seconds += sum(count * _student_seconds(job) for job, count in students.values())
    plan.seconds /= 2  # two batches at a time
    return plan


def batches_of(
    snapshot: Snapshot, sweep: SweepFile, plan: SweepPlan, have: Container[str] | None = None
) -> Iterator[list[HeadJob]]:
    """The jobs that are missing, batch by batch; `plan` collects all runs that the sweep means.

    A batch is of one pair of code sets, fold and seed, and has all jobs of each of its guidance models (as long as
    these are at most 4 * JOBS_AT_ONCE), so that each G is trained once.
    """
    grid = _Grid(snapshot, sweep, plan, snapshot.artifacts if have is None else have)
    for groups in grid.cells():
        yield from _packed(groups)


def _packed(groups: Iterable[Sequence[HeadJob]]) -> Iterator[list[HeadJob]]:
    """Groups together, up to about JOBS_AT_ONCE jobs; a larger group stands alone, in parts if it is very large."""
    batch: list[HeadJob] = []
    load = 0
    for group in groups:
        for first in range(0, len(group), 4 * JOBS_AT_ONCE):
            part = group[first : first + 4 * JOBS_AT_ONCE]
            weight = sum(STUDENT_JOBS if isinstance(job.recipe, TAUGHT_RECIPES) else 1 for job in part)
            if batch and load + weight > JOBS_AT_ONCE:
                yield batch
                batch, load = [], 0
            batch += part
            load += weight
    if batch:
        yield batch


class _Grid:
    """The grid of a sweep, its names checked before anything is read."""

    def __init__(self, snapshot: Snapshot, sweep: SweepFile, plan: SweepPlan, have: Container[str]) -> None:
        self.snapshot, self.sweep, self.plan, self.have = snapshot, sweep, plan, have
        self.targets = sweep.targets or (only_target(snapshot, sweep.cohort),)
        self.split = sweep.split or only_split(snapshot, sweep.cohort)
        self.folds = sweep.folds or split_folds(snapshot, sweep.cohort, self.split)
        self.guidance, self.fusions, self.decoders = (sweep.choices(k) for k in ("guidance", "fusion", "decoder"))
        self.students = [_student(choice) for choice in sweep.choices("students")]
        self.taken: set[str] = set()
        self.asked_of: set[tuple[CodeSetKey | None, ...]] = set()
        """Code sets whose redundancy is known."""
        self._check_size()
        self._check_names()

    def _check_size(self) -> None:
        sweep = self.sweep
        if not (self.guidance or self.students or sweep.baselines):
            raise InvalidInputError(
                f"sweep {sweep.name} asks for 0 heads: it has neither guidance, nor students, nor baselines; name one"
            )
        cells = len(sweep.inferior) * len(sweep.superior) * len(self.folds) * len(sweep.labelled) * len(sweep.seeds)
        per_mode = len(self.guidance) * len(self.fusions) * len(self.decoders)
        per_mode += len(sweep.baselines) * len(self.decoders) * max(1, len(self.guidance))
        heads = cells * len(self.targets) * (len(sweep.modes) * per_mode + len(self.students))
        of_head = len(arms_of(ALL_ROWS, sweep.permutations, sweep.controls, through_labels=True))
        if heads * of_head > MOST_RUNS:
            raise InvalidInputError(
                f"sweep {sweep.name} asks for {heads:,} heads with {of_head} runs each; the most is "
                f"{MOST_RUNS:,} runs, so take values out of the grid"
            )

    def _check_names(self) -> None:
        from guidestore.heads.registry import build_decoder_of, build_fusion, build_guidance, build_student

        known = targets_of(self.snapshot, self.sweep.cohort)
        for target, choice in itertools.product(self.targets, self.decoders):
            kind = known[target].kind if target in known else "classes"  # pairing refuses what is not there
            build_decoder_of(kind, choice.name, target=target, **choice.params)
        for choice in self.guidance:
            check_guidance(choice)
        for choice in self.fusions:
            build_fusion(choice.name, **choice.params)
        for student, guidance in self.students:
            build_student(student.name, **student.params)
            if guidance:
                build_guidance(guidance.name, **guidance.params)
        for name in self.sweep.baselines:
            if name not in BASELINE_ROWS:
                raise unknown_name("baseline", name, BASELINE_ROWS)

    def cells(self) -> Iterator[list[list[HeadJob]]]:
        """Per pair of code sets, fold and seed: its missing jobs, in groups that share a G."""
        sweep = self.sweep
        for inferior, superior, fold in itertools.product(sweep.inferior, sweep.superior, self.folds):
            paired = {target: self._pair(inferior, superior, fold, target) for target in self.targets}
            for seed in sweep.seeds:
                yield self._cell(paired, seed)

    def _pair(self, inferior: str, superior: str, fold: int, target: str) -> PairedCodes:
        cohort, notes = self.sweep.cohort, self.plan.notes
        paired = pair(
            self.snapshot,
            cohort=cohort,
            target=target,
            inferior=inferior,
            superior=superior,
            split=self.split,
            fold=fold,
            kinds=KINDS,
        )
        sentences = [issue.sentence for issue in paired.issues]
        train = paired.rows("train", paired.has_inferior)
        lacking = len(train) - int(paired.has_superior[train].sum())
        if lacking:
            sentences.append(
                f"{cohort}/{self.split}/{fold}: {lacking} of {len(train)} train cases with {inferior} have no code of "
                f"{superior}; G learns from the {len(train) - lacking} pairs, decoders on z_I from all labelled cases"
            )
        keys = (paired.inferior_key, paired.superior_key)
        if keys not in self.asked_of:
            self.asked_of.add(keys)
            sentences += filter(None, [redundancy(paired)])
            sentences += seen_notes(self.snapshot, cohort, [key and key.name for key in keys])
        notes += [sentence for sentence in dict.fromkeys(sentences) if sentence not in notes]
        return paired

    def _cell(self, paired: Mapping[str, PairedCodes], seed: int) -> list[list[HeadJob]]:
        from guidestore.heads.label_budget import hide_labels

        shown: list[tuple[PairedCodes, LabelBudget]] = [
            (hide_labels(of_target, None if budget == "all" else int(budget), seed=seed), budget)
            for of_target in paired.values()
            for budget in self.sweep.labelled
        ]
        groups = [
            self._missing((codes, budget, recipe) for codes, budget in shown for recipe in self._rows(guidance, seed))
            for guidance in self.guidance
        ]
        groups.append(
            self._missing((codes, budget, recipe) for codes, budget in shown for recipe in references(seed, codes.kind))
        )
        groups.append(
            self._missing((codes, budget, recipe) for codes, budget in shown for recipe in self._baselines(codes, seed))
        )
        for student, guidance in self.students:
            transfer = TransferRecipe(seed, student, self.sweep.noisy_labels, self.sweep.permutations, guidance)
            groups += [self._missing([(codes, budget, transfer)]) for codes, budget in shown]
        return [group for group in groups if group]

    def _rows(self, guidance: Choice, seed: int) -> Iterator[HeadRecipe]:
        sweep = self.sweep
        if guidance.name in SCHEMES:
            yield SCHEMES[guidance.name](seed, sweep.permutations)
            return
        for mode, fusion, decoder in itertools.product(sweep.modes, self.fusions, self.decoders):
            yield RowsRecipe(
                mode, seed, guidance, decoder, sweep.permutations, sweep.controls, fusion, cross_fit=sweep.cross_fit
            )

    def _baselines(self, paired: PairedCodes, seed: int) -> Iterator[BaselinesRecipe]:
        """KD(I) and GD(I) per decoder, which must be an mlp; E(I) per decoder and guidance."""
        from guidestore.heads.baselines.lessons import student_of

        permutations = self.sweep.permutations
        distilled = tuple(row for row in self.sweep.baselines if row != ENSEMBLE)
        for mode, decoder in itertools.product(self.sweep.modes, self.decoders):
            if distilled:
                try:
                    student_of(decoder, paired.kind, paired.target)
                except InvalidInputError:
                    note = f"{' and '.join(distilled)} distil into an mlp, so they are left out with decoder {decoder}"
                    self.plan.notes += [note] if note not in self.plan.notes else []
                else:
                    yield BaselinesRecipe(distilled, mode, seed, decoder, permutations)
            if ENSEMBLE in self.sweep.baselines:
                for guidance in (choice for choice in self.guidance if choice.name not in SCHEMES):
                    yield BaselinesRecipe((ENSEMBLE,), mode, seed, decoder, permutations, guidance)

    def _missing(self, asked: Iterable[tuple[PairedCodes, LabelBudget, HeadRecipe]]) -> list[HeadJob]:
        """The jobs of what is missing; all runs that are asked for go into the plan, with their budgets."""
        jobs = []
        for paired, budget, recipe in asked:
            ids, job = plan_heads(self.snapshot, paired, recipe, have=self.have, taken=self.taken)
            new = [run for run in ids if run not in self.plan.budgets]
            self.plan.runs += new
            self.plan.budgets |= dict.fromkeys(new, budget)
            jobs += [job] if job else []
        return jobs


def _student(choice: Choice) -> tuple[Choice, Choice | None]:
    """The student, and the G whose codes it reads beside z_I, if its parameters name one."""
    params = dict(choice.params)
    given = params.pop("guidance", None)
    if given is None:
        return choice, None
    named = dict(given) if isinstance(given, Mapping) else {"name": given}
    return Choice.of(choice.name, params), guidance_choice(str(named.pop("name", "")), named)


def _fits(job: HeadJob) -> Iterator[tuple[str, Choice, Any]]:
    """(guidance or decoder, which, what makes it distinct) of the fits that a job needs, if they can be told apart."""
    recipe, paired = job.recipe, job.paired
    if not isinstance(recipe, RowsRecipe | BaselinesRecipe):
        return
    codes = (paired.fold, str(paired.inferior_key), str(paired.superior_key), recipe.seed)
    for arm, run in job.ids.items():
        row = INPUT_ROWS[arm.row]
        if row.has_g:
            by_class = bool(arm.control) and CONTROLS[arm.control].orders == "class"
            of_labels = paired.y.tobytes() if by_class else b""
            yield "guidance", recipe.guidance, ("guidance", codes, recipe.guidance, *arm[1:], of_labels)
        if row.trains_decoder(recipe.mode):
            yield "decoder", recipe.decoder, run


def _student_seconds(job: HeadJob) -> float:
    """Of one of the runs of such a job: it is run without controls."""
    assert isinstance(job.recipe, TAUGHT_RECIPES)  # noqa: S101  (of its caller)
    small = replace(job, recipe=replace(job.recipe, permutations=0))
    trained: list[Any] = []
    taken = _seconds(lambda: trained.extend(train_jobs([small], test=False)[0]))
    return taken / max(1, len(trained))


def _fit_seconds(kind: str, choice: Choice, job: HeadJob) -> float:
    """Of one fit on the training set of `job`: some epochs of a model that has them, scaled up; else a whole fit."""
    import numpy as np

    from guidestore.heads.outcomes import n_outputs
    from guidestore.heads.registry import build_decoder_of, build_guidance

    paired = job.paired
    model: Any
    target = {"target": paired.target} if kind == "decoder" else {}
    build = build_guidance if kind == "guidance" else partial(build_decoder_of, paired.kind)
    model = build(choice.name, **target, **choice.params)
    config = model.config
    epochs = config.get("decoder", config).get("epochs", 0)  # a calibrated decoder holds its own
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
        labels = [paired.y[rows] for rows in (train, val)]
        model.fit(both[0], labels[0], both[1], labels[1], n_classes=n_outputs(paired.kind, len(paired.classes)), seed=0)

    fit()  # imports and first allocations
    taken = _seconds(fit)
    return taken * epochs / min(TIMED_EPOCHS, epochs) if epochs else taken


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
