"""T(I) of values, survival, grades and several labels."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.onnx_graph.head import head_onnx
from guidestore.heads.outcomes import reference_of
from guidestore.heads.prediction import predict_row
from guidestore.heads.trained import TrainedHead
from guidestore.heads.transfer.train import TransferJob, train_transfer
from tests.heads.mediated import mediated_pairs
from tests.outcome_store import TARGETS


def _main(head: TrainedHead, target: str) -> float:
    return head.metrics["test"][main_metric_of(TARGETS[target]["kind"]).name]


@pytest.mark.parametrize(
    ("target", "labelled", "of"),
    [("length", 40, {}), ("os", 60, {"d_i": 30, "seed": 1}), ("grade", 80, {}), ("findings", 40, {})],
)
def test_pairs_without_an_outcome_teach_and_stored_parts_say_the_same(
    target: str, labelled: int, of: dict[str, int]
) -> None:
    paired = mediated_pairs(target, 700, train=400, labelled=labelled, noise=0.6, **of)
    (heads,) = train_transfer([TransferJob(paired, 0)], student="ridge", permutations=1)
    of_arm = {(head.row, head.control): head for head in heads}
    assert list(of_arm) == [
        *((row, "") for row in ("S+I", "S", "I", "T(I)")),
        *(("T(I)", control) for control in ("shuffled", "within class", "own")),
    ]
    taught = of_arm["T(I)", ""]
    assert taught.facts["guidance_gate"] == 1.0
    assert taught.facts["guidance_unlabelled_pairs"] == len(paired.rows("train", ~paired.has_label))
    assert _main(taught, target) > max(_main(of_arm["I", ""], target), _main(of_arm["T(I)", "shuffled"], target)) + 0.01
    for head in heads:
        z_nd, test = paired.inferior_nd[400:], paired.superior_nd[400:]
        again = predict_row(head.row, head.components, z_nd, test, horizon=reference_of(paired))
        np.testing.assert_array_equal(again, head.probabilities)
    model = onnxruntime.InferenceSession(head_onnx("T(I)", taught.components, paired.inferior_nd.shape[1]))
    (told,) = model.run(None, {"z_inferior": paired.inferior_nd[400:]})
    np.testing.assert_allclose(told, taught.probabilities[:, : np.asarray(told).shape[1]], atol=1e-5)


@pytest.mark.parametrize("student", ["kernel", "mlp", "random_forest"])
def test_every_family_learns_values_and_risks(student: str) -> None:
    for target in ("length", "os") if student != "mlp" else ("os",):
        paired = mediated_pairs(target, 300, train=120, labelled=60)
        (heads,) = train_transfer([TransferJob(paired, 0)], student=student, permutations=0, rows=("S",))
        assert _main(heads[0], target) > {"length": 0.15, "os": 0.6}[target]
        again = predict_row("S", heads[0].components, paired.inferior_nd, paired.superior_nd, horizon=math.nan)
        np.testing.assert_array_equal(again[120:, 0], heads[0].probabilities[:, 0])


def test_no_target_of_a_fold_hangs_on_an_outcome_that_is_held_out() -> None:
    """Of all four kinds, what a fold's student is taught is the same whatever its held-out cases came to."""
    from guidestore.heads.transfer.cases import Cases
    from guidestore.heads.transfer.teacher import choose_teacher

    for target in TARGETS:
        paired = mediated_pairs(target, 300, train=120, labelled=60)
        cases = Cases.of(paired, seed=0)
        teacher = choose_teacher(cases, ("S",))
        assert teacher is not None
        split = cases.splits[0]
        y = paired.y.copy()
        y[split.held_n] = y[split.held_n][::-1]
        other = Cases.of(paired.with_y(y), seed=0)
        rows = cases.unlabelled_pairs
        told, again = (teacher.scores(of, split.fit_n, rows) for of in (cases, other))
        np.testing.assert_array_equal(told, again)
        np.testing.assert_array_equal(*(of.learning.targets(split.fit_n) for of in (cases, other)))


def test_what_cannot_be_learnt_is_a_sentence() -> None:
    job = TransferJob(mediated_pairs("os"), 0)
    with pytest.raises(InvalidInputError, match="student 'logistic' learns probabilities of classes, and os"):
        train_transfer([job], student="logistic")
    paired = mediated_pairs("os")
    y = paired.y.copy()
    y[:120, 1] = 0.0
    with pytest.raises(InvalidInputError, match="no train case with both modalities has an event of os"):
        train_transfer([TransferJob(paired.with_y(y), 0)], student="ridge")
