"""The tables of an evaluation for the eye: input rows with their scores, and whether each guided row's gain is real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guidestore.flows.cli.output import print_table, print_text

if TYPE_CHECKING:
    from guidestore.flows.results.effects import RowEffect
    from guidestore.flows.results.evaluation import EvaluatedBlock, Evaluation
    from guidestore.flows.results.families import Family


def show_verdicts(evaluation: Evaluation, title: str, format_: str) -> None:
    """Prints the tables of an `Evaluation` in the paper's form, and what each guided row gained."""
    print_text(title if format_ == "table" else f"## {title}")
    for of_block in evaluation.blocks:
        print()
        _rows(of_block, format_)
        if of_block.effects:
            _verdicts(of_block.effects, evaluation.family, format_)
    for note in evaluation.notes:
        print_text(note if format_ == "table" else f"- {note}", spaces=2 * (format_ == "table"))


def _rows(of_block: EvaluatedBlock, format_: str) -> None:
    from guidestore.heads.metrics import metric_named

    metrics = {name: metric_named(name) for name in of_block.rows[0].mean} if of_block.rows else {}
    columns = ("input", *(metric.short for metric in metrics.values()), "runs")
    rows = [(row.label, *(_spread(row.mean[m], row.sd[m]) for m in metrics), row.n) for row in of_block.rows]
    print_table(columns, rows, format_, of_block.block.title)


def _verdicts(effects: Sequence[RowEffect], family: Family, format_: str) -> None:
    from guidestore.flows.results.effects import spread
    from guidestore.heads.metrics import metric_named

    metrics = " or ".join(dict.fromkeys(metric_named(effect.metric).short for effect in effects))
    rows, rivals = [], []
    for of_head in effects:
        effect, row = of_head.effect, of_head.head.row
        if effect is None:
            rows.append((of_head.verdict, row, "–", "–", None))
            continue
        p = f"{family.p_values[of_head.head]:.3f}"
        rows.append((of_head.verdict, row, spread(effect.gain_over_i), spread(effect.gap_closed, ".0%"), p))
        nearest, reference = effect.nearest_control, effect.nearest_reference
        rivals.append((row, f"control, {nearest.rival.name}", spread(nearest.over)))
        if reference is not None:
            rivals.append((row, reference.rival.name, spread(reference.over)))
    columns = ("verdict", "input", f"gain over I, {metrics}", "gap closed", "p, Holm")
    print()
    print_table(columns, rows, format_, "Is it guidance?")
    if rivals:
        print()
        columns = ("input", "nearest control and best reference", f"gain over it, {metrics}")
        print_table(columns, rivals, format_, "Held against what knows nothing of S")


def _spread(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "–"
    text = f"{mean:.3f}"
    return text if math.isnan(sd) else f"{text} ± {sd:.3f}"
