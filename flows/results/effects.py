"""Is the gain of each guided row real? From stored predictions, over the runs of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.flows.results.predictions import Part, load_predictions
from guidestore.heads.controls import SELF_TRAINING, SHUFFLED
from guidestore.heads.input_rows import INPUT_ROWS, S_PLUS_I, I
from guidestore.heads.metrics import BALANCED_ACCURACY
from guidestore.heads.significance import (
    Comparison,
    GuidanceEffect,
    GuidedRow,
    Interval,
    draw_metrics,
    guidance_effect,
    interval_of,
    on_common_cases,
)

METRIC = BALANCED_ACCURACY.name
"""In which verdicts are given where nothing else is asked."""

Fact = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RowEffect:
    """What one guided row gained in one metric, over all its folds and seeds."""

    target: str
    mode: str
    row: str
    inferior: str
    """COHORT/MODALITY/ENCODER, without the encoder's digest, which differs by fold."""
    superior: str
    guidance: str
    decoder: str
    metric: str
    n_cases: int
    """Different test cases."""
    n_units: int
    """(split, fold, seed) that all rows have."""
    effect: GuidanceEffect | None
    """None where it cannot be said, and `note` says why."""
    note: str = ""
    score: Interval | None = None
    """The metric of the guided row itself, its mean over units."""

    @property
    def verdict(self) -> str:
        return self.effect.verdict if self.effect else "–"

    def as_row(self) -> dict[str, Any]:
        """Flat, for CSV, JSON and Parquet: gains with the ends of their 95 % intervals, and the verdict."""
        effect = self.effect
        gains = {
            "gain_over_i": effect and effect.gain_over_i,
            "gain_over_shuffled": effect and effect.gain_over_shuffled,
            "gain_over_self_training": effect and effect.gain_over_self_training,
        }
        flat: dict[str, Any] = {}
        for name, comparison in gains.items():
            flat |= _ends(name, comparison.gain if comparison else None)
        flat |= _ends("gap_closed", effect.gap_closed if effect else None)
        names = ("target", "mode", "row", "inferior", "superior", "guidance", "decoder", "metric")
        return {
            **{name: getattr(self, name) for name in names},
            "n_cases": self.n_cases,
            **flat,
            "p_helps": effect.p_helps if effect else None,
            "verdict": self.verdict,
            "note": self.note,
        }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    values = (interval.value, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def spread(interval: Interval | Comparison | None, form: str = "+.3f") -> str:
    """``+0.031 [+0.004, +0.058]``; ``–`` for None."""
    if interval is None:
        return "–"
    if isinstance(interval, Comparison):
        interval = interval.gain
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def effects_of(
    snapshot: Snapshot, facts: Sequence[Fact], *, part: Part = "test", metrics: Sequence[str] = (METRIC,)
) -> list[RowEffect]:
    """The effects of all guided rows among `facts` (rows of schema ``runs``), from the store's predictions."""
    return row_effects(facts, load_predictions(snapshot, facts, part), metrics=metrics)


def row_effects(
    facts: Sequence[Fact], predictions: Mapping[str, RunPredictions], *, metrics: Sequence[str] = (METRIC,)
) -> list[RowEffect]:
    """The effects of all guided rows, per target, mode, code sets, guidance and decoder, in the order of `facts`.

    Only runs with predictions count, and of them the units (split, fold, seed) that the guided row, row I, the shuffled
    control and, where it was run, self-training all have. S+I joins where it has these units and cases too: otherwise
    the gap stays open. The cases of one target are drawn once for all rows.
    """
    groups: dict[tuple[str, ...], list[Fact]] = {}
    for fact in facts:
        if fact["run"] in predictions:
            groups.setdefault(_group(fact), []).append(fact)
    found = []
    with threadpool_limits(1):
        for members in groups.values():
            for row in dict.fromkeys(_guided(members)):
                found += _effects(row, members, predictions, metrics)
    return found


def _group(fact: Fact) -> tuple[str, ...]:
    stems = [fact[side].partition("@")[0] for side in ("inferior", "superior")]
    return (fact["cohort"], fact["target"], fact["split"], fact["mode"], *stems)


def _guided(members: Iterable[Fact]) -> Iterable[tuple[str, str, str]]:
    found = (f for f in members if INPUT_ROWS[f["row"]].controls and not f["control"])
    return ((f["row"], f["guidance"], f["decoder"]) for f in found)


def _effects(
    row: tuple[str, str, str],
    members: Sequence[Fact],
    predictions: Mapping[str, RunPredictions],
    metrics: Sequence[str],
) -> list[RowEffect]:
    name, guidance, decoder = row
    first = members[0]
    stems = [first[side].partition("@")[0] for side in ("inferior", "superior")]
    place = partial(RowEffect, first["target"], first["mode"], name, *stems, guidance, decoder)
    of_row = [f for f in members if (f["row"], f["guidance"], f["decoder"]) == row]
    parts = {
        "guided": [f["run"] for f in of_row if not f["control"]],
        "shuffled": [f["run"] for f in of_row if f["control"] == SHUFFLED],
        "self_training": [f["run"] for f in of_row if f["control"] == SELF_TRAINING],
        "inferior": _reference(I, decoder, members),
        "s_plus_i": _reference(S_PLUS_I, decoder, members),
    }
    needed = ("guided", "shuffled", "inferior", *(["self_training"] if parts["self_training"] else []))
    units = set.intersection(*({predictions[run].unit for run in parts[part]} for part in needed))
    if not units:
        missing = {"shuffled": "shuffled control", "inferior": "row I"}
        lacks = next((words for part, words in missing.items() if not parts[part]), "fold and seed in common with them")
        note = f"{name} has no {lacks}, so its gain cannot be told from capacity"
        return [place(metric, 0, 0, None, note) for metric in metrics]
    kept = {part: [run for run in runs if predictions[run].unit in units] for part, runs in parts.items()}
    note = ""
    cases = {unit: predictions[run].case_ids for run in kept["guided"] for unit in [predictions[run].unit]}
    if kept["s_plus_i"] and not _covers(kept["s_plus_i"], predictions, cases):
        note = f"gap open: {S_PLUS_I} was not tested on all folds, seeds and cases of {name}"
        kept["s_plus_i"] = []
    runs = on_common_cases([predictions[run] for part in kept.values() for run in part])
    n_cases = len({case for run in runs for case in run.case_ids})
    found = []
    for metric in metrics:
        try:
            drawn = draw_metrics(runs, metrics=(metric,))
            effect = guidance_effect(drawn, metric, GuidedRow(**kept))
        except InvalidInputError as error:  # a class without test cases: the metric is not defined
            found.append(place(metric, n_cases, len(units), None, str(error)))
            continue
        luck = "" if effect.gain_over_shuffled.luck else "one permutation: luck in training is not covered"
        notes = "; ".join(filter(None, (note, luck)))
        score = interval_of(drawn.row(metric, kept["guided"]), f"{metric} of {name}")
        found.append(place(metric, n_cases, len(units), effect, notes, score))
    return found


def _reference(row: str, decoder: str, members: Sequence[Fact]) -> list[str]:
    """Runs of row I or S+I: of the same decoder where there are such. As published, I is the stored classifier, and
    G(I) reads with that of S: then all there are."""
    runs = [f for f in members if f["row"] == row and not f["control"]]
    for wanted in (decoder, decoder_of_one_code(decoder)):
        of_decoder = [f["run"] for f in runs if f["decoder"] == wanted]
        if of_decoder:
            return of_decoder
    return [f["run"] for f in runs]


def decoder_of_one_code(decoder: str) -> str:
    """The name of a decoder without the fusion of its two codes: what the rows of one code have."""
    return decoder.partition(", fusion=")[0]


def _covers(
    runs: Iterable[str], predictions: Mapping[str, RunPredictions], cases: Mapping[Any, tuple[str, ...]]
) -> bool:
    """Whether the runs have all these units, each with its cases."""
    have = {predictions[run].unit: set(predictions[run].case_ids) for run in runs}
    return all(set(of_unit) <= have.get(unit, set()) for unit, of_unit in cases.items())
