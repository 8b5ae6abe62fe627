"""Two stored runs on the same cases: how much better is one, how sure is that, and which cases changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.comparison import ChangedCase, MetricGain, compare_groups
from guidestore.flows.results.looks import count_look
from guidestore.heads.metrics import drawn_metrics
from guidestore.heads.significance import McNemar, mcnemar
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import run_of


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Run b minus run a."""

    a: Run
    b: Run
    n_cases: int
    gains: tuple[MetricGain, ...]
    mcnemar: McNemar | None
    """None where a case has no one class, so that no prediction is right or wrong."""
    changed: tuple[ChangedCase, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What each run is, in a line."""
        return _name(self.a), _name(self.b)

    def as_rows(self) -> list[dict[str, Any]]:
        """A flat row per metric, for tables."""
        return [{"metric": gain.metric, **gain.as_row()} for gain in self.gains]

    def changed_rows(self) -> list[dict[str, Any]]:
        """A flat row per case whose predicted class differs."""
        return [case.as_row() for case in self.changed]


def compare_runs(
    store: EmbeddingStore, a: str, b: str, *, part: Part = "test", at: int | str | None = None
) -> RunComparison:
    """Compares run `b` with run `a` (aliases, or 8 digits or more of their ids) from stored predictions alone.

    Raises NotFoundInStoreError, and InvalidInputError for runs of other cohorts, targets or cases.
    """
    snapshot = store.snapshot(at)
    first, second = (run_of(snapshot, store.find_run(name, at)) for name in (a, b))
    if first.id == second.id:
        raise InvalidInputError(f"{a} and {b} are the same run {first.id[:12]}; name two")
    for what, of_a, of_b in (("cohort", first.cohort, second.cohort), ("target", first.target, second.target)):
        if of_a != of_b:
            raise InvalidInputError(f"run {a} is of {what} {of_a} and run {b} of {of_b}; compare runs of one {what}")
    predictions = load_predictions(snapshot, (first, second), part)
    for run in (first, second):
        if run.id not in predictions:
            raise InvalidInputError(
                f"run {run.id[:12]} has fewer than 2 labelled {part} predictions: it diverged, or a sweep trained it "
                "and left test alone until it was chosen (`guidestore sweep show --test N`)"
            )
    of_a, of_b = predictions[first.id], predictions[second.id]
    common = set(of_a.case_ids) & set(of_b.case_ids)
    if len(common) < 2:
        raise InvalidInputError(
            f"runs {a} and {b} have {len(common)} {part} cases in common (split {first.split}/{first.fold} and "
            f"{second.split}/{second.fold}); compare runs that were tested on the same cases"
        )
    # What makes them a pair is the cases, whatever split or seed they come from.
    comparison = compare_groups([of_a], [of_b], tuple(drawn_metrics(of_a.kind)), lambda run: ("pair",))
    notes = []
    if part == "test" and (refused := count_look(store, (first, second), "compare")):
        notes.append(refused)
    left_out = max(len(of_a), len(of_b)) - len(common)
    if left_out:
        notes.append(f"{left_out} cases that only one of them predicts are left out")
    notes.append(
        f"95 % intervals and p from {comparison.draws} draws of the cases, seed {comparison.seed}; heads as trained"
    )
    return RunComparison(
        first,
        second,
        len(common),
        comparison.gains,
        mcnemar(comparison.a[0], comparison.b[0]) if of_a.kind in ONE_CLASS_KINDS else None,
        tuple(comparison.changed(first.classes)),
        tuple(notes),
    )


def _name(run: Run) -> str:
    control = f", {run.control} pairs {run.permutation}" if run.control else ""
    models = " ".join(name for name in (run.guidance, run.decoder) if name)
    return f"{run.row}{control} ({models}, {run.mode}, fold {run.fold}, seed {run.seed})"
