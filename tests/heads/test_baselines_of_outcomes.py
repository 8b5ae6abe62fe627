"""KD(I), GD(I) and E(I) of values, survival, grades and several labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.baselines.distillation import DistillationSettings
from guidestore.heads.baselines.teacher import train_teachers
from guidestore.heads.baselines.train import train_baselines
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.outcomes import reference_of
from guidestore.heads.prediction import predict_row
from guidestore.heads.training.head import Head, TaughtOutcomes
from guidestore.heads.training.taught_losses import TaughtOutcomeLoss
from tests.heads.mediated import mediated_pairs
from tests.heads.training import job_of, train_one
from tests.outcome_store import TARGETS

OPTIONS: dict[str, Any] = {
    "guidance": "ridge",
    "decoder": "mlp",
    "decoder_params": {"hidden_units": 8, "epochs": 60, "patience": 60},
}


def _main(head: Any, target: str) -> float:
    return head.metrics["test"][main_metric_of(TARGETS[target]["kind"]).name]


@pytest.mark.parametrize("target", TARGETS)
def test_pairs_without_an_outcome_teach_and_stored_parts_say_the_same(target: str) -> None:
    paired = mediated_pairs(target, 400, train=200, labelled=30)
    options = OPTIONS | {"decoder_params": OPTIONS["decoder_params"] | {"learning_rate": 0.02}}
    job, settings = job_of(paired, **options), DistillationSettings(temperature=2.0, imitation=0.8)
    taught = ("KD(I)", "GD(I)") if target == "grade" else ("KD(I)",)
    heads = train_baselines([job], baselines=(*taught, "E(I)"), permutations=1, settings=settings)[0]
    of = {(head.row, head.control): head for head in heads if head.permutation <= 0}
    assert {head.status for head in heads} == {"ok"}
    for row in taught:
        assert of[row, ""].n_train == 200
        assert {control for taught, control in of if taught == row} == {"", "shuffled", "within class", "own"}
        assert _main(of[row, ""], target) > _main(of[row, "shuffled"], target) + 0.03
    assert {control for taught, control in of if taught == "E(I)"} == {"", "shuffled", "within class", "self"}
    for head in heads:
        again = predict_row(head.row, head.components, paired.inferior_nd[200:], horizon=reference_of(paired))
        np.testing.assert_allclose(again, head.probabilities, atol=1e-6)
    rows = {head.row: head for head in train_one(paired, rows=("I", "G(I)"), permutations=0, **options)}
    mean = (rows["I"].probabilities + rows["G(I)"].probabilities) / 2
    np.testing.assert_allclose(of["E(I)", ""].probabilities, mean, atol=1e-9)


@pytest.mark.parametrize("target", ["length", "os", "grade"])
def test_without_imitation_the_student_is_row_i(target: str) -> None:
    paired = mediated_pairs(target, 260)
    job = job_of(paired, **OPTIONS)
    (head,) = train_baselines([job], baselines=("KD(I)",), settings=DistillationSettings(imitation=0.0))[0]
    (inferior,) = train_one(paired, rows=("I",), **OPTIONS)
    np.testing.assert_allclose(head.probabilities, inferior.probabilities, atol=2e-4)


@pytest.mark.parametrize("target", ["os", "findings"])
def test_no_teacher_has_seen_the_outcome_of_a_case_that_it_teaches(target: str) -> None:
    paired = mediated_pairs(target, 260)
    options = {"guidance": "ridge", "decoder": {"os": "ridge", "findings": "logistic"}[target]}
    (teacher,) = train_teachers([job_of(paired, **options)], device="cpu")
    assert len(teacher.without_fold) == 5
    pairs, (fold, _) = paired.rows("train", paired.is_pair), teacher.without_fold[0]
    y = paired.y.copy()
    y[fold] = np.nan
    (alone,) = train_one(paired.with_y(y), rows=("S",), permutations=0, **options)
    told = predict_row("S", alone.components, paired.inferior_nd[pairs], paired.superior_nd[pairs])
    told = told - told.mean(axis=0) if target == "os" else told  # a risk has no zero
    np.testing.assert_allclose(teacher.says(paired, pairs)[np.isin(pairs, fold)], told[np.isin(pairs, fold)])


@pytest.mark.parametrize("loss", ["mse", "huber", "binary", "cox"])
def test_the_taught_loss_is_torchs_and_its_slope_that_of_autograd(loss: Any) -> None:
    rng = np.random.default_rng(0)
    n, c = 12, 1 if loss == "cox" else 3
    y = rng.normal(size=(n, c))
    if loss == "binary":
        y = (y > 0).astype(float)
    if loss == "cox":
        y = np.column_stack([rng.integers(1, 5, n), rng.integers(0, 2, n)]).astype(float)
    hard, soft = rng.random(n), rng.random((n, c))
    hard = np.full(n, 0.4) if loss == "cox" else hard
    taught = rng.random((n, c))
    task = TaughtOutcomes(
        x_val_nd=np.zeros((1, 2), np.float32), patience=1, y_nc=y, y_val_nc=y, loss=loss, hard_n=hard, soft_nc=soft,
        taught_nc=taught, temperature=3.0 if loss == "binary" else 1.0,
    )  # fmt: skip
    head = Head(
        x_nd=np.zeros((n, 2), np.float32), task=task, hidden=(), dropout=0, learning_rate=1, weight_decay=0, epochs=1,
        batch_size=n, seed=0,
    )  # fmt: skip
    of = TaughtOutcomeLoss([head], device="cpu", dtype=torch.float64)
    of.begin_epoch(torch.arange(n)[None])
    out = torch.from_numpy(rng.normal(size=(1, n, c))).requires_grad_()
    told, slope = of.step(out.detach(), slice(0, n), None)
    expected = _by_torch(loss, out[0], *map(torch.from_numpy, (y, hard, soft, taught)))
    (gradient,) = torch.autograd.grad(expected, out)
    assert float(told) == pytest.approx(float(expected.detach()))
    torch.testing.assert_close(slope, gradient)


def _by_torch(loss: str, out: Any, y: Any, hard: Any, soft: Any, taught: Any) -> Any:
    functional = torch.nn.functional
    if loss == "binary":
        own = functional.binary_cross_entropy_with_logits(out, y, reduction="none")
        other = 9 * functional.binary_cross_entropy_with_logits(out / 3, taught, reduction="none")
        return ((own * hard[:, None]).sum() + (other * soft).sum()) / len(y)
    if loss == "cox":  # Efron's, term by term
        time, event = y.T
        total = torch.zeros(())
        for at in time[event == 1].unique():
            dead = (time == at) & (event == 1)
            d, risk = int(dead.sum()), out[:, 0]
            for i in range(d):
                rest = risk[time >= at].exp().sum() - i / d * risk[dead].exp().sum()
                total = total + rest.log()
            total = total - risk[dead].sum()
        return 0.4 * total / event.sum() + ((out - taught) ** 2 * soft).mean()
    distance = functional.mse_loss if loss == "mse" else functional.huber_loss
    own, other = (distance(out, of, reduction="none") for of in (y, taught))
    return (own * hard[:, None]).mean() + (other * soft).mean()


def test_what_cannot_be_taught_is_a_sentence() -> None:
    for target, decoder in (("os", "ridge"), ("os", "discrete_time"), ("length", "knn"), ("findings", "logistic")):
        job = job_of(mediated_pairs(target, 260), guidance="ridge", decoder=decoder)
        with pytest.raises(InvalidInputError, match=f"decoder '{decoder}' cannot learn what a teacher says"):
            train_baselines([job], baselines=("KD(I)",))
