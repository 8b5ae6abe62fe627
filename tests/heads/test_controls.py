"""What controls do to the train pairs, and that heads are trained on just that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidestore.heads.baselines.train import train_baselines
from guidestore.heads.controls import CONTROLS, DECIDING, in_control_order
from guidestore.heads.input_rows import Arm, arms_of
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import load_decoder
from guidestore.heads.replaced_codes import replaced
from guidestore.heads.rows.job import LEARNS_LABELS
from tests.heads.test_input_rows import make_paired
from tests.heads.training import job_of, train_one

RIDGE = {"guidance": "ridge", "decoder": "logistic", "seed": 0, "permutations": 1}
ALL = {"controls": DECIDING}


@pytest.fixture(scope="module")
def paired():
    return make_paired()


def test_within_class_each_case_keeps_its_class_and_hardly_any_its_code(paired):
    pairs = paired.rows("train", paired.is_pair)
    labels, codes = paired.labels[pairs], paired.superior_nd[pairs]
    assert (labels < 0).any()
    class_of = {code.tobytes(): label for code, label in zip(codes, labels, strict=True)}
    drawn = in_control_order("within class", codes, labels, seed=0, permutation=0)
    assert [class_of[code.tobytes()] for code in drawn] == labels.tolist()
    assert sorted(code.tobytes() for code in drawn) == sorted(code.tobytes() for code in codes)
    assert (drawn == codes).all(axis=1).mean() < 0.1
    other = in_control_order("within class", codes, labels, seed=0, permutation=1)
    assert not np.array_equal(drawn, other)
    for same in ("", "self", "own"):
        assert in_control_order(same, codes, labels, seed=0, permutation=0) is codes


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_code_made_of_i_is_drawn_without_labels_val_test_or_z_s(paired, kind):
    made = replaced(paired, "self", kind, seed=3)
    assert made.superior_nd.shape[1] <= paired.superior_nd.shape[1]
    assert np.isfinite(made.superior_nd[made.has_superior]).all()
    assert (made.has_superior >= paired.is_pair).all()
    assert not (made.has_superior & ~paired.has_inferior).any()
    held_out = paired.parts != "train"
    changed = replace(
        paired,
        labels=np.where(paired.labels >= 0, (paired.labels + 1) % 3, -1),
        superior_nd=paired.superior_nd[::-1] * 7,
        inferior_nd=np.where(held_out[:, None], paired.inferior_nd * 5 + 1, paired.inferior_nd),
    )
    again = replaced(changed, "self", kind, seed=3)
    shown = made.has_superior & ~held_out
    np.testing.assert_array_equal(again.superior_nd[shown], made.superior_nd[shown])
    if kind:
        for other in (replaced(paired, "self", kind, seed=4), replaced(paired, "self", kind + 1, seed=3)):
            assert not np.array_equal(other.superior_nd[shown], made.superior_nd[shown])


def test_principal_directions_are_those_of_scikit_learn(paired):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    made, train = replaced(paired, "self", 0, seed=0), paired.rows("train", paired.has_inferior)
    z_nd = StandardScaler().fit_transform(paired.inferior_nd[train].astype(np.float64))
    expected = PCA(n_components=made.superior_nd.shape[1]).fit_transform(z_nd)
    ours = made.superior_nd[train]
    has = made.has_superior[train]
    np.testing.assert_allclose(np.abs(ours[has]), np.abs(expected[has]), atol=1e-4)


def test_a_class_without_pairs_keeps_its_cases_with_z_i(paired):
    lacking = replace(paired, has_superior=paired.has_superior & (paired.labels != 0))
    made = replaced(lacking, "self", 0, seed=0)
    assert (made.has_superior & (paired.labels == 0) & (paired.parts == "train")).any()


def test_the_label_as_target_is_one_column_a_class_and_never_that_of_test(paired):
    made = replaced(paired, "label again", 0, seed=0)
    shown = made.has_superior
    np.testing.assert_array_equal(made.superior_nd[shown], np.eye(3, dtype=np.float32)[paired.labels[shown]])
    assert not shown[paired.parts == "test"].any()
    assert not shown[paired.labels < 0].any()
    assert np.isnan(made.superior_nd[~shown]).all()


def test_a_control_that_replaces_z_s_is_the_row_on_those_codes(paired):
    """G and the D_S that G(I) reads with are fitted on them, and it predicts from z_I alone."""
    heads = {(h.row, h.control, h.permutation): h for h in train_one(paired, **RIDGE, **ALL)}
    plain = {**RIDGE, "permutations": 0}
    for kind in (0, 1):
        by_hand = train_one(replaced(paired, "self", kind, seed=0), rows=("S", "G(I)", "G(I)+I"), **plain)
        of_s = load_decoder(*by_hand[0].components["decoder"]).tensors()
        for head in by_hand[1:]:
            control = heads[head.row, "self", kind]
            np.testing.assert_array_equal(control.probabilities, head.probabilities)
            number = {case: i for i, case in enumerate(paired.case_ids)}
            z_nd = paired.inferior_nd[[number[case] for case in control.case_ids]]
            again = predict_row(control.row, control.components, z_nd)
            np.testing.assert_allclose(again, control.probabilities, atol=1e-6)
        held = heads["G(I)", "self", kind].components["decoder"][1]
        assert all(np.array_equal(held[name], tensor) for name, tensor in of_s.items())


def test_which_controls_there_are():
    plain = {(arm.row, arm.control) for arm in arms_of(permutations=2)}
    wanted = {(row, c) for row in ("G(I)", "G(I)+I") for c in ("shuffled", "within class", "self")}
    assert {place for place in plain if place[1]} == wanted
    assert [arm for arm in arms_of(("G(I)",), 2) if arm.control] == [
        *(Arm("G(I)", "shuffled", p) for p in (0, 1)), *(Arm("G(I)", "within class", p) for p in (0, 1)),
        *(Arm("G(I)", "self", p) for p in (0, 1, 2)),
    ]  # fmt: skip
    kinds = [CONTROLS["self"].kind_name(p) for p in (0, 1, 2)]
    assert kinds == ["principal directions", "random features", "random features"]
    through = {(arm.row, arm.control) for arm in arms_of(permutations=2, through_labels=True)}
    assert through - plain == {("G(I)", "label again"), ("G(I)+I", "label again")}
    published = {(arm.row, arm.control) for arm in arms_of(permutations=2, mode="as-published")}
    assert plain - published == {("G(I)", "self")}  # a stored D_S reads no other code
    published = {(arm.row, arm.control) for arm in arms_of(permutations=2, mode="as-published", through_labels=True)}
    assert not {control for _, control in published} & {"self", "label again"}
    assert not [arm for arm in arms_of(permutations=0) if arm.control]
    assert {arm.control for arm in arms_of(("KD(I)", "GD(I)", "T(I)"), 1)} == {"", "shuffled", "within class", "own"}


def test_a_g_that_learns_from_labels_is_held_against_the_label_alone(paired):
    options = {**RIDGE, "decoder": "mlp", "guidance": "task_aware"}
    small = {"decoder_params": {"epochs": 3}, "guidance_params": {"epochs": 3}}
    arms = arms_of(("G(I)", "G(I)+I"), 1, ("label again",), through_labels=True)
    from guidestore.heads.rows.train import train_rows

    (heads,) = train_rows([replace(job_of(paired, **options, **small), arms=arms)])
    assert [(head.row, head.control, head.status) for head in heads] == [
        *((row, control, "ok") for control in ("", "label again") for row in ("G(I)", "G(I)+I")),
    ]  # fmt: skip
    assert all(head.facts[LEARNS_LABELS] == 1.0 for head in heads)
    assert all(LEARNS_LABELS not in head.facts for head in train_one(paired, **RIDGE))


def test_a_teacher_of_its_own_reads_z_i(paired):
    """Its student imitates a decoder on z_I, so it is that of pairs whose z_S is z_I."""
    own_s = replace(paired, superior_nd=paired.inferior_nd, has_superior=paired.is_pair)
    params = {"decoder_params": {"hidden_units": 8, "epochs": 10}}
    options = {**RIDGE, "decoder": "mlp", **params}
    heads = train_baselines([job_of(paired, **options)], baselines=("KD(I)",), permutations=1)[0]
    by_hand = train_baselines([job_of(own_s, **options)], baselines=("KD(I)",), permutations=0)[0]
    (own,) = (head for head in heads if head.control == "own")
    np.testing.assert_allclose(own.probabilities, by_hand[0].probabilities, atol=1e-5)
