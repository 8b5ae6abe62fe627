"""Two snapshots: what the heads that both have gained between them, from stored predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import KINDS, ONE_CLASS_KINDS
from guidestore.embeddings.runs import Head, Part, Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.results.comparison import ChangedCase, MetricGain, compare_groups
from guidestore.flows.results.effects import main_metric
from guidestore.flows.results.evaluation import over_draws, row_label
from guidestore.flows.results.looks import count_look
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import newest_runs


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """A head at snapshot b minus the same at snapshot a, over its folds and seeds, those of a control over its
    draws too."""

    head: Head
    gain: MetricGain
    n_runs: int
    """Of each snapshot."""
    n_cases: int
    n_changed: int
    """Predictions of single runs that changed."""
    changed: tuple[ChangedCase, ...]
    """Cases that the mean of the runs predicts otherwise."""

    def as_row(self) -> dict[str, Any]:
        """Flat, for tables."""
        head = self.head
        return {
            "target": head.target,
            "mode": head.mode,
            "row": row_label(head),
            "inferior": head.inferior.within if head.inferior else "",
            "superior": head.superior.within if head.superior else "",
            "guidance": head.guidance,
            "decoder": head.decoder,
            **self.gain.as_row(),
            "runs": self.n_runs,
            "cases": self.n_cases,
            "changed": self.n_changed,
        }


@dataclass(frozen=True, slots=True)
class SnapshotComparison:
    """Snapshot b minus snapshot a, head by head."""

    snapshots: tuple[int, int]
    heads: tuple[HeadComparison, ...]
    notes: tuple[str, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        """A flat row per head, for tables."""
        return [head.as_row() for head in self.heads]

    def changed_rows(self) -> list[dict[str, Any]]:
        """A flat row per case whose prediction changed, by head; the controls are left out."""
        return [
            {"target": head.target, "row": head.row, "guidance": head.guidance, "decoder": head.decoder} | case.as_row()
            for head, cases in ((compared.head, compared.changed) for compared in self.heads)
            if not head.control
            for case in cases
        ]


def names_snapshots(store: EmbeddingStore, *names: str) -> bool:
    """Whether all of `names` are snapshot numbers or tags; other names are of runs."""
    tags = store.tags()
    return all(name in tags or (name.isascii() and name.isdigit() and len(name) < 8) for name in names)


def compare_snapshots(
    store: EmbeddingStore, a: int | str, b: int | str, *, part: Part = "test", metric: str = ""
) -> SnapshotComparison:
    """Compares the newest run of each head, fold and seed at snapshot `b` with that at snapshot `a`.

    Raises NotFoundInStoreError for an unknown snapshot, and InvalidInputError where nothing is there to compare.
    """
    at_a, at_b = store.snapshot(a), store.snapshot(b)
    if at_a.version == at_b.version:
        raise InvalidInputError(f"{a} and {b} are the same snapshot {at_a.version}; name two")
    of_a, of_b = (newest_runs(snapshot, lambda run: run.status == "ok") for snapshot in (at_a, at_b))
    both = [trained for trained in of_b if trained in of_a]
    pairs = [(of_a[trained], of_b[trained]) for trained in both if of_a[trained].id != of_b[trained].id]
    notes = []
    for name, alone in ((a, of_a.keys() - of_b.keys()), (b, of_b.keys() - of_a.keys())):
        if alone:
            notes.append(f"in snapshot {name} alone: {count_of(len(alone), 'head')}")
    if len(both) > len(pairs):
        notes.append(f"the same in both: {count_of(len(both) - len(pairs), 'head')}")
    if not pairs:
        raise InvalidInputError(
            f"no head was trained anew between snapshots {a} and {b} ({'; '.join(notes) or 'they hold no runs'}); "
            "compare two runs, or evaluate a snapshot with --at"
        )
    predictions = load_predictions(at_a, [run for run, _ in pairs], part)
    predictions |= load_predictions(at_b, [run for _, run in pairs], part)
    groups: dict[Head, list[tuple[Run, Run]]] = {}
    for before, after in pairs:
        if before.id in predictions and after.id in predictions:
            groups.setdefault(over_draws(after.head), []).append((before, after))
    if not groups:
        raise InvalidInputError(f"none of the {len(pairs)} changed heads has labelled {part} predictions to compare")
    compared = [run for members in groups.values() for pair in members for run in pair]
    if part == "test" and (refused := count_look(store, compared, "compare")):
        notes.append(refused)
    notes += notes_on(at_b, compared)
    kinds = {kind: [said for said in predictions.values() if said.kind == kind] for kind in KINDS}
    metrics = {kind: metric or main_metric(said) for kind, said in kinds.items() if said}
    heads = tuple(
        _compared(head, members, predictions, metrics[members[0][1].kind]) for head, members in groups.items()
    )
    shown = " or ".join(dict.fromkeys(metrics.values()))
    notes.append(f"{shown} on {part} cases; 95 % intervals and p over the cases that both have, heads as trained")
    return SnapshotComparison((at_a.version, at_b.version), heads, tuple(notes))


def _compared(
    head: Head, pairs: Sequence[tuple[Run, Run]], predictions: Mapping[str, RunPredictions], metric: str
) -> HeadComparison:
    # A permutation of the control is compared with the same permutation.
    number = {run.id: number for number, pair in enumerate(pairs) for run in pair}
    comparison = compare_groups(
        [predictions[before.id] for before, _ in pairs],
        [predictions[after.id] for _, after in pairs],
        (metric,),
        lambda run: (number[run.run],),
    )
    n_changed = sum(
        int((before.predicted != after.predicted).sum())
        for before, after in zip(comparison.a, comparison.b, strict=True)
        if before.kind in ONE_CLASS_KINDS
    )
    changed = tuple(comparison.changed(pairs[0][1].classes))
    return HeadComparison(head, comparison.gains[0], len(pairs), comparison.n_cases, n_changed, changed)
