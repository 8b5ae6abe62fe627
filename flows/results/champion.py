"""Who is champion: the alias moves to a new head only where it is better on val than the head it names. Never by test.

A *head* is what was trained over the folds and seeds of one split; an alias names one run of it, the one that
`predict --run champion` loads: of the head's first fold the seed that is best on val.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import CommitConflictError, InvalidInputError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.comparison import GroupComparison, MetricGain, compare_groups, split_and_fold
from guidestore.flows.results.effects import INSTEAD, main_metric, row_effects, spread
from guidestore.heads.input_rows import GUIDED_PLUS_I, INPUT_ROWS, I, input_row
from guidestore.heads.metrics import drawn_metrics, metric_named
from guidestore.heads.significance import Interval
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores, newest_runs

TRIES = 20
"""How often a contest is decided anew because somebody else moved the alias: each time somebody did get on."""


@dataclass(frozen=True, slots=True)
class Champion:
    """What an alias stands for: the run it names, and all runs of that head when it was named."""

    run: str
    runs: tuple[str, ...]
    name: str
    """``G(I)+I (ridge, logistic)``."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a new head became champion, and why, in a sentence."""

    alias: str
    moved: bool
    sentence: str
    run: str
    """The new head's run that the alias names, or would."""
    before: Champion | None = None
    gains: tuple[MetricGain, ...] = ()
    """New head (b) minus champion (a), on val; empty where they were not compared."""

    @property
    def gain(self) -> Interval | None:
        """In the metric that decides."""
        return self.gains[0].gain if self.gains else None

    def as_rows(self) -> list[dict[str, Any]]:
        """A flat row per metric, for tables: champion, challenger, gain, low, high (95 %, over val cases) and p."""
        flat = []
        for gain in self.gains:
            values = gain.as_row()
            sides = {"champion": values.pop("a"), "challenger": values.pop("b")}
            flat.append({"metric": gain.metric, **sides, **values})
        return flat


def champion_of(store: EmbeddingStore, alias: str) -> Champion | None:
    """The head that an alias names, as it was when it was named; None where there is no such alias.

    Raises InvalidInputError for an alias of a snapshot.
    """
    newest = store.snapshot()
    if alias not in newest.aliases:
        return None
    version, id_ = newest.aliases[alias]
    if not id_:
        raise InvalidInputError(f"alias {alias!r} names snapshot {version}, not a run; give another alias")
    (named,) = load_runs(newest, [id_])
    of_head = newest_runs(store.snapshot(version), lambda run: run.status == "ok" and run.head == named.head, "val")
    ids = {run.unit: run.id for run in of_head.values()} | {named.unit: id_}
    return Champion(id_, tuple(ids.values()), named.head.name)


def contest(store: EmbeddingStore, alias: str, runs: Sequence[str], row: str = "") -> Decision:
    """Lets the head of a row among `runs` (ids) contest an alias, and moves the alias where it has won.

    row: any that needs z_I alone; '' for the guided one: G(I)+I where it is there, else the only other one, else I.
    Without a champion the new head becomes it, unless guidance hurts it on val. Otherwise the interval of its gain in
    the main metric over the champion, a paired bootstrap over the val cases of the folds that both have, must lie
    above 0. Where another head took the alias meanwhile, it is decided again, against that one. Raises
    InvalidInputError where `runs` hold no such head, or several, and CommitConflictError after `TRIES` such times.
    """
    tries = 0
    while True:
        seen_at = store.snapshot().version
        decision = decide(store, alias, runs, row)
        if not decision.moved:
            return decision
        try:
            store.move_alias(alias, artifact=decision.run, seen_at=seen_at)
        except CommitConflictError:
            tries += 1
            if tries == TRIES:
                raise
            continue
        return decision


def decide(store: EmbeddingStore, alias: str, runs: Sequence[str], row: str = "") -> Decision:
    """What `contest` would do; moves nothing."""
    snapshot = store.snapshot()
    trained = load_runs(snapshot, runs)
    new = _challenger(snapshot, trained, row)
    chosen = _best_of_first_fold(snapshot, new).id
    before = champion_of(store, alias)
    if before is None:
        return _first(snapshot, alias, trained, new[0], chosen)
    stays = f"{alias} stays run {before.run[:12]}, {before.name}: "
    old = load_runs(snapshot, before.runs)
    for what in ("cohort", "target", "split"):
        of_old, of_new = getattr(old[0], what), getattr(new[0], what)
        if of_old != of_new:
            sentence = (
                f"{stays}it is of {what} {of_old} and the new head of {of_new}; only heads of one {what} are compared, "
                "so give the new one an alias of its own"
            )
            return Decision(alias, False, sentence, chosen, before)
    if {run.id for run in new} <= set(before.runs):
        return Decision(alias, False, f"{stays}the new head is the same runs", chosen, before)
    try:
        comparison = _compared(snapshot, old, new)
    except InvalidInputError as error:
        return Decision(alias, False, f"{stays}the two cannot be compared: {error}", chosen, before)
    gain = comparison.gains[0].gain
    said = f"{metric_named(comparison.gains[0].metric).title} {spread(gain)} on {comparison.n_cases} val cases"
    if not gain.above_zero:
        why = "is worse" if gain.below_zero else "cannot be told from it"
        sentence = f"{stays}the new head {why} ({said}; the 95 % interval must lie above 0)"
        return Decision(alias, False, sentence, chosen, before, comparison.gains)
    sentence = (
        f"{alias} moves from run {before.run[:12]} to run {chosen[:12]}, {new[0].head.name}: it is better ({said})"
    )
    return Decision(alias, True, sentence, chosen, before, comparison.gains)


def _first(snapshot: Snapshot, alias: str, trained: Sequence[Run], new: Run, chosen: str) -> Decision:
    effects = row_effects(trained, load_predictions(snapshot, trained, "val"))
    verdict = next((effect.verdict for effect in effects if effect.head == new.head), "–")
    if verdict == "hurts":
        sentence = f"{alias} names no run yet, and still does not: on val, guidance hurts {new.head.name}"
        return Decision(alias, False, sentence, chosen)
    sentence = f"{alias} names run {chosen[:12]}, {new.head.name}: there was none before (verdict on val: {verdict})"
    return Decision(alias, True, sentence, chosen)


def _challenger(snapshot: Snapshot, trained: Sequence[Run], row: str) -> list[Run]:
    """The runs of the one head of that row, with val predictions."""
    row = row or _guided_row(trained)
    if input_row(row).needs_superior:
        raise InvalidInputError(f"row {row} needs the superior image, which a new case has not; let another contest")
    runs = [run for run in trained if run.row == row and not run.control and run.status == "ok"]
    heads = {run.head for run in runs}
    if not heads:
        raise InvalidInputError(f"there is no {row} among the runs that has not diverged: nothing to promote")
    if len(heads) > 1:
        raise InvalidInputError(f"the runs hold {len(heads)} heads {row}; let one at a time contest an alias")
    scored = load_predictions(snapshot, runs, "val")
    if not scored:
        raise InvalidInputError(
            f"no run of {row} has 2 labelled val cases or more, and a champion is chosen on val; give the "
            "split a val part"
        )
    return [run for run in runs if run.id in scored]


def _guided_row(trained: Sequence[Run]) -> str:
    """G(I)+I where it is there, else the only other guided row, else I. Raises InvalidInputError for several."""
    guided = [row for row, of in INPUT_ROWS.items() if of.controls and any(run.row == row for run in trained)]
    if not guided:
        return I
    if GUIDED_PLUS_I not in guided and len(guided) > 1:
        raise InvalidInputError(f"the runs hold the rows {' and '.join(guided)}; say which contests the alias")
    return GUIDED_PLUS_I if GUIDED_PLUS_I in guided else guided[0]


def _best_of_first_fold(snapshot: Snapshot, runs: Sequence[Run]) -> Run:
    """Of the lowest fold the run that is best on val; of equals the lowest seed."""
    scores = load_scores(snapshot, runs, "val")
    metric = main_metric(load_predictions(snapshot, runs, "val").values())
    if not all((run.id, metric) in scores for run in runs):
        if runs[0].kind != "classes":
            raise InvalidInputError(
                f"{metric_named(metric).title} of {runs[0].head.name} is not defined on its val cases, on which a "
                "champion is chosen; draw a split whose val part is larger"
            )
        metric = INSTEAD
    fold = min(run.fold for run in runs)
    return min((run for run in runs if run.fold == fold), key=lambda run: (-scores[run.id, metric], run.seed))


def _compared(snapshot: Snapshot, old: Sequence[Run], new: Sequence[Run]) -> GroupComparison:
    """New minus old on val, over the folds that both have."""
    if not {run.fold for run in old} & {run.fold for run in new}:
        raise InvalidInputError("they have no fold in common")
    sides = []
    for name, runs in (("champion", old), ("challenger", new)):
        predictions = load_predictions(snapshot, runs, "val")
        if not predictions:
            raise InvalidInputError(f"the {name} has no val predictions")
        sides.append(predictions.values())
    champion, challenger = sides
    first = main_metric([*champion, *challenger])
    metrics = dict.fromkeys((first, *drawn_metrics(new[0].kind)))
    return compare_groups(champion, challenger, tuple(metrics), split_and_fold)
