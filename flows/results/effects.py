"""Is the gain of each guided row real? From stored predictions, over the runs of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.heads.controls import OWN, SHUFFLED
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
"""In which verdicts are given, and champions chosen, where nothing else is asked."""


@dataclass(frozen=True, slots=True)
class RowEffect:
    """What one guided row gained in one metric, over all its folds and seeds."""

    head: Head
    """The guided head."""
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
        head = self.head
        return {
            "target": head.target,
            "mode": head.mode,
            "row": head.row,
            "inferior": str(head.inferior or ""),
            "superior": str(head.superior or ""),
            "guidance": head.guidance,
            "decoder": head.decoder,
            "metric": self.metric,
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


def row_effects(
    runs: Iterable[Run], predictions: Mapping[str, RunPredictions], *, metrics: Sequence[str] = (METRIC,)
) -> list[RowEffect]:
    """The effects of all guided heads among `runs`, in their order.

    A head is held against runs of its target, split, mode, code sets and label budget. Only runs with predictions
    count, and of them the units (split, fold, seed) that the guided row, row I, the shuffled control and, where it was
    run, self-training all have. S+I joins where it has these units and cases too: otherwise the gap stays open. The
    cases of one head are drawn once for all its rows.
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.id in predictions:
            groups.setdefault(_scope(run.head), []).append(run)
    effects = []
    with threadpool_limits(1):
        for members in groups.values():
            heads = dict.fromkeys(run.head for run in members if INPUT_ROWS[run.row].controls and not run.control)
            for head in heads:
                group = _Group(head, members, predictions)
                effects += [group.effect_in(metric) for metric in metrics]
    return effects


def _scope(head: Head) -> tuple[Any, ...]:
    """What a guided head shares with all that it is held against."""
    return head.cohort, head.target, head.split, head.mode, head.inferior, head.superior, head.labelled


def same_scope(head: Head, other: Head) -> bool:
    """Whether two heads are of one target, split, mode, pair of code sets and label budget."""
    return _scope(head) == _scope(other)


@dataclass
class _Group:
    """A guided head and what it is held against, cut to the units and cases that can be compared."""

    head: Head
    members: Sequence[Run]
    """All runs of its scope that have predictions."""
    predictions: Mapping[str, RunPredictions]
    runs: dict[str, list[str]] = field(init=False)
    """Part of `GuidedRow` -> ids, in the units that all needed parts have."""
    units: set[Any] = field(init=False)
    note: str = ""
    """What is missing."""

    def __post_init__(self) -> None:
        every = self._parts()
        needed = ("guided", "shuffled", "inferior", *(["self_training"] if every["self_training"] else []))
        self.units = set.intersection(*({self.predictions[run].unit for run in every[part]} for part in needed))
        if not self.units:
            missing = {"shuffled": "shuffled control", "inferior": "row I"}
            lacks = (words for part, words in missing.items() if not every[part])
            lack = next(lacks, "fold and seed in common with them")
            self.note = f"{self.head.row} has no {lack}, so its gain cannot be told from capacity"
        self.runs = {
            part: [run for run in ids if self.predictions[run].unit in self.units] for part, ids in every.items()
        }
        if self.runs["s_plus_i"] and not self._covers_guided(self.runs["s_plus_i"]):
            self.note = f"gap open: {S_PLUS_I} was not tested on all folds, seeds and cases of {self.head.row}"
            self.runs["s_plus_i"] = []
        self.common = on_common_cases([self.predictions[run] for ids in self.runs.values() for run in ids])

    def _parts(self) -> dict[str, list[str]]:
        models = (self.head.row, self.head.guidance, self.head.decoder)
        own = [run for run in self.members if (run.row, run.guidance, run.decoder) == models]
        return {
            "guided": [run.id for run in own if not run.control],
            "shuffled": [run.id for run in own if run.control == SHUFFLED],
            "self_training": [run.id for run in own if run.control == OWN],
            "inferior": self._reference(I),
            "s_plus_i": self._reference(S_PLUS_I),
        }

    def _reference(self, row: str) -> list[str]:
        """Runs of row I or S+I: of the same decoder where there are such. As published, I is the stored classifier, and
        G(I) reads with that of S: then all there are."""
        runs = [run for run in self.members if run.row == row and not run.control]
        for decoder in (self.head.decoder, decoder_of_one_code(self.head.decoder)):
            of_decoder = [run.id for run in runs if run.decoder == decoder]
            if of_decoder:
                return of_decoder
        return [run.id for run in runs]

    def _covers_guided(self, ids: Sequence[str]) -> bool:
        """Whether these runs have all units of the guided row, each with its cases."""
        have = {run.unit: set(run.case_ids) for run in map(self.predictions.__getitem__, ids)}
        guided = map(self.predictions.__getitem__, self.runs["guided"])
        return all(set(run.case_ids) <= have.get(run.unit, set()) for run in guided)

    def effect_in(self, metric: str) -> RowEffect:
        if not self.units:
            return RowEffect(self.head, metric, 0, 0, None, self.note)
        n_cases = len({case for run in self.common for case in run.case_ids})
        try:
            drawn = draw_metrics(self.common, metrics=(metric,))
            effect = guidance_effect(drawn, metric, GuidedRow(**self.runs))
        except InvalidInputError as error:  # a class without test cases: the metric is not defined
            return RowEffect(self.head, metric, n_cases, len(self.units), None, str(error))
        luck = "" if effect.gain_over_shuffled.luck else "one permutation: luck in training is not covered"
        note = "; ".join(filter(None, (self.note, luck)))
        score = interval_of(drawn.row(metric, self.runs["guided"]), f"{metric} of {self.head.row}")
        return RowEffect(self.head, metric, n_cases, len(self.units), effect, note, score)


def decoder_of_one_code(decoder: str) -> str:
    """The name of a decoder without the fusion of its two codes: what the rows of one code have."""
    return decoder.partition(", fusion=")[0]
