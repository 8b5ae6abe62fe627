"""Label transfer on real paired views of digits: fou (inferior) taught by kar, as measured in the design."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.runs import RunPredictions
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.label_budget import hide_labels
from guidestore.heads.significance import GuidedRow, Rival, draw_metrics, guidance_effect
from guidestore.heads.trained import TrainedHead
from guidestore.heads.transfer.train import TransferJob, train_transfer

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", ROOT / "../shared/data")) / "mfeat"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data at {DATA}; set GUIDESTORE_TEST_DATA")


def view(name: str) -> np.ndarray:
    with (DATA / f"{name}.csv").open() as file:
        columns = range(1, len(file.readline().split(",")))
        return np.loadtxt(file, delimiter=",", usecols=columns, dtype=np.float32, ndmin=2)


def digits(
    split: int, *, pairs: int, labelled: int | None, inferior: str = "fou", superior: str = "kar"
) -> PairedCodes:
    """30 % of each class for test, `pairs` of the others for train, of which `labelled` (None: all) have a label."""
    labels = view("labels")[:, 0].astype(np.int64)
    rng = np.random.default_rng(split)
    test = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:60] for c in range(10)])
    train = rng.permutation(np.setdiff1d(np.arange(2000), test))[:pairs]
    kept = np.sort(np.concatenate([test, train]))
    yes = np.ones(len(kept), dtype=bool)
    whole = PairedCodes(
        cohort="mfeat", split="drawn", fold=split, target="digit", classes=tuple("0123456789"),
        case_ids=tuple(f"digit-{i:04}" for i in kept), inferior_nd=view(inferior)[kept],
        superior_nd=view(superior)[kept], has_inferior=yes, has_superior=yes, labels=labels[kept],
        parts=np.where(np.isin(kept, test), "test", "train"),
    )  # fmt: skip
    return hide_labels(whole, labelled, seed=split)


def accuracies(heads: list[TrainedHead]) -> dict[tuple[str, str], float]:
    """(row, control) -> balanced accuracy on test, the mean over permutations."""
    values_of: dict[tuple[str, str], list[float]] = {}
    for head in heads:
        values_of.setdefault((head.row, head.control), []).append(head.metrics["test"]["balanced_accuracy"])
    return {place: float(np.mean(values)) for place, values in values_of.items()}


def test_a_teacher_on_kar_helps_where_labels_are_few():
    per_seed = []
    for split in range(2):
        paired = digits(split, pairs=450, labelled=50)
        per_seed.append(accuracies(train_transfer([TransferJob(paired, split)], student="ridge", permutations=1)[0]))
    mean = {place: np.mean([by_row[place] for by_row in per_seed]) for place in per_seed[0]}
    others = (mean["I", ""], mean["T(I)", "shuffled"], mean["T(I)", "own"])
    assert mean["T(I)", ""] > max(others) + 0.04


def verdict(heads_of_split: list[list[TrainedHead]]) -> str:
    """By `heads.significance`, over all splits."""
    runs: dict[tuple[str, str], list[RunPredictions]] = {}
    for split, heads in enumerate(heads_of_split):
        for head in heads:
            test = head.parts == "test"
            ids = tuple(case for case, kept in zip(head.case_ids, test, strict=True) if kept)
            name = f"{head.row}/{head.control}/{head.permutation}/{split}"
            made = RunPredictions(name, (split,), ids, head.labels[test], head.probabilities[test])
            runs.setdefault((head.row, head.control), []).append(made)
    drawn = draw_metrics([run for of_row in runs.values() for run in of_row], metrics=("balanced_accuracy",))
    rows = {place: [run.run for run in of_row] for place, of_row in runs.items()}
    controls = [Rival(control, runs) for (name, control), runs in rows.items() if name == "T(I)" and control]
    row = GuidedRow(rows["T(I)", ""], rows["I", ""], controls, s_plus_i=rows["S+I", ""])
    return guidance_effect(drawn, "balanced_accuracy", row).verdict


@pytest.mark.slow
@pytest.mark.parametrize("student", ["ridge", "logistic", "kernel"])
def test_every_student_of_fifty_labels_reaches_what_was_measured(student):
    jobs = [TransferJob(digits(split, pairs=1050, labelled=50), split) for split in range(10)]
    heads = train_transfer(jobs, student=student, permutations=0, rows=("T(I)",))
    assert np.mean([accuracies(of_split)["T(I)", ""] for of_split in heads]) >= 0.725


@pytest.mark.slow
def test_fifty_labels_and_a_thousand_unlabelled_pairs_gain_eight_points_over_the_best_control():
    trained = []
    for split in range(10):
        job = TransferJob(digits(split, pairs=1050, labelled=50), split)
        trained += train_transfer([job], student="ridge", permutations=3)
    per_seed = [accuracies(heads) for heads in trained]
    mean = {place: np.mean([by_row[place] for by_row in per_seed]) for place in per_seed[0]}
    print({" ".join(place).strip(): round(float(value), 3) for place, value in mean.items()})
    others = (mean["I", ""], mean["T(I)", "shuffled"], mean["T(I)", "own"])
    assert mean["T(I)", ""] >= max(others) + 0.08
    assert verdict(trained) == "guidance helps"


@pytest.mark.slow
@pytest.mark.parametrize("noisy_labels", [False, True])
def test_fully_labelled_clean_pairs_are_not_said_to_be_helped(noisy_labels):
    trained = []
    for split in range(5):
        job = TransferJob(digits(split, pairs=1050, labelled=None), split)
        trained += train_transfer([job], student="ridge", permutations=3, noisy_labels=noisy_labels)
    mean = [accuracies(heads) for heads in trained]
    print(noisy_labels, {k: round(float(np.mean([m[k] for m in mean])), 3) for k in mean[0]}, verdict(trained))
    assert verdict(trained) in ("no effect", "capacity, not guidance")
