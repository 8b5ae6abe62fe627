"""The paper's Table 1: MRI guided by histology, over five MRI inputs.

P is histology (the superior modality), R radiology (the inferior one), G guidance.
"""

from __future__ import annotations

from collections.abc import Sequence

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, Run
from guidestore.flows.paper.table import Column, Form, PaperTable, delta_note, fill, heads_note, run_notes
from guidestore.flows.results.effects import RowEffect
from guidestore.warehouse.runs import Scores

INPUTS = {"mri_t1": "T1", "mri_t2": "T2", "mri_t1ce": "T1w", "mri_flair": "FLAIR", "mri_all": "ALL"}
"""Modality -> its name in the paper, in the paper's order."""

PUBLISHED: dict[tuple[str, str], tuple[float, ...]] = {
    ("P+R", "mri_all"): (0.777, 0.821),
    ("P", "mri_all"): (0.729, 0.792),
    ("R", "mri_t1"): (0.506, 0.578),
    ("R", "mri_t2"): (0.657, 0.728),
    ("R", "mri_t1ce"): (0.641, 0.735),
    ("R", "mri_flair"): (0.534, 0.621),
    ("R", "mri_all"): (0.729, 0.771),
    ("G(R)", "mri_t1"): (0.443, 0.578),
    ("G(R)", "mri_t2"): (0.559, 0.692),
    ("G(R)", "mri_t1ce"): (0.564, 0.692),
    ("G(R)", "mri_flair"): (0.419, 0.571),
    ("G(R)", "mri_all"): (0.650, 0.764),
    ("G(R)+R", "mri_t1"): (0.587, 0.585),
    ("G(R)+R", "mri_t2"): (0.731, 0.757),
    ("G(R)+R", "mri_t1ce"): (0.654, 0.742),
    ("G(R)+R", "mri_flair"): (0.648, 0.635),
    ("G(R)+R", "mri_all"): (0.752, 0.799),
}
"""(row, modality) -> balanced accuracy, micro F1, as in the paper; what is not here was not published."""

FORM = Form(
    "Table 1",
    {"S+I": "P+R", "S": "P", "I": "R", "G(I)": "G(R)", "G(I)+I": "G(R)+R", "M(I)": "M(R)", "P(I)": "P(R)"},
    PUBLISHED,
)


def build_table1(
    runs: Sequence[Run],
    scores: Scores,
    effects: Sequence[RowEffect] = (),
    *,
    cohort: str,
    layout: str = "",
    mode: str = "",
) -> PaperTable:
    """The table over these runs and their scores on the part to report.

    cohort, layout: as in the cohort's own row; they decide what the notes say of the published numbers. mode: which
    runs; '' where all are of one. A run of row S without an inferior code set counts in every column. Raises
    InvalidInputError without a run of an MRI input, and as `flows.paper.table.fill`.
    """
    of_mode = [run for run in runs if mode in ("", run.mode)]
    modalities = {_modality(run.head) for run in of_mode}
    columns = [Column(modality, title) for modality, title in INPUTS.items() if modality in modalities]
    if not columns:
        raise InvalidInputError(
            f"there is no run of an MRI input ({', '.join(INPUTS)}){f' in mode {mode}' if mode else ''} among "
            f"{len(runs)} runs; train some with `guidestore guide`"
        )
    chosen = [run for run in of_mode if _modality(run.head) in (None, *(column.key for column in columns))]
    notes = [delta_note(FORM), heads_note(chosen, FORM)]
    if any((row, column.key) in PUBLISHED for row in FORM.rows.values() for column in columns):
        notes.append(
            "paper: Mallya & Hamarneh 2022, mean of five splits of RadPath 2020; its splits other than the first are "
            "not published, so drawn ones differ"
            if layout == "radpath"
            else f"paper: Mallya & Hamarneh 2022 on RadPath 2020; cohort {cohort} is other data, so compare only the "
            "form of the table"
        )
    return fill(FORM, columns, chosen, scores, effects, _modality, run_notes(chosen) + notes, cohort=cohort)


def _modality(head: Head) -> str | None:
    """Of the inferior code set; None for a head of S that has none."""
    return head.inferior.modality if head.inferior else None
