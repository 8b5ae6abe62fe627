"""Label transfer on simulated codes whose answer is known, and on real paired views of digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.metrics import evaluate
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import STUDENTS, build_student
from guidestore.heads.trained import TrainedHead
from guidestore.heads.transfer import inner_cv
from guidestore.heads.transfer.cases import Cases
from guidestore.heads.transfer.lesson import Lesson
from guidestore.heads.transfer.teacher import Teacher, choose_teacher
from guidestore.heads.transfer.train import TransferJob, train_transfer


@pytest.fixture(scope="module", autouse=True)
def folds_drawn_once():
    """Choices by five draws of the folds take five times as long and are no others in kind (test_inner_cv.py)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inner_cv, "MOST_TAUGHT", 1)
        yield


SMALL: dict[str, dict[str, Any]] = {
    "ridge": {}, "logistic": {"alphas": (0.01,)}, "random_forest": {"trees": 5, "min_leaves": (3,)},
    "mlp": {"hidden_units": 16, "steps": (20,)}, "kernel": {"landmarks": 20},
}  # fmt: skip


def made(
    seed: int = 0,
    *,
    superior: float = 1.5,
    inferior: float = 0.5,
    pairs: int = 180,
    labelled: int = 30,
    archive: int = 0,
    flipped: float = 0.0,
    n_classes: int = 3,
    n_dims: int = 24,
) -> PairedCodes:
    """Codes (n, n_dims) of which z_S and z_I show the class by that many sd, 150 test and 30 val cases.

    `labelled` of the train pairs have a label; `archive` cases more have z_S and a label and no z_I. That share of the
    train labels is flipped.
    """
    rng = np.random.default_rng(seed)
    n = pairs + archive + 180
    truth = np.arange(n) % n_classes
    centres = np.random.default_rng(7).normal(size=(2, n_classes, n_dims))
    inferior_nd = (inferior * centres[0][truth] + rng.normal(size=(n, n_dims))).astype(np.float32)
    superior_nd = (superior * centres[1][truth] + rng.normal(size=(n, n_dims))).astype(np.float32)
    i = np.arange(n)
    parts = np.where(i < pairs + archive, "train", np.where(i < pairs + archive + 30, "val", "test"))
    alone = (i >= pairs) & (i < pairs + archive)
    inferior_nd[alone] = np.nan
    wrong = (rng.random(n) < flipped) & (parts == "train")
    labels = np.where(wrong, (truth + 1) % n_classes, truth)
    labels = np.where((i >= labelled) & (i < pairs), -1, labels).astype(np.int64)
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="kind", classes=tuple("abcdef"[:n_classes]),
        case_ids=tuple(f"case-{j}" for j in i), inferior_nd=inferior_nd, superior_nd=superior_nd,
        has_inferior=~alone, has_superior=np.ones(n, bool), labels=labels, parts=parts,
    )  # fmt: skip


def transfer(paired: PairedCodes, student: str = "ridge", seed: int = 0, **options: Any) -> list[TrainedHead]:
    params = {"student_params": SMALL[student], "permutations": 1, **options}
    return train_transfer([TransferJob(paired, seed)], student=student, **params)[0]


def scores(heads: list[TrainedHead], part: str = "test") -> dict[tuple[str, str], float]:
    """(row, control) -> balanced accuracy, the mean over permutations."""
    values_of: dict[tuple[str, str], list[float]] = {}
    for head in heads:
        values_of.setdefault((head.row, head.control), []).append(head.metrics[part]["balanced_accuracy"])
    return {place: float(np.mean(values)) for place, values in values_of.items()}


def of(heads: list[TrainedHead], row: str, control: str = "") -> TrainedHead:
    return next(head for head in heads if (head.row, head.control) == (row, control))


def same_components(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        config == second[name][0] and all(np.array_equal(tensors[k], second[name][1][k]) for k in tensors)
        for name, (config, tensors) in first.items()
    )


@pytest.fixture(scope="module")
def paired() -> PairedCodes:
    return made()


@pytest.fixture(scope="module", params=STUDENTS.names())
def trained(request: pytest.FixtureRequest, paired: PairedCodes) -> tuple[str, list[TrainedHead]]:
    return request.param, transfer(paired, request.param)


def test_rows_controls_and_facts_of_every_student(paired, trained):
    student, heads = trained
    assert [(head.row, head.control, head.permutation) for head in heads] == [
        ("S+I", "", -1), ("S", "", -1), ("I", "", -1), ("T(I)", "", -1),
        ("T(I)", "shuffled", 0), ("T(I)", "within class", 0), ("T(I)", "own", 0),
    ]  # fmt: skip
    assert {head.status for head in heads} == {"ok"}
    assert [head.guidance for head in heads] == ["", "", ""] + ["label_transfer"] * 4
    assert {head.decoder.partition("(")[0] for head in heads} == {f"{student}-student"}
    assert {(head.n_train, head.mode) for head in heads} == {(30, "matched")}
    assert [head.n_pairs for head in heads] == [0] * 3 + [180] * 4
    accuracy = scores(heads)
    assert accuracy["S", ""] > accuracy["I", ""]
    facts = of(heads, "T(I)").facts
    assert facts["guidance_gate"] == 1.0
    assert facts["guidance_teacher_cv"] > facts["guidance_inferior_cv"] + 0.02
    assert facts["guidance_inferior_cv"] >= of(heads, "I").facts["decoder_inner_cv"]
    assert facts["guidance_unlabelled_pairs"] == (150.0 if facts["guidance_weight"] else 0.0)
    assert {"guidance_lambda", "guidance_teacher_reads_both", "decoder_regularisation"} < facts.keys()
    for head in heads:
        scored = (head.parts == "test") & (head.labels >= 0)
        assert head.metrics["test"] == evaluate(head.labels[scored], head.probabilities[scored], paired.classes)


def check_predict_row(paired: PairedCodes, heads: list[TrainedHead]) -> None:
    number = {case_id: i for i, case_id in enumerate(paired.case_ids)}
    for head in heads:
        z_inferior_nd = paired.inferior_nd[[number[case_id] for case_id in head.case_ids]]
        if head.row in ("S", "S+I"):
            with pytest.raises(InvalidInputError, match="needs the superior image"):
                predict_row(head.row, head.components, z_inferior_nd)
            continue
        predicted = predict_row(head.row, head.components, z_inferior_nd)
        np.testing.assert_allclose(predicted, head.probabilities, atol=1e-12)


def test_predict_row_reproduces_the_stored_probabilities(paired, trained):
    check_predict_row(paired, trained[1])


def test_the_taught_student_beats_i_and_both_controls():
    per_seed = [scores(transfer(made(seed, pairs=330, labelled=24), seed=seed)) for seed in range(4)]
    mean = {place: np.mean([by_row[place] for by_row in per_seed]) for place in per_seed[0]}
    controls = max(mean["T(I)", "shuffled"], mean["T(I)", "own"], mean["I", ""])
    assert mean["T(I)", ""] > controls + 0.05


@pytest.mark.parametrize("student", STUDENTS.names())
def test_the_gate_closes_where_z_s_knows_no_more_and_then_all_is_row_i(student):
    heads = transfer(made(superior=0.1, inferior=1.0), student)
    inferior = of(heads, "I")
    for control in ("", "shuffled", "own"):
        head = of(heads, "T(I)", control)
        assert (head.facts["guidance_gate"], head.facts["guidance_weight"]) == (0.0, 0.0)
        assert np.array_equal(head.probabilities, inferior.probabilities)
        assert same_components(head.components, inferior.components)


def test_fully_labelled_clean_pairs_leave_nothing_to_teach():
    heads = transfer(made(labelled=180))
    assert of(heads, "T(I)").facts["guidance_gate"] == 1.0
    assert np.array_equal(of(heads, "T(I)").probabilities, of(heads, "I").probabilities)


def test_the_superior_archive_trains_the_teacher():
    """Labels of cases without z_I reach the student, through the unlabelled pairs alone."""
    weak = {"labelled": 12, "inferior": 0.6, "superior": 0.8, "pairs": 900, "n_dims": 8}
    taught = {}
    for archive in (0, 300):
        heads = [transfer(made(seed, archive=archive, **weak), seed=seed, permutations=0) for seed in range(4)]
        assert {of(own, "I").n_train for own in heads} == {12}
        assert {of(own, "S").n_train for own in heads} == {12 + archive}
        taught[archive] = np.mean([scores(own)["T(I)", ""] for own in heads])
    assert taught[300] > taught[0] + 0.02


def test_test_rows_never_reach_a_fit_and_val_neither_where_folds_can_be_cut(paired):
    heads = transfer(paired)
    for part in ("test", "val"):
        there = paired.parts == part
        inferior_nd, superior_nd = paired.inferior_nd.copy(), paired.superior_nd.copy()
        inferior_nd[there], superior_nd[there] = inferior_nd[there] * 5 + 1, superior_nd[there] * 5 + 1
        labels = np.where(there, (paired.labels + 1) % 3, paired.labels)
        other = dataclasses.replace(paired, inferior_nd=inferior_nd, superior_nd=superior_nd, labels=labels)
        for first, second in zip(heads, transfer(other), strict=True):
            assert same_components(first.components, second.components)
            assert first.metrics[part] != second.metrics[part]


def test_a_head_does_not_depend_on_its_company(paired):
    jobs = [TransferJob(paired, 0), TransferJob(made(3), 1)]
    together = train_transfer(jobs, student="ridge", permutations=1)
    for job, heads in zip(jobs, together, strict=True):
        for head, alone in zip(heads, transfer(job.paired, seed=job.seed), strict=True):
            assert np.array_equal(head.probabilities, alone.probabilities)


def test_a_teacher_is_fitted_to_the_folds_once_and_another_teacher_s_cases_are_fitted_anew(monkeypatch):
    """What a lesson asks for is what was chosen by, to the bit; on shuffled pairs it is not the true pairs' teacher."""
    cases = Cases.of(made(labelled=60), seed=0)
    teacher = choose_teacher(cases, ("S", "S+I"))
    assert teacher is not None
    rows, fits = cases.unlabelled_pairs, []
    fit_path = type(teacher.family).fit_path
    monkeypatch.setattr(type(teacher.family), "fit_path", lambda *a, **k: fits.append(1) or fit_path(*a, **k))
    again = [teacher.scores(cases, split.fit_n, rows) for split in cases.splits]
    assert not fits
    anew = [teacher.scores(dataclasses.replace(cases), split.fit_n, rows) for split in cases.splits]
    assert len(fits) == len(cases.splits)
    assert np.array_equal(again, anew)
    assert not np.array_equal(again[0], teacher.scores(cases.permuted("shuffled", 0), cases.splits[0].fit_n, rows))


class TestNoisyLabels:
    def test_no_target_of_a_fold_depends_on_a_label_that_it_holds_out(self):
        """Nested: changing held-out labels leaves the fold's targets bit for bit; fitted over all cases they move."""
        paired = made(labelled=120)
        cases = Cases.of(paired, seed=0)
        teacher = choose_teacher(cases, ("S", "S+I"))
        assert teacher is not None
        split = cases.splits[0]
        labels = paired.labels.copy()
        labels[split.held_n] = (labels[split.held_n] + 1) % 3
        changed = dataclasses.replace(cases, paired=dataclasses.replace(paired, labels=labels))
        nested = [teacher.cross_fitted(which, split.fit_n) for which in (cases, changed)]
        assert np.isfinite(nested[0]).all()
        assert np.array_equal(nested[0], nested[1])
        over_all = [teacher.cross_fitted(which, cases.labelled) for which in (cases, changed)]
        kept = np.isin(cases.labelled, split.fit_n)
        assert not np.array_equal(over_all[0][kept], over_all[1][kept])

    def test_inner_scores_of_mixed_targets_stay_at_chance_where_labels_are_noise(self, monkeypatch):
        """2 classes, codes and labels unrelated: nested, inner cross-validation says .5; un-nested it is fooled."""
        monkeypatch.setattr(inner_cv, "MOST_TAUGHT", 5)  # of one draw the mean hangs on luck

        def mean_score() -> float:
            inner = []
            for seed in range(12):
                paired = made(seed, superior=0.0, inferior=0.0, pairs=80, labelled=80, n_classes=2, n_dims=6)
                cases = Cases.of(paired, seed=seed)
                lesson = Lesson(
                    build_student("ridge"), cases, *cases.read("I"), choose_teacher(cases, ("S", "S+I")), True
                )
                inner += [chosen.score for chosen in lesson.candidates() if chosen.lam == 0]
            return float(np.mean(inner))

        nested = mean_score()
        fitted = Teacher.cross_fitted

        def over_all(teacher: Teacher, cases: Cases, fit_n: np.ndarray) -> np.ndarray:
            return fitted(teacher, cases, cases.labelled)[np.isin(cases.labelled, fit_n)]

        monkeypatch.setattr(Teacher, "cross_fitted", over_all)
        un_nested = mean_score()
        print(f"lambda 0 on noise: nested {nested:.3f}, un-nested {un_nested:.3f}")
        assert abs(nested - 0.5) < 0.025
        assert un_nested > nested + 0.02

    def test_flipped_labels_are_mixed_with_the_teacher_and_true_ones_need_not_be(self):
        many = {"labelled": 330, "pairs": 330, "superior": 1.5, "flipped": 0.35, "inferior": 0.5, "n_dims": 12}
        heads = [transfer(made(s, **many), seed=s, noisy_labels=True) for s in range(3)]
        per_seed = [scores(own) for own in heads]
        mean = {place: np.mean([by_row[place] for by_row in per_seed]) for place in per_seed[0]}
        assert mean["T(I)", ""] > max(mean["I", ""], mean["T(I)", "shuffled"]) + 0.01
        assert of(heads[0], "T(I)").facts["guidance_lambda"] < 1


class TestCombinedDecoder:
    def test_reads_g_of_z_i_too_and_is_taught(self, paired):
        heads = transfer(paired, "mlp", guidance="ridge")
        check_predict_row(paired, heads)
        taught = of(heads, "T(I)")
        assert taught.guidance == "label_transfer(guidance=ridge)"
        assert taught.components.keys() == {"guidance", "decoder"}
        assert "guidance" not in of(heads, "T(I)", "own").components
        shuffled = of(heads, "T(I)", "shuffled").components["guidance"][1]
        assert not np.array_equal(shuffled["weight"], taught.components["guidance"][1]["weight"])

    def test_behind_a_closed_gate_it_is_the_plain_one(self):
        facts = of(transfer(made(superior=0.1, inferior=1.0), "mlp", guidance="ridge"), "T(I)").facts
        assert (facts["guidance_gate"], facts["guidance_weight"]) == (0.0, 0.0)

    def test_a_diverged_g_marks_its_heads_alone(self, paired):
        wild = {"hidden": (8,), "standardise": False, "learning_rate": 1e6, "epochs": 20}
        heads = transfer(paired, guidance="autoencoder", guidance_params=wild)
        status = {(head.row, head.control): head.status for head in heads}
        assert [place for place, what in status.items() if what == "diverged"] == [
            ("T(I)", ""), ("T(I)", "shuffled"), ("T(I)", "within class"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({}, {"student": "ridg"}, "student 'ridg' is unknown: did you mean 'ridge'"),
        ({}, {"student_params": {"alpha": 1}}, "did you mean 'alphas'"),
        ({}, {"guidance": "rigde"}, "did you mean 'ridge'"),
        ({}, {"guidance_params": {"hidden": (8,)}}, "guidance_params are given without a guidance"),
        ({}, {"permutations": -1}, "permutations is -1"),
        ({}, {"noisy_labels": "yes"}, "noisy_labels is 'yes'"),
        ({}, {"rows": ("I", "I")}, "name each wanted row once"),
        ({}, {"rows": ("G(I)",)}, r"'G\(I\)' is unknown"),
        ({}, {"seed": -1}, "seed -1"),
        ({"classes": ("a", "b", "c", "d")}, {}, r"no train case that row S\+I can read is labelled d for kind"),
        ({"has_superior": None}, {"rows": ("I", "T(I)")}, "has fewer than 2 train pairs"),
    ],
)
def test_refuses_before_training(paired, change, options, sentence):
    if "has_superior" in change:
        change = {"has_superior": np.arange(len(paired)) < 1}
    given = {"student": "ridge", "student_params": {}, "seed": 0, **options}
    with pytest.raises(InvalidInputError, match=sentence):
        train_transfer(
            [TransferJob(dataclasses.replace(paired, **change), given.pop("seed"))],
            **given,
        )
