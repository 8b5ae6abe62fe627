"""A sweep's heads ranked on val; those that were chosen are scored on test, and each look at it is counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, StorageError
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.guiding.scoring import score_test
from guidestore.flows.results.baselines import CEILING, baseline_scores
from guidestore.flows.results.effects import (
    GAINS,
    RowEffect,
    decoder_of_one_code,
    ends_of,
    row_effects,
    same_scope,
)
from guidestore.flows.results.families import family_of
from guidestore.flows.results.looks import count_look
from guidestore.flows.sweeps.file import SweepFile
from guidestore.flows.sweeps.plan import SweepPlan, batches_of
from guidestore.flows.work.naming import with_first_name
from guidestore.flows.work.reporting import Progress, no_progress
from guidestore.heads.input_rows import REFERENCE, S_PLUS_I, I, S
from guidestore.heads.metrics import asked_metric, metric_named
from guidestore.heads.significance import Interval
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.row_source import RowSource
from guidestore.warehouse.runs import load_runs

BASELINES = (I, S, S_PLUS_I, CEILING)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One guided head of a sweep, over its folds and seeds."""

    effect: RowEffect
    """On val."""
    seeds: int
    """Of its runs."""
    baselines: Mapping[str, Interval]
    """I, S, S+I and the ceiling on val, as far as they are known."""
    test: RowEffect | None = None
    """None unless it was chosen, and looked at."""
    test_baselines: Mapping[str, Interval] = field(default_factory=dict)
    p_holm: float | None = None
    """p of `guidance helps` on test, over all heads that were looked at."""

    @property
    def caution(self) -> str:
        """What the verdict on val is."""
        one = "; of one seed, so luck in training is not covered" if self.seeds == 1 else ""
        return f"on val, which chose it{one}"

    def as_row(self) -> dict[str, Any]:
        """Flat, for tables, CSV and Parquet: scores and gains with the ends of their 95 % intervals."""
        head, known = self.effect.head, self.effect.as_row()
        row = {name: known[name] for name in ("target", "mode", "row", "guidance", "decoder", "inferior", "superior")}
        row |= {"labelled": head.labelled, "metric": self.effect.metric}
        row |= _side("val", "", self.effect, self.baselines) | {"verdict_is": self.caution}
        if self.test:
            row |= _side("test", "test_", self.test, self.test_baselines) | {"test_p_holm": self.p_holm}
        return row


def _side(score: str, prefix: str, effect: RowEffect, baselines: Mapping[str, Interval]) -> dict[str, Any]:
    """The columns of one part."""
    known = effect.as_row()
    row = ends_of(score, effect.score)
    for name in BASELINES:
        row |= ends_of(f"{prefix}{name}", baselines.get(name))
    row |= {f"{prefix}{gain}{end}": known[f"{gain}{end}"] for gain in GAINS for end in ("", "_low", "_high")}
    return row | {f"{prefix}{name}": known[name] for name in ("nearest_control", "verdict", "note")}


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
    store: EmbeddingStore, sweep: SweepFile, *, metric: Any = "", chosen: int = 0, progress: Progress = no_progress
) -> list[Ranked]:
    """The guided heads of the sweep that are there, target by target, best on val first. The first `chosen` of each,
    with row I, S, S+I and the controls that they are compared with, are scored on test, and that look is counted.
    metric: '' for the main one.

    Raises GuidestoreError, and InvalidInputError where none is there or the metric is unknown.
    """
    metric = asked_metric(metric)
    sweep = with_first_name(store, sweep)
    runs = sweep_runs(store, sweep)
    ranked = ranked_on_val(store.snapshot(), runs, metric)
    targets = dict.fromkeys(of_head.effect.head.target for of_head in ranked)
    of_target = {target: [one for one in ranked if one.effect.head.target == target] for target in targets}
    best = [of_head for heads in of_target.values() for of_head in heads[:chosen]]
    if best:
        looked_at = look_at_test(store, sweep, runs, best, f"the best {chosen} on val of each target", progress)
        tested = _on_test(store.snapshot(), looked_at, best, metric)
        of_target = {target: [*tested[target], *heads[chosen:]] for target, heads in of_target.items()}
    return [of_head for heads in of_target.values() for of_head in heads]


def _on_test(
    snapshot: Snapshot, looked_at: Sequence[Run], best: Sequence[Ranked], metric: str
) -> dict[str, list[Ranked]]:
    """Target -> the heads that were chosen, with what test says of them. They are the family of Holm's correction."""
    predictions = load_predictions(snapshot, looked_at, "test")
    effects = {effect.head: effect for effect in _effects(looked_at, predictions, metric)}
    chosen = [effects[one.effect.head] for one in best if one.effect.head in effects]
    family = family_of(chosen)
    tested: dict[str, list[Ranked]] = {}
    drawn: dict[Any, Interval] = {}
    for one in best:
        effect = effects.get(one.effect.head)
        if effect is not None:
            beside = baseline_scores(effect.head, looked_at, predictions, effect.metric, drawn)
            one = replace(one, test=effect, test_baselines=beside, p_holm=family.p_values.get(effect.head))
        tested.setdefault(one.effect.head.target, []).append(one)
    return tested


def family_on_test(ranked: Iterable[Ranked]) -> str:
    """Which hypotheses the p of the heads scored on test are corrected over, as a sentence."""
    told = [one.test for one in ranked if one.test is not None]
    return family_of(told, which="chosen on val and scored on test").sentence


def ranked_on_val(snapshot: RowSource, runs: Sequence[Run], metric: str = "") -> list[Ranked]:
    """The guided heads among these runs, best on val first; those without a score last."""
    predictions = load_predictions(snapshot, runs, "val")
    sign = 1 if metric and metric_named(metric).better == "lower" else -1
    effects = sorted(
        _effects(runs, predictions, metric),
        key=lambda effect: sign * effect.score.value if effect.score else math.inf,
    )
    seeds: dict[Head, set[int]] = {}
    for run in runs:
        seeds.setdefault(run.head, set()).add(run.seed)
    drawn: dict[Any, Interval] = {}
    ranked = []
    for effect in effects:
        beside = baseline_scores(effect.head, runs, predictions, effect.metric, drawn)
        ranked.append(Ranked(effect, len(seeds[effect.head]), beside))
    return ranked


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


def _effects(runs: Sequence[Run], predictions: Mapping[str, RunPredictions], metric: str) -> list[RowEffect]:
    return row_effects(runs, predictions, metrics=(metric,) if metric else ())


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
