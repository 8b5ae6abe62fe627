"""Distillation and the ensemble: what uses z_S in training without a G in front of D_c."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.baselines.distillation import DistillationSettings
from guidestore.heads.baselines.teacher import train_teachers
from guidestore.heads.baselines.train import train_baselines
from guidestore.heads.input_rows import BASELINE_ROWS
from guidestore.heads.metrics import evaluate
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import load_decoder
from tests.heads.test_input_rows import make_paired
from tests.heads.training import job_of, train_one

OPTIONS = {"guidance": "ridge", "decoder": "mlp", "decoder_params": {"hidden_units": 8, "epochs": 30}, "seed": 0}


@pytest.fixture(scope="module")
def heads():
    job = job_of(make_paired(), mode="matched", **OPTIONS)
    return train_baselines([job], permutations=1)[0]


def test_rows_come_in_order_and_predict_the_cases_with_z_i(heads):
    paired = make_paired()
    assert [(h.row, h.control, h.permutation) for h in heads] == [
        *((row, "", -1) for row in BASELINE_ROWS),
        *((row, control, 0) for control in ("shuffled", "within class") for row in BASELINE_ROWS),
        ("E(I)", "self", 0), ("E(I)", "self", 1),
        ("KD(I)", "own", 0), ("GD(I)", "own", 0),
    ]  # fmt: skip
    shown = np.isin(paired.parts, ("val", "test")) & paired.has_inferior
    train = paired.parts == "train"
    number = {case_id: i for i, case_id in enumerate(paired.case_ids)}
    for head in heads:
        assert head.status == "ok"
        assert head.case_ids == tuple(np.array(paired.case_ids)[shown])
        assert head.n_pairs == (train & paired.is_pair).sum()
        scored = (head.parts == "test") & (head.labels >= 0)
        expected = evaluate(head.labels[scored], head.probabilities[scored], paired.classes)
        assert head.metrics["test"] == pytest.approx(expected)
        z_nd = paired.inferior_nd[[number[case_id] for case_id in head.case_ids]]
        again = predict_row(head.row, head.components, z_nd)
        np.testing.assert_allclose(again, head.probabilities, atol=1e-6)
        taught = paired.has_label | (paired.has_superior if head.row != "E(I)" else False)
        assert head.n_train == (train & paired.has_inferior & taught).sum()


def test_the_ensemble_is_the_mean_of_its_members(heads):
    rows = train_one(make_paired(), mode="matched", rows=("I", "G(I)"), permutations=1, **OPTIONS)
    of = {(head.row, head.control, head.permutation): head.probabilities for head in rows}
    for head in heads:
        if head.row == "E(I)" and head.control in ("", "shuffled"):
            expected = (of["I", "", -1] + of["G(I)", head.control, head.permutation]) / 2
            np.testing.assert_allclose(head.probabilities, expected, atol=1e-9)


def test_without_imitation_and_unlabelled_pairs_the_student_is_row_i():
    paired = make_paired(masks=False)
    job = job_of(paired, mode="matched", **OPTIONS)
    settings = DistillationSettings(imitation=0.0)
    (head,) = train_baselines([job], baselines=("KD(I)",), settings=settings)[0]
    (inferior,) = train_one(paired, mode="matched", rows=("I",), **OPTIONS)
    np.testing.assert_allclose(head.probabilities, inferior.probabilities, atol=1e-5)
    np.testing.assert_allclose(predict_row("I", head.components, paired.inferior_nd[:3]).sum(axis=1), 1.0)


def test_unlabelled_pairs_teach_where_labels_are_few():
    """20 labels: the student that imitates the teacher on 100 more pairs beats its shuffled twin and row I."""
    paired = make_paired(masks=False)
    train = np.flatnonzero(paired.parts == "train")
    labels = paired.labels.copy()
    labels[train[20:]] = -1
    params = {"hidden_units": 8, "epochs": 100, "learning_rate": 0.02}
    few = dataclasses.replace(paired, labels=labels)
    options = OPTIONS | {"decoder_params": params}
    job = job_of(few, mode="matched", **options)
    (inferior,) = train_one(few, mode="matched", rows=("I",), **options)
    for row in ("KD(I)", "GD(I)"):
        settings = DistillationSettings(temperature=2.0, imitation=0.8)
        true, *controls = train_baselines([job], baselines=(row,), permutations=1, settings=settings)[0]
        assert [head.control for head in controls] == ["shuffled", "within class", "own"]
        others = [head.metrics["test"]["auroc"] for head in (inferior, *controls) if head.control != "within class"]
        assert true.metrics["test"]["auroc"] > max(others) + 0.05


def test_no_teacher_has_seen_the_label_of_a_case_that_it_teaches():
    """In mode matched; as-published the stored D_S teaches, and the run says that it is of no folds."""
    paired = make_paired(masks=False)
    options = OPTIONS | {"decoder": "logistic", "decoder_params": {"Cs": (1.0,)}}
    job = job_of(paired, mode="matched", **options)
    (teacher,) = train_teachers([job], device="cpu")
    rows = paired.rows("train", paired.has_label, paired.has_superior)
    assert sorted(np.concatenate([fold for fold, _ in teacher.without_fold])) == rows.tolist()
    for fold, decoder in teacher.without_fold:
        hidden = dataclasses.replace(paired, labels=np.where(np.isin(np.arange(len(paired)), fold), -1, paired.labels))
        (alone,) = train_one(hidden, mode="matched", rows=("S",), permutations=0, **options)
        (config, tensors) = alone.components["decoder"]
        said = load_decoder(config, tensors).predict_proba(paired.superior_nd[fold])
        np.testing.assert_array_equal(teacher.says(paired, fold), said)
        np.testing.assert_array_equal(decoder.predict_proba(paired.superior_nd[fold]), said)


def test_distilled_runs_say_of_how_many_folds_their_teachers_were(heads):
    assert {h.facts["guidance_cross_fit"] for h in heads if h.row in ("KD(I)", "GD(I)")} == {5.0}


def test_refusals_are_sentences():
    job = job_of(make_paired(), mode="matched", **OPTIONS | {"decoder": "logistic", "decoder_params": {}})
    with pytest.raises(InvalidInputError, match="decoder 'logistic' cannot learn what a teacher says"):
        train_baselines([job])
    with pytest.raises(InvalidInputError, match=r"baseline 'KD\(I' is unknown: did you mean 'KD\(I\)'"):
        train_baselines([job], baselines=("KD(I",))
    with pytest.raises(InvalidInputError, match="imitation is 2"):
        DistillationSettings(imitation=2)
    with pytest.raises(InvalidInputError, match="lacks its decoder"):
        predict_row("GD(I)", {}, np.zeros((1, 6)))


def test_a_diverged_student_harms_no_other_row():
    params = {"hidden_units": 8, "epochs": 5, "standardise": False, "learning_rate": 0.01}
    paired = make_paired(masks=False)
    paired = dataclasses.replace(paired, inferior_nd=paired.inferior_nd * np.float32(1e15))
    job = job_of(paired, mode="matched", **OPTIONS | {"decoder_params": params})
    rows = {head.row: head for head in train_baselines([job])[0]}
    assert {row: head.status for row, head in rows.items()} == dict.fromkeys(BASELINE_ROWS, "diverged")
    assert "training diverged in epoch" in rows["KD(I)"].message
