"""What a guided head's score stands beside: row I, S, S+I and the ceiling, with their intervals on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, Run, RunPredictions
from guidestore.flows.results.effects import decoder_of_one_code, same_scope
from guidestore.heads.input_rows import S_PLUS_I, I, S
from guidestore.heads.significance import Interval, draw_metrics, interval_of, on_common_cases

CEILING = "ceiling"
"""Row I with the labels of all train cases, where the head saw fewer."""


def baseline_scores(
    head: Head,
    runs: Sequence[Run],
    predictions: Mapping[str, RunPredictions],
    metric: str,
    drawn_before: dict[Any, Interval],
) -> dict[str, Interval]:
    """I, S, S+I and the ceiling, as far as they have the units of the guided head and `metric` is defined.

    drawn_before: what many heads stand beside is drawn once, and kept in it.
    """
    guided = [run for run in runs if run.head == head and run.id in predictions]
    units = {run.unit for run in guided}
    sides = {row: [run for run in runs if run.row == row and same_scope(run.head, head)] for row in (I, S, S_PLUS_I)}
    if head.labelled != "all":
        everything = replace(head, labelled="all")
        sides[CEILING] = [run for run in runs if run.row == I and same_scope(run.head, everything)]
    scores = {}
    for name, members in sides.items():
        ids = [run.id for run in _of_decoder(members, head.decoder) if run.id in predictions and run.unit in units]
        if {predictions[run].unit for run in ids} != units:
            continue
        try:
            common = on_common_cases([predictions[run] for run in (*(run.id for run in guided), *ids)])[len(guided) :]
            asked = (metric, tuple((run.run, run.case_ids) for run in common))
            if asked not in drawn_before:
                drawn = draw_metrics(common, metrics=(metric,))
                drawn_before[asked] = interval_of(drawn.row(metric, ids), f"{metric} of {name}")
            scores[name] = drawn_before[asked]
        except InvalidInputError:  # a class without cases
            continue
    return scores


def _of_decoder(runs: Sequence[Run], decoder: str) -> list[Run]:
    """Of the same decoder where there are such, else all."""
    own = [run for run in runs if not run.control]
    for name in (decoder, decoder_of_one_code(decoder)):
        found = [run for run in own if run.decoder == name]
        if found:
            return found
    return own
