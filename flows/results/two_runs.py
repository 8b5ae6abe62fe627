"""Two stored runs, or the heads that they are of, on the same cases: how much better is one, how sure is that, and
which cases changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.results.comparison import ChangedCase, MetricGain, compare_groups, split_and_fold
from guidestore.flows.results.looks import count_look
from guidestore.heads.metrics import drawn_metrics
from guidestore.heads.significance import McNemar, mcnemar
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.row_source import RowSource
from guidestore.warehouse.runs import newest_runs, run_of


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Run b minus run a; of heads, all their runs."""

    a: tuple[Run, ...]
    b: tuple[Run, ...]
    n_cases: int
    gains: tuple[MetricGain, ...]
    mcnemar: McNemar | None
    """None where a case has no one class, so that no prediction is right or wrong."""
    changed: tuple[ChangedCase, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What each is, in a line."""
        return _name(self.a), _name(self.b)

    def as_rows(self) -> list[dict[str, Any]]:
        """A flat row per metric, for tables."""
        return [{"metric": gain.metric, **gain.as_row()} for gain in self.gains]

    def changed_rows(self) -> list[dict[str, Any]]:
        """A flat row per case whose predicted class differs."""
        return [case.as_row() for case in self.changed]


def compare_runs(
    store: EmbeddingStore, a: str, b: str, *, part: Part = "test", at: int | str | None = None, pooled: bool = False
) -> RunComparison:
    """Compares run `b` with run `a` (aliases, or 8 digits or more of their ids) from stored predictions alone.

    pooled: each stands for its head, over all folds that both have and all seeds. Raises NotFoundInStoreError, and
    InvalidInputError for runs of other cohorts, targets or cases.
    """
    snapshot = store.snapshot(at)
    first, second = (run_of(snapshot, store.find_run(name, at)) for name in (a, b))
    if first.id == second.id:
        raise InvalidInputError(f"{a} and {b} are the same run {first.id[:12]}; name two")
    told = compared(snapshot, first, second, part=part, pooled=pooled, names=(a, b))
    runs = [*told.a, *told.b]
    refused = count_look(store, runs, "compare") if part == "test" else ""
    return replace(told, notes=(*filter(None, [refused]), *notes_on(snapshot, runs), *told.notes))


def compared(
    snapshot: RowSource, first: Run, second: Run, *, part: Part, pooled: bool, names: tuple[str, str]
) -> RunComparison:
    """`compare_runs` of what a snapshot or an index has, which writes nothing and so counts no look at test.

    names: what errors call them.
    """
    a, b = names
    for what, of_a, of_b in (("cohort", first.cohort, second.cohort), ("target", first.target, second.target)):
        if of_a != of_b:
            raise InvalidInputError(f"run {a} is of {what} {of_a} and run {b} of {of_b}; compare runs of one {what}")
    if pooled and first.head == second.head:
        raise InvalidInputError(f"{a} and {b} are runs of the same head; name runs of two, or compare them alone")
    sides = [_of_head(snapshot, run, part) if pooled else [run] for run in (first, second)]
    predictions = load_predictions(snapshot, [run for side in sides for run in side], part)
    runs_a, runs_b = (tuple(run for run in side if run.id in predictions) for side in sides)
    for run, runs in ((first, runs_a), (second, runs_b)):
        if not runs:
            raise InvalidInputError(
                f"run {run.id[:12]} has fewer than 2 labelled {part} predictions: it diverged, or a sweep trained it "
                "and left test alone until it was chosen (`guidestore sweep show --test N`)"
            )
    of_a, of_b = ([predictions[run.id] for run in runs] for runs in (runs_a, runs_b))
    cases_a, cases_b = ({case for run in side for case in run.case_ids} for side in (of_a, of_b))
    if len(cases_a & cases_b) < 2:
        raise InvalidInputError(
            f"runs {a} and {b} have {len(cases_a & cases_b)} {part} cases in common (split {first.split}/{first.fold} "
            f"and {second.split}/{second.fold}); compare runs that were tested on the same cases"
        )
    # What makes two single runs a pair is the cases, whatever split or seed they come from.
    unit = split_and_fold if pooled else lambda run: ("pair",)
    comparison = compare_groups(of_a, of_b, tuple(drawn_metrics(first.kind)), unit)
    left_out = max(len(cases_a), len(cases_b)) - comparison.n_cases
    notes = [f"{left_out} cases that only one of them predicts are left out"] if left_out else []
    notes.append(
        f"95 % intervals and p from {comparison.draws} draws of the cases, seed {comparison.seed}; heads as trained"
    )
    single = len(comparison.a) == len(comparison.b) == 1
    return RunComparison(
        runs_a,
        runs_b,
        comparison.n_cases,
        comparison.gains,
        mcnemar(comparison.a[0], comparison.b[0]) if single and first.kind in ONE_CLASS_KINDS else None,
        tuple(comparison.changed(first.classes)),
        tuple(notes),
    )


def _of_head(snapshot: RowSource, run: Run, part: Part) -> list[Run]:
    """The newest run of each fold and seed; the one that was named, of its own."""
    newest = newest_runs(snapshot, lambda other: other.status == "ok" and other.head == run.head, part)
    return list(({of.unit: of for of in newest.values()} | {run.unit: run}).values())


def _name(runs: Sequence[Run]) -> str:
    run = runs[0]
    control = f", {run.control} pairs {run.permutation}" if run.control else ""
    models = " ".join(name for name in (run.guidance, run.decoder) if name)
    folds, seeds = (sorted({getattr(run, name) for run in runs}) for name in ("fold", "seed"))
    return f"{run.row}{control} ({models}, {run.mode}, {_listed('fold', folds)}, {_listed('seed', seeds)})"


def _listed(what: str, numbers: Sequence[int]) -> str:
    """``fold 3``, ``folds 0, 1, 4``, of many ``folds 0 to 9``."""
    if len(numbers) > 4 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{what}s {numbers[0]} to {numbers[-1]}"
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
