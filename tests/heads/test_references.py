"""The references for row I on a simulation of weak z_I, and what they may see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.prediction import predict_row
from guidestore.heads.references.train import REFERENCES, ReferenceJob, train_references
from guidestore.heads.trained import TrainedHead


def weak(seed: int, *, n: int = 450, labelled: int = 100, harmful: bool = False, unlabelled: int = 0) -> PairedCodes:
    """h = N(0, I_4); z_I 150 columns that h is drowned in; y = 1[h . 1/2 + N(0, 1) > 0]; z_S nearly h, or, harmful, a
    noisy copy of y that tells nothing of x given y. 30 % test, `labelled` labelled train cases."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n, 4))
    mixing, disturbing = rng.normal(size=(4, 150)), rng.normal(size=(30, 150))
    x = 0.6 * h @ mixing + rng.normal(size=(n, 30)) @ disturbing + rng.normal(size=(n, 150))
    y = (h.sum(axis=1) / 2 + rng.normal(size=n) > 0).astype(np.int64)
    z_s = 0.9 * (2 * y[:, None] - 1) + rng.normal(size=(n, 4)) if harmful else h + 0.1 * rng.normal(size=(n, 4))
    order, n_test = rng.permutation(n), int(0.3 * n)
    kept = order[: n_test + labelled + unlabelled]
    parts = np.where(np.arange(len(kept)) < n_test, "test", "train")
    yes = np.ones(len(kept), bool)
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="y", classes=("no", "yes"),
        case_ids=tuple(f"case-{i}" for i in kept), inferior_nd=x[kept].astype(np.float32),
        superior_nd=z_s[kept].astype(np.float32), has_inferior=yes, has_superior=yes,
        labels=np.where(np.arange(len(kept)) < n_test + labelled, y[kept], -1), parts=parts,
    )  # fmt: skip


def trained(paired: PairedCodes, seed: int = 0) -> dict[str, TrainedHead]:
    every = train_references([ReferenceJob(paired, seed, name) for name in REFERENCES])
    return {head.decoder: head for (head,) in every}


def test_two_choices_of_three_decoders_and_choosing_by_score_can_be_far_better() -> None:
    per_seed = [trained(weak(seed), seed) for seed in range(8)]
    assert list(per_seed[0]) == [
        "reference, linear ridge, by loss", "reference, linear ridge, by score",
        "reference, RBF ridge, by loss", "reference, RBF ridge, by score",
        "reference, logistic, by loss", "reference, logistic, by score",
    ]  # fmt: skip
    mean = {name: np.mean([heads[name].metrics["test"]["auroc"] for heads in per_seed]) for name in REFERENCES}
    assert mean["reference, linear ridge, by score"] > mean["reference, linear ridge, by loss"] + 0.03
    assert 0.6 < min(mean.values()) < max(mean.values()) < 0.75
    for head in per_seed[0].values():
        assert (head.row, head.mode, head.control, head.permutation, head.n_train) == ("R(I)", "matched", "", -1, 100)


def test_they_hang_on_the_training_set_alone() -> None:
    first, again = (trained(weak(0, n=120, labelled=40), seed) for seed in range(2))
    assert all(np.array_equal(first[name].probabilities, again[name].probabilities) for name in REFERENCES)


def test_the_temperature_leaves_the_class_and_makes_the_probabilities_honest() -> None:
    for head in trained(weak(0), 0).values():
        assert head.metrics["test"]["log_loss"] < 0.72
        assert set(head.probabilities.argmax(axis=1)) == {0, 1}


def test_predict_row_reproduces_the_stored_probabilities() -> None:
    paired = weak(1)
    z_i = paired.inferior_nd[paired.parts == "test"]
    for head in trained(paired).values():
        assert np.array_equal(predict_row("R(I)", head.components, z_i), head.probabilities)


def test_they_see_what_row_i_sees_and_never_test_or_z_s() -> None:
    paired = weak(2)
    there = paired.parts == "test"
    other = dataclasses.replace(
        paired,
        inferior_nd=np.where(there[:, None], 9.0, paired.inferior_nd).astype(np.float32),
        superior_nd=paired.superior_nd[::-1].copy(),
        labels=np.where(there, 1 - paired.labels, paired.labels),
    )
    for first, second in zip(trained(paired).values(), trained(other).values(), strict=True):
        for name, tensor in first.components["decoder"][1].items():
            assert np.array_equal(tensor, second.components["decoder"][1][name])
    with_val = dataclasses.replace(paired, parts=np.where(np.arange(len(there)) < 60, "val", paired.parts))
    changed = trained(with_val)["reference, RBF ridge, by loss"].components["decoder"][1]
    before = trained(paired)["reference, RBF ridge, by loss"].components["decoder"][1]
    assert np.array_equal(changed["dual"], before["dual"])  # val fits the temperature alone
    assert changed["temperature"] != before["temperature"]


def test_a_class_without_a_labelled_case_is_named() -> None:
    paired = weak(0)
    with pytest.raises(
        InvalidInputError, match=r"toy/drawn/0: no train case with z_I is labelled yes for y, which row"
    ):
        trained(dataclasses.replace(paired, labels=np.where(paired.labels == 1, -1, paired.labels)))
