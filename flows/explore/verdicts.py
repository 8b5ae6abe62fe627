"""What guidance was worth in a cohort: verdicts first, and each table with its baselines and controls."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.runs import Head, Part, Run, RunPredictions
from guidestore.flows.encoding.corrected import corrected_in
from guidestore.flows.explore.cohorts import check_cohort
from guidestore.flows.explore.explored import View, literal
from guidestore.flows.results.effects import ComparisonGroup, RowEffect, comparison_groups, spread
from guidestore.flows.results.evaluation import Evaluation, TableRow, evaluation_of
from guidestore.flows.work.colours import CONTROL_COLOUR, INK, ROW_COLOURS
from guidestore.heads.metrics import metric_named
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_scores, newest_runs


def key_of(head: Head) -> str:
    """What a guided head is called in a link: 12 hex digits of all that it is."""
    return hashlib.sha256(repr(head).encode()).hexdigest()[:12]


def cohort_runs(view: View, cohort: str, part: Part = "test") -> list[Run]:
    """The newest run of each head and unit of a cohort that was scored on a part."""
    check_cohort(view, cohort)
    return view.once(
        ("runs", cohort, part),
        lambda: list(newest_runs(view, lambda run: run.cohort == cohort, part).values()),
    )


def predictions_of(view: View, cohort: str, part: Part = "test") -> dict[str, RunPredictions]:
    """Of `cohort_runs`."""
    runs = cohort_runs(view, cohort, part)
    return view.once(("predictions", cohort, part), lambda: load_predictions(view, runs, part))


@dataclass(frozen=True, slots=True)
class GuidedHead:
    """A guided head that cases can be looked at by."""

    key: str
    head: Head
    group: ComparisonGroup

    @property
    def turns(self) -> bool:
        """Whether it is right or wrong of a case: of classes and grades."""
        return self.kind in ONE_CLASS_KINDS

    @property
    def kind(self) -> TargetKind:
        """Of its target."""
        return self.group.members[0].kind

    def as_row(self) -> dict[str, Any]:
        head = self.head
        told = {"note": self.group.note, "told": self.group.row is not None, "turns": self.turns}
        return {"key": self.key, **models_of(head), **told}


def guided_heads(view: View, cohort: str) -> list[GuidedHead]:
    """All of a cohort, in the order of training."""

    def make() -> list[GuidedHead]:
        groups = comparison_groups(cohort_runs(view, cohort), predictions_of(view, cohort))
        return [GuidedHead(key_of(group.head), group.head, group) for group in groups]

    return view.once(("guided heads", cohort), make)


def verdicts(view: View, cohort: str) -> dict[str, Any]:
    """The verdict of each guided head, the tables that they stand in, and how often test was looked at."""
    return view.once(("verdicts", cohort), lambda: _verdicts(view, cohort))


def _verdicts(view: View, cohort: str) -> dict[str, Any]:
    runs = cohort_runs(view, cohort)
    (looks,) = view.ask(f'SELECT count(DISTINCT (why, "at")) AS looks FROM looks WHERE cohort = {literal(cohort)}')
    if not runs:
        return {"verdicts": [], "blocks": [], "notes": [], **looks}
    evaluation = evaluation_of(runs, load_scores(view, runs), predictions_of(view, cohort))
    blocks = [
        {
            "number": told.block.number,
            "title": told.block.title,
            "target": told.block.scope.target,
            "classes": list(told.block.scope.classes),
            "rows": [_table_row(row, told.effects) for row in told.rows],
        }
        for told in evaluation.blocks
    ]
    titles = {name: metric_named(name).title for told in evaluation.blocks for row in told.rows for name in row.mean}
    return {
        "verdicts": _told(evaluation),
        "blocks": blocks,
        "metrics": titles,
        "notes": list(dict.fromkeys((*corrected_in(view.snapshot, runs), *evaluation.notes))),
        **looks,
    }


def _told(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for block in evaluation.blocks:
        means = {row.row: row.mean for row in block.rows if not row.control}
        for effect in block.effects:
            if any(row["key"] == key_of(effect.head) for row in rows):
                continue
            own = next((row.mean for row in block.rows if row.head == effect.head), {})
            rows.append(
                _verdict_row(effect)
                | {
                    "I": _number(means.get("I", {}).get(effect.metric)),
                    "guided": _number(own.get(effect.metric)),
                    "p_holm": evaluation.family.p_values.get(effect.head),
                    "block": block.block.number,
                    "turns": block.block.runs[0].kind in ONE_CLASS_KINDS,
                }
            )
    return rows


def _verdict_row(effect: RowEffect) -> dict[str, Any]:
    told = effect.effect
    nearest, reference = (told.nearest_control, told.nearest_reference) if told else (None, None)
    return {
        "key": key_of(effect.head),
        "verdict": effect.verdict,
        **models_of(effect.head),
        "metric": metric_named(effect.metric).title,
        "cases": effect.n_cases,
        "gain": _ends(told and told.gain_over_i),
        "over_control": _ends(nearest and nearest.over),
        "control": nearest.rival.name if nearest else "",
        "over_reference": _ends(reference and reference.over),
        "reference": reference.rival.name if reference else "",
        "gap_closed": spread(told and told.gap_closed, "+.0%"),
        "note": effect.note,
    }


def models_of(head: Head) -> dict[str, Any]:
    """What a head is, as the page takes it."""
    return {
        "target": head.target,
        "row": head.row,
        "inferior": head.inferior.within if head.inferior else "",
        "superior": head.superior.within if head.superior else "",
        "guidance": head.guidance,
        "decoder": head.decoder,
        "split": head.split,
        "mode": head.mode,
        "labelled": str(head.labelled),
    }


def _ends(comparison: Any) -> list[float] | None:
    """Value, low and high."""
    if comparison is None:
        return None
    gain = comparison.gain if hasattr(comparison, "gain") else comparison
    return [gain.value, gain.low, gain.high]


def _table_row(row: TableRow, effects: Any) -> dict[str, Any]:
    effect = next((effect for effect in effects if effect.head == row.head), None)
    colour = CONTROL_COLOUR if row.control else ROW_COLOURS.get(row.row, CONTROL_COLOUR)
    return {
        "label": row.label,
        "control": row.control,
        "n": row.n,
        "verdict": effect.verdict if effect else "",
        "mean": {name: _number(value) for name, value in row.mean.items()},
        "sd": {name: _number(value) for name, value in row.sd.items()},
        "colour": "" if colour == INK else colour,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
