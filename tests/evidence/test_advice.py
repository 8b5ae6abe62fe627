"""How often is `--advise` right? Its foretold gains against those of the rows themselves on cohorts of known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from guidestore.embeddings.types import PairedCodes
from guidestore.flows.work.threads import one_thread
from guidestore.heads.advice.advise import advise
from guidestore.heads.input_rows import MARGINS, PLUG, I
from guidestore.heads.margins.train import MarginsJob, train_margins
from guidestore.heads.plug.train import PlugJob, train_plug
from guidestore.heads.references.train import REFERENCES, ReferenceJob, train_references
from guidestore.heads.trained import TrainedHead
from tests.evidence.cohorts import cohort
from tests.heads.test_references import weak

LARGE = 0.02
"""A true gain beyond, whose sign must be foretold."""
CELLS: tuple[tuple[str, int, int | None], ...] = (
    ("weak z_I", 100, None),
    ("a superior modality", 60, None),
    ("a superior modality", 400, 50),
    ("class alone", 400, 50),
    ("a superior modality", 165, None),
    ("a superior modality", 400, None),
    ("independent noise", 165, None),
    ("linear function of z_I", 165, None),
    ("ReLU function of z_I", 165, None),
    ("class alone", 165, None),
    ("one code set twice", 60, None),
)
"""Kind, train cases, labels shown."""


def of_cell(kind: str, n_train: int, labelled: int | None, number: int) -> PairedCodes:
    """Cohort `number` of a cell, with enough test cases for the truth."""
    if kind == "weak z_I":
        return weak(number, n=1_500, labelled=n_train)
    paired = cohort(kind, n_train, number, n_test=1_500)
    hidden = paired.rows("train")[labelled:] if labelled else []
    labels = paired.labels.copy()
    labels[hidden] = -1
    return replace(paired, labels=labels)


def gains(paired: PairedCodes) -> dict[str, dict[str, float]]:
    """Row -> rival -> gain in AUROC on test, of M(I) and P(I) as `guide` trains them."""
    margins = train_margins([MarginsJob(paired, 0, 2)])[0]
    plug = [head for head in train_plug([PlugJob(paired, 0, 2)])[0] if head.row == PLUG]
    references = [head for (head,) in train_references([ReferenceJob(paired, 0, name) for name in REFERENCES])]
    tested: dict[tuple[str, str], list[float]] = {}

    def add(head: TrainedHead) -> None:
        kind = f"{head.control} {head.permutation}" if head.control == "self" else head.control
        tested.setdefault((head.row, kind or head.decoder), []).append(head.metrics["test"]["auroc"])

    for head in (*margins, *plug, *references):
        add(head)
    mean = {key: float(np.mean(of)) for key, of in tested.items()}
    found: dict[str, dict[str, float]] = {}
    for row in (MARGINS, PLUG):
        own = next(key for key in mean if key[0] == row)  # the row itself comes before its controls
        rivals = [key for key in mean if key[0] in (I, "R(I)") or (key[0] == row and key != own)]
        found[row] = {" ".join(key): mean[own] - mean[key] for key in rivals}
    return found


def true_gain(cohorts: list[PairedCodes]) -> float:
    """Of the better of the two rows over its nearest rival, expected of such a cohort."""
    each = [gains(paired) for paired in cohorts]
    return max(
        min(float(np.mean([of[row][rival] for of in each])) for rival in each[0][row]) for row in (MARGINS, PLUG)
    )


def test_a_large_gain_is_foretold_and_none_where_there_is_none() -> None:
    """Measured gain of the first cell: .07 (tests/heads/test_margins)."""
    with one_thread():
        gaining = [advise([of_cell("weak z_I", 100, None, number)]) for number in range(2)]
        null = [advise([of_cell("class alone", 165, None, number)]) for number in range(2)]
    assert all(advice.row and advice.gain and advice.gain.value > LARGE for advice in gaining)
    assert all(advice.gain and advice.gain.includes_zero for advice in null)


@pytest.mark.slow
def test_the_sign_of_large_gains_is_right_and_other_intervals_include_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Nine of ten, each over all cells of a sort: the upper end of the Clopper-Pearson interval is at least .9."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    with one_thread():
        for cell in CELLS:
            cohorts = [of_cell(*cell, number) for number in range(12)]
            truth = true_gain(cohorts[:6])
            foretold = [advise([paired]).gain for paired in cohorts]
            large = truth > LARGE
            told = [bool(gain and (gain.value > 0 if large else gain.includes_zero)) for gain in foretold]
            right[large] += told
            with capsys.disabled():
                print(f"{cell}: true gain {truth:+.3f}, right {sum(told)} of {len(told)}")
    for told in right.values():
        assert binomtest(sum(told), len(told)).proportion_ci().high >= 0.9
    assert np.mean(right[False]) >= 0.9
