"""A sweep's heads ranked on val; those that were chosen are scored on test, and each look at it is counted."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.scoring import score_test
from guidestore.flows.results.effects import METRIC, RowEffect, decoder_of_one_code, row_effects
from guidestore.flows.results.predictions import Part, load_predictions
from guidestore.flows.results.runs import load_runs
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.plan import SweepPlan, batches_of
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.checks import check_choice
from guidestore.heads.input_rows import S_PLUS_I, I
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.indexer import build_index


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


@dataclass(frozen=True, slots=True)
class SweepRuns:
    """The runs of a sweep that are in the store."""

    facts: list[dict]
    """Rows of schema ``runs``."""
    budgets: Mapping[str, int | str]
    """Run -> its label budget."""


def sweep_runs(store: EmbeddingStore, sweep: SweepFile) -> SweepRuns:
    """Raises GuidestoreError, and InvalidInputError where none is there."""
    snapshot = store.snapshot(sweep.at)
    plan = SweepPlan(sweep, snapshot.version)
    for _ in batches_of(snapshot, sweep, plan):
        pass
    newest = store.snapshot()
    runs = [run for run in plan.runs if run in newest.artifacts]
    if not runs:
        raise InvalidInputError(f"sweep {sweep.name} has no runs in the store; run `guidestore sweep run` first")
    return SweepRuns(load_runs(newest, runs)[0], plan.budgets)


def rank_sweep(
    root: Path | str, sweep: SweepFile, *, metric: str = METRIC, chosen: int = 0, progress: Progress = no_progress
) -> list[Ranked]:
    """The guided heads of the sweep that are there, best on val first. The first `chosen`, with row I, S+I and the
    controls that they are compared with, are scored on test, and that look is counted.

    Raises GuidestoreError, and InvalidInputError where none is there or the metric is unknown.
    """
    check_choice(metric, "metric", tuple(drawn_metrics()))
    store = EmbeddingStore.open(root)
    found = sweep_runs(store, sweep)
    ranked = ranked_on_val(store.snapshot(), found, metric)
    if not chosen:
        return ranked
    best = ranked[:chosen]
    facts = look_at_test(store, sweep, found, best, f"the best {len(best)} on val", progress)
    tested = {_place(one): one.effect for one in _ranked(store.snapshot(), facts, found.budgets, metric, "test")}
    return [Ranked(one.labelled, one.effect, tested.get(_place(one))) for one in best] + ranked[chosen:]


def ranked_on_val(snapshot: Snapshot, found: SweepRuns, metric: str = METRIC) -> list[Ranked]:
    """The guided heads among these runs, best on val first; those without a score last."""
    ranked = _ranked(snapshot, found.facts, found.budgets, metric, "val")
    return sorted(ranked, key=lambda one: -one.effect.score.value if one.effect.score else 1.0)


def runs_of_head(found: SweepRuns, one: Ranked) -> list[dict]:
    """Rows of the runs of this head itself, over its folds and seeds, without controls."""
    place = _place(one)
    return [f for f in found.facts if not f["control"] and _head_of(f, found.budgets[f["run"]]) == place]


def look_at_test(
    store: EmbeddingStore,
    sweep: SweepFile,
    found: SweepRuns,
    heads: Sequence[Ranked],
    why: str,
    progress: Progress = no_progress,
) -> list[dict]:
    """Counts a look at test for these heads, and scores them and what they are compared with; rows of all of these."""
    facts = related_runs(found, heads)
    chosen = {_place(one) for one in heads}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    looked = [fact for fact in facts if not fact["control"] and _head_of(fact, found.budgets[fact["run"]]) in chosen]
    why = f"{why} of sweep {sweep.name}"
    rows = [
        {"cohort": sweep.cohort, "target": fact["target"], "run": fact["run"], "part": "test", "why": why, "at": now}
        for fact in looked
    ]
    # Counted first: a look that is interrupted was one.
    with store.begin(f"a look at test for {len(heads)} heads of sweep {sweep.name}") as transaction:
        transaction.write_rows("looks", rows, cohort=sweep.cohort)
    score_test(store, [fact["run"] for fact in facts], progress)
    build_index(store)
    return facts


def related_runs(found: SweepRuns, heads: Sequence[Ranked]) -> list[dict]:
    """Rows of the runs of these heads, of their controls, and of what they are compared with."""
    return [fact for fact in found.facts if any(_belongs(fact, found.budgets[fact["run"]], one) for one in heads)]


def count_looks(snapshot: Snapshot, cohort: str) -> int:
    """How often somebody has looked at test of the cohort for runs that were chosen on val."""
    looks = snapshot.rows("looks", cohort=cohort)
    return len(set(zip(looks["why"].to_pylist(), looks["at"].to_pylist(), strict=True)))


def _ranked(
    snapshot: Snapshot, facts: Sequence[dict], budgets: Mapping[str, int | str], metric: str, part: Part
) -> list[Ranked]:
    predictions = load_predictions(snapshot, facts, part)
    found = []
    for budget in dict.fromkeys(budgets[fact["run"]] for fact in facts):
        of_budget = [fact for fact in facts if budgets[fact["run"]] == budget]
        found += [Ranked(budget, effect) for effect in row_effects(of_budget, predictions, metrics=(metric,))]
    return found


_SCOPE = ("target", "mode", "inferior", "superior")
_HEAD = ("row", "guidance", "decoder")


def _belongs(fact: Mapping[str, Any], budget: int | str, one: Ranked) -> bool:
    """Whether a run is of that head or its controls, or one that it is compared with."""
    if (budget, _stems(fact, _SCOPE)) != (one.labelled, tuple(getattr(one.effect, name) for name in _SCOPE)):
        return False
    if tuple(fact[name] for name in _HEAD) == tuple(getattr(one.effect, name) for name in _HEAD):
        return True
    if fact["control"] or fact["row"] not in (I, S_PLUS_I):
        return False
    decoders = (one.effect.decoder, decoder_of_one_code(one.effect.decoder))
    return fact["decoder"] in decoders or one.effect.mode == "as-published"


def _place(one: Ranked) -> tuple[Any, ...]:
    return (one.labelled, *(getattr(one.effect, name) for name in (*_SCOPE, *_HEAD)))


def _head_of(fact: Mapping[str, Any], budget: int | str) -> tuple[Any, ...]:
    return (budget, *_stems(fact, (*_SCOPE, *_HEAD)))


def _stems(fact: Mapping[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    """Values of these columns; code sets without their digests, which differ by fold."""
    return tuple(fact[name].partition("@")[0] if name in ("inferior", "superior") else fact[name] for name in names)
