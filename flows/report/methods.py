"""A methods paragraph and a reporting checklist, filled with what the store knows; what it cannot know stays open.

The items are those of TRIPOD+AI (Collins et al., BMJ 385, e078378, 2024), in our words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.outcomes import KINDS, TargetKind
from guidestore.embeddings.pairing import outcomes_of, parts_of
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.encoding.lookups import outcome_summary
from guidestore.flows.report.provenance import Provenance
from guidestore.flows.report.tables import NOTHING, count
from guidestore.flows.results.effects import RowEffect
from guidestore.flows.results.looks import count_looks
from guidestore.flows.results.training_warnings import training_warnings
from guidestore.heads.controls import CONTROLS
from guidestore.heads.metrics import drawn_metrics, metric_named
from guidestore.heads.significance.bootstrap import DRAWS

OPEN = "for the authors to say"
_PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One item of TRIPOD+AI."""

    number: str
    asks: str
    says: str
    """What is known; `OPEN` where nothing is."""


@dataclass(frozen=True, slots=True)
class Methods:
    """Sentences for a paper, and the checklist."""

    sentences: tuple[str, ...]
    checklist: tuple[ChecklistItem, ...]

    @property
    def filled(self) -> int:
        """Items of which something is known."""
        return sum(item.says != OPEN for item in self.checklist)


@dataclass(frozen=True, slots=True)
class _Facts:
    """Phrases that paragraph and checklist share."""

    data: str
    partition: str
    outcome: str
    classes: str
    predictors: str
    missing: str
    models: str
    controls: str
    measures: str
    results: str
    software: str
    looks: str


def methods_of(snapshot: Snapshot, made: Provenance, runs: Sequence[Run], effects: Sequence[RowEffect]) -> Methods:
    """Of these runs and what was told of them."""
    facts = _facts(snapshot, made, runs, effects)
    sentences = (
        facts.data,
        facts.predictors,
        facts.outcome,
        facts.partition,
        facts.missing,
        facts.models,
        facts.controls,
        facts.measures,
        facts.looks,
        facts.software,
    )
    return Methods(tuple(filter(None, sentences)), tuple(_checklist(facts, training_warnings(runs))))


def _facts(snapshot: Snapshot, made: Provenance, runs: Sequence[Run], effects: Sequence[RowEffect]) -> _Facts:
    lines = dict(made.lines)
    cases = snapshot.rows("cases", cohort=made.cohort)["case_id"].unique()
    origins = [
        f"{origin.name} ({origin.role}; {origin.made_by}; {origin.code_dim} dimensions; trained on {origin.trained_on})"
        for origin in made.code_sets
    ]
    targets = list(dict.fromkeys(run.target for run in runs))
    outcome, classes, missing = [], [], []
    for target in targets:
        try:
            of, labels = outcomes_of(snapshot, made.cohort, target, KINDS)
        except NotFoundInStoreError:  # runs outlive what they were trained on
            outcome.append(target)
            continue
        what = ", ".join(of.names) or " in ".join(filter(None, (of.kind, of.unit)))
        outcome.append(f"{target} ({what})")
        classes.append(f"{target}: {outcome_summary(of, labels)}")
        without = len(cases) - len(labels)
        missing.append(f"{without} of {len(cases)} have no label of {target}")
    folds = sorted({(run.split, run.fold) for run in runs})
    sizes = "parts that are not in this snapshot any more"
    with suppress(NotFoundInStoreError):
        parts = Counter(parts_of(snapshot, made.cohort, *folds[0]).values())
        sizes = ", ".join(f"{parts[part]} {part}" for part in _PARTS)
    budgets = sorted({str(run.labelled) for run in runs} - {"all"})
    controls = list(dict.fromkeys(run.control for run in runs if run.control in CONTROLS))
    kinds: dict[TargetKind, None] = dict.fromkeys(run.kind for run in runs)
    mains = [metric_named(effect.metric).title for effect in effects if effect.effect]
    shown = [metric.title for kind in kinds for metric in drawn_metrics(kind).values()]
    metrics, main = (", ".join(dict.fromkeys(titles)) for titles in ([*shown, *mains], mains))
    told = Counter(effect.verdict for effect in effects)
    versions = ", ".join(f"{name} {trained}" for name, trained, _ in made.libraries if trained != NOTHING)
    return _Facts(
        data=f"The cohort {made.cohort} has {count(len(cases), 'case')}; case is the unit of pairing and of splitting.",
        partition=f"Cases were split into {sizes} (split {folds[0][0]}, fold {folds[0][1]}"
        + (f", the first of {len(folds)} folds" if len(folds) > 1 else "")
        + "); heads were fitted on train, stopped and chosen on val, and scored once on test. "
        "Codes of an encoder that was trained on a fold feed heads of that fold alone.",
        outcome=f"The outcome was {'; '.join(outcome)}.",
        classes="; ".join(classes),
        predictors=f"Images were represented by stored codes: {'; '.join(origins)}.",
        missing=f"Of the cases, {'; '.join(missing) or NOTHING}; a row uses the cases that have the codes it reads.",
        models=f"Guidance models: {lines['guidance models']}; decoders: {lines['decoders']}; "
        f"references for I: {lines['references for I']}; modes: {lines['modes']}; "
        f"seeds: {lines['seeds']}"
        + (f"; label budgets: {', '.join(budgets)}" if budgets else "")
        + f". {count(len(runs), 'head')} were trained.",
        controls=f"Each guided head was held against the same head trained on controls: {_listed(controls)}."
        if controls
        else "No controls were trained.",
        measures=f"Measures: {metrics}; intervals are 95 %, from {DRAWS:,} paired draws of the test cases; gains are "
        f"judged in {main or NOTHING}, and p of 'guidance helps' is corrected over all guided rows (Holm).",
        results="; ".join(f"{verdict}: {number}" for verdict, number in told.items()) or NOTHING,
        software=f"Software: {versions}; snapshot {made.snapshot} of the store.",
        looks=f"Looks at test of the cohort so far: {count_looks(snapshot, made.cohort)}.",
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or NOTHING


def _checklist(facts: _Facts, warnings: Sequence[str]) -> list[ChecklistItem]:
    known = [
        ("1", "Title: a prediction model is developed or evaluated, the population, the outcome", OPEN),
        ("2", "Abstract: as TRIPOD+AI for abstracts", OPEN),
        ("3a", "Background: the healthcare context, and why the model is needed", OPEN),
        ("3b", "Background: for whom, for what decision, at what point of the care pathway", OPEN),
        ("3c", "Background: known health inequalities between groups", OPEN),
        ("4", "Objectives: development, evaluation, or both", "Development, and evaluation on held-out cases."),
        ("5a", "Data: the sources of development and evaluation data", facts.data),
        ("5b", "Data: dates of recruitment and follow-up", OPEN),
        ("6a", "Participants: the setting, number and location of centres", OPEN),
        ("6b", "Participants: eligibility", OPEN),
        ("6c", "Participants: treatments received", OPEN),
        ("7", "Data preparation: processing and quality checks, the same across groups?", facts.predictors),
        ("8a", "Outcome: what it is, and its time horizon", facts.outcome),
        ("8b", "Outcome: who assessed it, if that needs judgement", OPEN),
        ("8c", "Outcome: whether assessors were blinded", OPEN),
        ("9a", "Predictors: how the initial ones were chosen", facts.predictors),
        ("9b", "Predictors: how and when they were measured", OPEN),
        ("9c", "Predictors: who assessed them, if that needs judgement", OPEN),
        ("10", "Sample size: how it was arrived at", f"{facts.data} {facts.partition}"),
        ("11", "Missing data: how they were handled", facts.missing),
        ("12a", "Analysis: how the data were partitioned and used", facts.partition),
        ("12b", "Analysis: how predictors were transformed", facts.models),
        ("12c", "Analysis: type of model, rationale, hyper-parameters, internal validation", facts.models),
        ("12d", "Analysis: heterogeneity across clusters", OPEN),
        ("12e", "Analysis: measures of performance, and comparison of models", f"{facts.measures} {facts.controls}"),
        ("12f", "Analysis: updating of the model after its evaluation", facts.looks),
        ("12g", "Analysis: how predictions of an existing model were calculated", facts.software),
        ("13", "Class imbalance: what was done about it", f"Labelled cases by class: {facts.classes}."),
        ("14", "Fairness: what was done, and why", OPEN),
        (
            "15",
            "Model output: probabilities or classes, thresholds",
            "Probabilities of each class; the likeliest wins.",
        ),
        ("16", "Differences between development and evaluation data", facts.partition),
        ("17", "Ethical approval and consent", OPEN),
        ("18a", "Funding", OPEN),
        ("18b", "Conflicts of interest", OPEN),
        ("18c", "Protocol", OPEN),
        ("18d", "Registration", OPEN),
        ("18e", "Availability of data", OPEN),
        ("18f", "Availability of code", facts.software),
        ("19", "Involvement of patients and the public", OPEN),
        ("20a", "Results: flow of participants, with and without the outcome", f"{facts.data} {facts.missing}"),
        ("20b", "Results: characteristics of participants, by group", f"Labelled cases by class: {facts.classes}."),
        ("20c", "Results: development and evaluation data compared", OPEN),
        ("21", "Results: number of participants and events in each analysis", facts.classes),
        ("22", "Model specification: enough to predict for new people", "`guidestore export-model` writes each head."),
        ("23a", "Results: performance with intervals, in key subgroups too", f"Verdicts: {facts.results}."),
        ("23b", "Results: heterogeneity of performance across clusters", OPEN),
        ("24", "Results: updating of the model", OPEN),
        ("25", "Interpretation, with the objectives and earlier studies in mind", OPEN),
        ("26", "Limitations, and their effect on bias and generalisability", "; ".join(warnings) or OPEN),
        ("27a", "Use: what to do where the input is poor or missing", OPEN),
        ("27b", "Use: what users must do, and know", OPEN),
        ("27c", "Next steps of research", OPEN),
    ]
    return [ChecklistItem(*item) for item in known]
