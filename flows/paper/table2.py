"""The paper's Table 2: clinical photographs guided by dermoscopy, eight tasks and melanoma, and its McNemar tests.

D is dermoscopy (the superior modality), C the clinical photograph (the inferior one), G guidance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run, RunPredictions, Unit
from guidestore.flows.paper.melanoma import AT_THRESHOLD, DIRECT, SCORE, melanoma_runs
from guidestore.flows.paper.table import Column, Form, PaperTable, SideTable, delta_note, fill, heads_note, run_notes
from guidestore.flows.results.effects import RowEffect, row_effects
from guidestore.flows.results.families import family_of
from guidestore.heads.input_rows import GUIDED_PLUS_I, I
from guidestore.heads.significance import mcnemar, median_p, on_common_cases
from guidestore.warehouse.runs import Scores

TASKS = ("DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS")

COLUMNS = (
    *(Column(task, task) for task in TASKS),
    *(Column(target, f"MEL t={threshold}") for target, threshold in AT_THRESHOLD.items()),
    Column(SCORE, "MEL score", ("auroc",)),
    Column(DIRECT, "MEL direct", ("auroc",)),
)

PUBLISHED: dict[tuple[str, str], tuple[float, ...]] = {
    ("D+C", "STR"): (0.611, 0.734),
    ("D", "STR"): (0.621, 0.716),
    ("C", "STR"): (0.581, 0.625),
    ("G(C)", "STR"): (0.509, 0.681),
    ("G(C)+C", "STR"): (0.548, 0.630),
    ("D+C", SCORE): (0.788,),
    ("D", SCORE): (0.764,),
    ("C", SCORE): (0.739,),
    ("G(C)", SCORE): (0.716,),
    ("G(C)+C", SCORE): (0.751,),
}
"""(row, column) -> balanced accuracy and micro F1, or AUROC, as in the paper. Its other cells are not at hand."""

PUBLISHED_MCNEMAR = {
    "PN": 0.155,
    "BWV": 0.0294,
    "VS": 0.571,
    "PIG": 0.117,
    "STR": 0.643,
    "DaG": 0.155,
    "RS": 0.0195,
    "DIAG": 0.457,
}
"""Supplementary Table 2: task -> p of G(C)+C against C, n = 392."""

FORM = Form(
    "Table 2",
    {"S+I": "D+C", "S": "D", "I": "C", "G(I)": "G(C)", "G(I)+I": "G(C)+C", "M(I)": "M(C)", "P(I)": "P(C)"},
    PUBLISHED,
    "n/a",
)


def build_table2(
    runs: Sequence[Run],
    scores: Scores,
    predictions: Mapping[str, RunPredictions],
    *,
    cohort: str,
    layout: str = "",
) -> PaperTable:
    """The table over `runs`, all of one mode, their scores and their predictions on test.

    cohort, layout: as in the cohort's own row. Melanoma is derived where all eight tasks are there. Raises
    InvalidInputError without a run of one of the tasks, and as `flows.paper.table.fill`.
    """
    of_tasks = [run for run in runs if run.target in TASKS]
    if not of_tasks:
        raise InvalidInputError(
            f"there is no run of {', '.join(TASKS)} among {len(runs)} runs; train some with `guidestore guide`"
        )
    melanoma = melanoma_runs(of_tasks, predictions)
    every = [*of_tasks, *melanoma.runs]
    all_predictions = {**predictions, **melanoma.predictions}
    columns = [column for column in COLUMNS if any(run.target == column.key for run in every)]
    effects = []
    for column in columns:
        of_column = [run for run in every if run.target == column.key]
        effects += row_effects(of_column, all_predictions, metrics=column.measures[:1])
    notes = [*run_notes(of_tasks), delta_note(FORM), heads_note(of_tasks, FORM), *_notes(cohort, layout)]
    all_scores = {**scores, **melanoma.scores}
    table = fill(FORM, columns, every, all_scores, effects, lambda head: head.target, notes, cohort=cohort)
    return replace(table, more=(_tests(of_tasks, predictions, effects),))


def _notes(cohort: str, layout: str) -> list[str]:
    return [
        "melanoma is inferred where the seven-point score of the predicted criteria is at least t; MEL score: AUROC of "
        "that score, MEL direct: of DIAG's own probability of melanoma; truth is DIAG",
        "paper: Mallya & Hamarneh 2022 on Derm7pt, where D+C, D and C are Kawahara et al.'s pretrained networks, so "
        "the comparison is indicative; n/a: not at hand"
        if layout == "derm7pt"
        else f"paper: Mallya & Hamarneh 2022 on Derm7pt; cohort {cohort} is other data, so compare only the form of "
        "the table; n/a: not at hand",
    ]


def _tests(runs: Sequence[Run], predictions: Mapping[str, RunPredictions], effects: Sequence[RowEffect]) -> SideTable:
    """Supplementary Table 2: G(C)+C against C, a test per seed; and p of the verdict over the whole table."""
    helps = {head.target: p for head, p in family_of(effects).p_values.items() if head.row == GUIDED_PLUS_I}
    rows = []
    for task in TASKS:
        by_row: dict[str, dict[Unit, RunPredictions]] = {I: {}, GUIDED_PLUS_I: {}}
        for run in runs:
            if run.target == task and run.row in by_row and not run.control and run.id in predictions:
                by_row[run.row][run.unit] = predictions[run.id]
        p_values = []
        for unit in sorted(by_row[I].keys() & by_row[GUIDED_PLUS_I].keys(), key=str):
            inferior, guided = on_common_cases([by_row[I][unit], by_row[GUIDED_PLUS_I][unit]])
            p_values.append(mcnemar(inferior, guided).p_value)
        rows.append(
            {
                "task": task,
                "McNemar p, median": median_p(p_values) if p_values else None,
                "per seed": tuple(p_values) or None,
                "in the paper": PUBLISHED_MCNEMAR[task],
                "p of 'guidance helps', Holm": helps.get(task),
            }
        )
    return SideTable("mcnemar", "G(C)+C against C", tuple(rows))
