"""The losses whose gradients are written out are those that torch's autograd finds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from guidestore.heads.guidance.common.networks import value_loss
from guidestore.heads.networks import Layers
from guidestore.heads.training.head import Classes, Head, SoftClasses, Values
from guidestore.heads.training.losses import SoftCrossEntropy, ValueLoss

N, D, K = 9, 5, 3
LOSSES = [(("mse", 1.0),), (("cosine", 0.7),), (("smooth_l1", 2.0),), (("logits", 1.0),),
          (("mse", 0.3), ("cosine", 1.0), ("smooth_l1", 0.5), ("logits", 2.0))]  # fmt: skip


def teacher(seed: int) -> Layers:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in ((6, D), (K, 6))]


def head(task: Classes | Values) -> Head:
    return Head(
        x_nd=np.zeros((N, 2), dtype=np.float32), task=task, hidden=(4,), dropout=0.0, learning_rate=0.1,
        weight_decay=0.0, epochs=1, batch_size=N, seed=0,
    )  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "+".join(name for name, _ in loss))
@pytest.mark.parametrize("relu_output", [False, True])
def test_distances_of_values(loss, relu_output):
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(N, D)).astype(np.float32) for _ in range(2)]
    heads = [
        head(
            Values(
                y_nd=y[i], relu_output=relu_output, loss=loss, teacher=teacher(i) if "logits" in dict(loss) else None
            )
        )
        for i in range(2)
    ]
    ours = ValueLoss(heads, device="cpu", dtype=torch.float64)
    rows_hn = torch.from_numpy(np.stack([rng.permutation(N) for _ in range(2)]))
    ours.begin_epoch(rows_hn)
    out = torch.from_numpy(2 * rng.normal(size=(2, 4, D))).requires_grad_()
    expected = []
    for i in range(2):
        layers = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in teacher(i)]
        wanted = torch.from_numpy(y[i]).double()[rows_hn[i, 2:6]]
        expected.append(value_loss(out[i].relu() if relu_output else out[i], wanted, dict(loss), layers))
    (gradient,) = torch.autograd.grad(torch.stack(expected).sum(), out)
    loss_h, delta = ours.step(out.detach().clone(), slice(2, 6), None)
    torch.testing.assert_close(loss_h, torch.stack(expected).detach())
    torch.testing.assert_close(delta, gradient)


def soft_task(seed: int) -> SoftClasses:
    rng = np.random.default_rng(seed)
    return SoftClasses(
        labels=rng.integers(0, K, N), x_val_nd=np.zeros((2, 2), np.float32), labels_val=np.array([0, 1]),
        class_weights=rng.uniform(0.5, 2, K), weighted_sampler=False, patience=9, relu_dropout_on_logits=False,
        hard_n=rng.uniform(size=N) * (rng.random(N) > 0.3), soft_n=rng.uniform(size=N),
        soft_nk=rng.dirichlet(np.ones(K), N), temperature=1.0 + 3.0 * seed,
    )  # fmt: skip


@pytest.mark.parametrize("rectified", [False, True])
def test_soft_labels(rectified):
    tasks = [dataclasses.replace(soft_task(seed), relu_dropout_on_logits=rectified) for seed in (0, 1)]
    ours = SoftCrossEntropy([head(task) for task in tasks], device="cpu", dtype=torch.float64)
    rng = np.random.default_rng(5)
    rows_hn = torch.from_numpy(np.stack([rng.permutation(N) for _ in range(2)]))
    ours.begin_epoch(rows_hn)
    logits = torch.from_numpy(2 * rng.normal(size=(2, 4, K))).requires_grad_()
    expected = []
    for i, task in enumerate(tasks):
        rows = rows_hn[i, 2:6].numpy()
        weights = torch.from_numpy(task.class_weights[task.labels[rows]])
        own, t = (logits[i].relu() if rectified else logits[i]), task.temperature
        hard = torch.nn.functional.cross_entropy(own, torch.from_numpy(task.labels[rows]), reduction="none")
        soft = torch.nn.functional.cross_entropy(own / t, torch.from_numpy(task.soft_nk[rows]), reduction="none")
        each = torch.from_numpy(task.hard_n[rows]) * hard + torch.from_numpy(task.soft_n[rows]) * t * t * soft
        expected.append((each * weights).sum() / weights.sum())
    (gradient,) = torch.autograd.grad(torch.stack(expected).sum(), logits)
    loss_h, delta = ours.step(logits.detach().clone(), slice(2, 6), None)
    torch.testing.assert_close(loss_h, torch.stack(expected).detach())
    torch.testing.assert_close(delta, gradient)
    ours.keep(torch.tensor([1]))
    ours.begin_epoch(rows_hn[1:])
    torch.testing.assert_close(ours.step(logits.detach()[1:].clone(), slice(2, 6), None)[0], loss_h[1:])
