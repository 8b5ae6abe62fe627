"""Who is champion: the alias moves to a new head only where it is better on val than the head it names. Never by test.

A *head* is what was trained over the folds and seeds of one split; an alias names one run of it, the one that
`predict --run champion` loads: of the head's first fold the seed that is best on val.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import CommitConflictError, InvalidInputError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import METRIC, effects_of, spread
from guidestore.flows.results.predictions import load_predictions
from guidestore.flows.results.runs import PLACE, load_runs, newest_runs, place_of
from guidestore.heads.input_rows import GUIDED_PLUS_I
from guidestore.heads.metrics import drawn_metrics
from guidestore.heads.significance import Interval, compare, draw_metrics, on_common_cases
from guidestore.warehouse.indexer import build_index

TRIES = 20
"""How often a contest is decided anew because somebody else moved the alias: each time somebody did get on."""

_OVER = tuple(PLACE.index(name) - len(PLACE) for name in ("fold", "seed"))
"""Where, from the end of a run's place, stands what a head is a mean over."""

Fact = Mapping[str, Any]


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
    gain: Interval | None = None
    """New head minus champion, on val; None where they were not compared."""
    rows: tuple[dict[str, Any], ...] = ()
    """Per metric: champion, challenger, gain, low, high (95 %, over val cases) and p."""


def champion_of(store: EmbeddingStore, alias: str) -> Champion | None:
    """The head that an alias names, as it was when it was named; None where there is no such alias.

    Raises InvalidInputError for an alias of a snapshot.
    """
    newest = store.snapshot()
    if alias not in newest.aliases:
        return None
    version, run = newest.aliases[alias]
    if not run:
        raise InvalidInputError(f"alias {alias!r} names snapshot {version}, not a run; give another alias")
    then = store.snapshot(version)
    named = load_runs(newest, [run])[0][0]
    head = _head_of(named)
    runs = {
        _unit(fact): fact["run"]
        for fact in newest_runs(then, lambda fact: fact["status"] == "ok" and _head_of(fact) == head, "val").values()
    }
    runs[_unit(named)] = run
    return Champion(run, tuple(runs.values()), _name(named))


def contest(store: EmbeddingStore, alias: str, runs: Sequence[str]) -> Decision:
    """Lets the head G(I)+I among `runs` (ids) contest an alias, and moves the alias where it has won.

    Without a champion the new head becomes it, unless guidance hurts it on val. Otherwise the interval of its gain in
    balanced accuracy over the champion, a paired bootstrap over the val cases of the folds that both have, must lie
    above 0. Where another head took the alias meanwhile, it is decided again, against that one. Raises
    InvalidInputError where `runs` hold no such head, or several, and CommitConflictError after `TRIES` such times.
    """
    tries = 0
    while True:
        seen_at = store.snapshot().version
        decision = decide(store, alias, runs)
        if not decision.moved:
            return decision
        try:
            store.move_alias(alias, artifact=decision.run, seen_at=seen_at)
        except CommitConflictError:
            tries += 1
            if tries == TRIES:
                raise
            continue
        build_index(store)
        return decision


def decide(store: EmbeddingStore, alias: str, runs: Sequence[str]) -> Decision:
    """What `contest` would do; moves nothing."""
    snapshot = store.snapshot()
    facts = load_runs(snapshot, runs, "val")[0]
    head = _challenger(snapshot, facts)
    chosen = _best_of_first_fold(snapshot, head)
    before = champion_of(store, alias)
    if before is None:
        return _first(snapshot, alias, facts, head, chosen)
    stays = f"{alias} stays run {before.run[:12]}, {before.name}: "
    old = load_runs(snapshot, before.runs, "val")[0]
    for what in ("cohort", "target", "split"):
        if old[0][what] != head[0][what]:
            return Decision(
                alias,
                False,
                f"{stays}it is of {what} {old[0][what]} and the new head of {head[0][what]}; only heads of one {what} "
                "are compared, so give the new one an alias of its own",
                chosen,
                before,
            )
    if {fact["run"] for fact in head} <= set(before.runs):
        return Decision(alias, False, f"{stays}the new head is the same runs", chosen, before)
    try:
        gain, rows, cases = _compared(snapshot, old, head)
    except InvalidInputError as error:
        return Decision(alias, False, f"{stays}the two cannot be compared: {error}", chosen, before)
    said = f"{METRIC.replace('_', ' ')} {spread(gain)} on {cases} val cases"
    if not gain.above_zero:
        why = "is worse" if gain.below_zero else "cannot be told from it"
        sentence = f"{stays}the new head {why} ({said}; the 95 % interval must lie above 0)"
        return Decision(alias, False, sentence, chosen, before, gain, rows)
    sentence = f"{alias} moves from run {before.run[:12]} to run {chosen[:12]}, {_name(head[0])}: it is better ({said})"
    return Decision(alias, True, sentence, chosen, before, gain, rows)


def _first(snapshot: Snapshot, alias: str, facts: Sequence[Fact], head: Sequence[Fact], chosen: str) -> Decision:
    effects = effects_of(snapshot, facts, part="val")
    verdict = next((effect.verdict for effect in effects if effect.row == GUIDED_PLUS_I), "–")
    if verdict == "hurts":
        sentence = f"{alias} names no run yet, and still does not: on val, guidance hurts {_name(head[0])}"
        return Decision(alias, False, sentence, chosen)
    sentence = f"{alias} names run {chosen[:12]}, {_name(head[0])}: there was none before (verdict on val: {verdict})"
    return Decision(alias, True, sentence, chosen)


def _challenger(snapshot: Snapshot, facts: Sequence[Fact]) -> list[Fact]:
    """The runs of the one head G(I)+I, with val predictions."""
    head = [f for f in facts if f["row"] == GUIDED_PLUS_I and not f["control"] and f["status"] == "ok"]
    heads = {_head_of(fact) for fact in head}
    if not heads:
        raise InvalidInputError(f"there is no {GUIDED_PLUS_I} among the runs that has not diverged: nothing to promote")
    if len(heads) > 1:
        raise InvalidInputError(f"the runs hold {len(heads)} heads {GUIDED_PLUS_I}; let one at a time contest an alias")
    scored = load_predictions(snapshot, head, "val")
    head = [fact for fact in head if fact["run"] in scored]
    if not head:
        raise InvalidInputError(
            f"no run of {GUIDED_PLUS_I} has 2 labelled val cases or more, and a champion is chosen on val; give the "
            "split a val part"
        )
    return head


def _best_of_first_fold(snapshot: Snapshot, head: Sequence[Fact]) -> str:
    """Of the lowest fold the run that is best on val; of equals the lowest seed."""
    values = load_runs(snapshot, [fact["run"] for fact in head], "val")[1]
    fold = min(fact["fold"] for fact in head)
    first = [fact for fact in head if fact["fold"] == fold]
    return min(first, key=lambda fact: (-values[fact["run"], METRIC], fact["seed"]))["run"]


def _compared(
    snapshot: Snapshot, old: Sequence[Fact], new: Sequence[Fact]
) -> tuple[Interval, tuple[dict[str, Any], ...], int]:
    """Gain in METRIC, rows of all metrics, and how many val cases; over the folds that both have."""
    folds = {fact["fold"] for fact in old} & {fact["fold"] for fact in new}
    if not folds:
        raise InvalidInputError("they have no fold in common")
    sides = []
    for name, facts in (("champion", old), ("challenger", new)):
        found = load_predictions(snapshot, facts, "val")
        if not found:
            raise InvalidInputError(f"the {name} has no val predictions")
        # One unit per fold: seeds count with their mean, so that heads of other seeds can be compared.
        sides.append(
            [replace(run, run=f"{name} {run.run}", unit=run.unit[:2]) for run in found.values() if run.unit[1] in folds]
        )
    runs = on_common_cases([run for side in sides for run in side])
    ids = [[run.run for run in side] for side in sides]
    rows, gains = [], []
    with threadpool_limits(1):
        for metric in drawn_metrics():  # what is shown of both; the first decides
            try:
                drawn = draw_metrics(runs, metrics=(metric,))
                found = compare(drawn, metric, ids[1], ids[0])
            except InvalidInputError:
                if metric == METRIC:
                    raise
                continue  # not defined on these cases, and it does not decide
            gains.append(found.gain)
            values = {name: float(drawn.row(metric, side)[0]) for name, side in zip(_SIDES, ids, strict=True)}
            ends = {"gain": found.gain.value, "low": found.gain.low, "high": found.gain.high, "p": found.p_value}
            rows.append({"metric": metric, **values, **ends})
    return gains[0], tuple(rows), len({case for run in runs for case in run.case_ids})


_SIDES = ("champion", "challenger")


def _head_of(fact: Fact) -> tuple[Any, ...]:
    """The place of a run but for its fold and seed."""
    place = place_of(fact)
    return tuple(value for index, value in enumerate(place) if index - len(place) not in _OVER)


def _unit(fact: Fact) -> tuple[int, int]:
    return fact["fold"], fact["seed"]


def _name(fact: Fact) -> str:
    return f"{fact['row']} ({fact['guidance']}, {fact['decoder']})"
