"""A sweep's heads ranked on val; those that were chosen are scored on test, and each look at it is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, StorageError
from guidestore.embeddings.runs import Part, Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.scoring import score_test
from guidestore.flows.results.effects import GAINS, RowEffect, decoder_of_one_code, row_effects, same_scope
from guidestore.flows.results.looks import count_look
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.plan import SweepPlan, batches_of
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.checks import check_choice
from guidestore.heads.input_rows import REFERENCE, S_PLUS_I, I, S
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs


@dataclass(frozen=True, slots=True)
class Ranked:
    """One guided head of a sweep, over its folds and seeds."""

    effect: RowEffect
    """On val."""
    test: RowEffect | None = None
    """None unless it was chosen, and looked at."""

    def as_row(self) -> dict[str, Any]:
        """Flat, for tables, CSV and Parquet."""
        head, score, gains = self.effect.head, self.effect.score, self.effect.as_row()
        row = {name: gains[name] for name in ("target", "mode", "row", "guidance", "decoder", "inferior", "superior")}
        row |= {"labelled": head.labelled, "val": score and score.value, "val_low": score and score.low}
        row |= {"val_high": score and score.high, "metric": self.effect.metric, "verdict": self.effect.verdict}
        row |= {name: gains[name] for name in (*GAINS, "nearest_control")}
        if self.test:
            row |= {"test": self.test.score and self.test.score.value}
            row |= {"test_gain_over_i": self.test.as_row()["gain_over_i"], "test_verdict": self.test.verdict}
        return row


def sweep_runs(store: EmbeddingStore, sweep: SweepFile) -> list[Run]:
    """The runs of a sweep that are in the store, with the label budgets that it gives them.

    Raises GuidestoreError, and InvalidInputError where none is there.
    """
    snapshot, sweep = store.snapshot(sweep.at), with_first_name(store, sweep)
    plan = SweepPlan(sweep, snapshot.version)
    for _ in batches_of(snapshot, sweep, plan):
        pass
    newest = store.snapshot()
    ids = [run for run in plan.runs if run in newest.artifacts]
    if not ids:
        raise InvalidInputError(f"sweep {sweep.name} has no runs in the store; run `guidestore sweep run` first")
    return [replace(run, labelled=plan.budgets[run.id]) for run in load_runs(newest, ids)]


def rank_sweep(
    store: EmbeddingStore, sweep: SweepFile, *, metric: str = "", chosen: int = 0, progress: Progress = no_progress
) -> list[Ranked]:
    """The guided heads of the sweep that are there, best on val first. The first `chosen`, with row I, S+I and the
    controls that they are compared with, are scored on test, and that look is counted. metric: '' for the main one.

    Raises GuidestoreError, and InvalidInputError where none is there or the metric is unknown.
    """
    if metric:
        check_choice(metric, "metric", tuple(drawn_metrics()))
    sweep = with_first_name(store, sweep)
    runs = sweep_runs(store, sweep)
    ranked = ranked_on_val(store.snapshot(), runs, metric)
    if not chosen:
        return ranked
    best = ranked[:chosen]
    looked_at = look_at_test(store, sweep, runs, best, f"the best {len(best)} on val", progress)
    on_test = {effect.head: effect for effect in _effects(store.snapshot(), looked_at, metric, "test")}
    return [replace(ranked_head, test=on_test.get(ranked_head.effect.head)) for ranked_head in best] + ranked[chosen:]


def ranked_on_val(snapshot: Snapshot, runs: Sequence[Run], metric: str = "") -> list[Ranked]:
    """The guided heads among these runs, best on val first; those without a score last."""
    effects = _effects(snapshot, runs, metric, "val")
    return [Ranked(e) for e in sorted(effects, key=lambda effect: -effect.score.value if effect.score else 1.0)]


def look_at_test(
    store: EmbeddingStore,
    sweep: SweepFile,
    runs: Iterable[Run],
    heads: Sequence[Ranked],
    why: str,
    progress: Progress = no_progress,
) -> list[Run]:
    """Counts a look at test for these heads (once for the same runs), and scores them and what they are compared with;
    all of these runs."""
    looked_at = related_runs(runs, heads)
    chosen = {ranked.effect.head for ranked in heads}
    # Counted first: a look that is interrupted was one.
    told = [run for run in looked_at if run.head in chosen]
    if refused := count_look(store, looked_at, f"{why} of sweep {sweep.name}", told=told):
        raise StorageError(refused)
    score_test(store, [run.id for run in looked_at], progress)
    return looked_at


def related_runs(runs: Iterable[Run], heads: Sequence[Ranked]) -> list[Run]:
    """The runs of these heads, of their controls, and of what they are compared with."""
    return [run for run in runs if any(_belongs(run, ranked.effect) for ranked in heads)]


def _effects(snapshot: Snapshot, runs: Sequence[Run], metric: str, part: Part) -> list[RowEffect]:
    return row_effects(runs, load_predictions(snapshot, runs, part), metrics=(metric,) if metric else ())


def _belongs(run: Run, effect: RowEffect) -> bool:
    """Whether a run is of that head or its controls, or one that it is compared with."""
    head = effect.head
    if not same_scope(run.head, head):
        return False
    if (run.row, run.guidance, run.decoder) == (head.row, head.guidance, head.decoder):
        return True
    if run.control or run.row not in (I, S, S_PLUS_I, REFERENCE):
        return False
    return (
        run.row == REFERENCE
        or run.decoder in (head.decoder, decoder_of_one_code(head.decoder))
        or head.mode == "as-published"
    )
