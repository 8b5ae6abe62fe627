"""Trains the network of one `LearntFusion` with torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.adamw import adamw

from guidestore.heads.networks import diverged
from guidestore.heads.training.draws import initial_layer, row_uniforms

if TYPE_CHECKING:
    from guidestore.heads.fusion.learnt import LearntFusion, Weights

_HEAD = "head"
"""The softmax head; its weights are not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One fit, on standardised codes."""

    left_nd: np.ndarray
    """(n, d_left) float64; the others alike."""
    right_nd: np.ndarray
    labels: np.ndarray
    """(n,) int64."""
    left_val_nd: np.ndarray
    right_val_nd: np.ndarray
    labels_val: np.ndarray
    n_classes: int
    seed: int


class TorchMaths:
    """`heads.fusion.learnt.Maths` of the network in training."""

    def __init__(self, weights: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._weights = weights

    def linear(self, name: str, x_nd: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x_nd, *self._weights[name])

    def relu(self, x_nd: torch.Tensor) -> torch.Tensor:
        return x_nd.relu()

    def tanh(self, x_nd: torch.Tensor) -> torch.Tensor:
        return x_nd.tanh()

    def sigmoid(self, x_nd: torch.Tensor) -> torch.Tensor:
        return x_nd.sigmoid()

    def side_by_side(self, left_nd: torch.Tensor, right_nd: torch.Tensor) -> torch.Tensor:
        return torch.hstack([left_nd, right_nd])

    def with_one(self, x_nd: torch.Tensor) -> torch.Tensor:
        return torch.hstack([x_nd, x_nd.new_ones((len(x_nd), 1))])


def train(fusion: LearntFusion, task: Task) -> tuple[Weights, dict[str, float]]:
    """The linear maps of the epoch with the least val loss, float32, and facts about it. Raises DivergedError."""
    use, n, k = fusion.settings, len(task.labels), task.n_classes
    left_nd, right_nd, left_val_nd, right_val_nd = (
        torch.from_numpy(codes_nd.astype(np.float32))
        for codes_nd in (task.left_nd, task.right_nd, task.left_val_nd, task.right_val_nd)
    )
    labels, labels_val = torch.from_numpy(task.labels), torch.from_numpy(task.labels_val)
    class_weights = torch.from_numpy((n / (k * np.bincount(task.labels, minlength=k))).astype(np.float32))
    shapes = fusion.maps(left_nd.shape[1], right_nd.shape[1])
    trained: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for number, (name, shape) in enumerate((shapes | {_HEAD: (fusion.fused_dim, k)}).items()):
        weight, bias = initial_layer(task.seed, number, *shape)
        trained[name] = (torch.from_numpy(weight).requires_grad_(), torch.from_numpy(bias).requires_grad_())
    parameters = [part for layer in trained.values() for part in layer]
    means, squares = ([torch.zeros_like(part) for part in parameters] for _ in range(2))
    steps = [torch.zeros(()) for _ in parameters]
    maths, generator = TorchMaths(trained), torch.Generator().manual_seed(task.seed)
    best: Weights = {}
    best_epoch, best_loss = 0, np.inf
    for epoch in range(1, use.epochs + 1):
        order = torch.from_numpy(np.argsort(row_uniforms(task.seed, epoch, n), kind="stable"))
        for rows in order.split(use.batch_size):
            fused_bd, *embeddings = fusion.fuse(maths, left_nd[rows], right_nd[rows])
            if use.dropout:
                kept = torch.rand(fused_bd.shape, generator=generator) >= use.dropout
                fused_bd = fused_bd * kept / (1.0 - use.dropout)
            loss = _cross_entropy(maths.linear(_HEAD, fused_bd), labels[rows], class_weights)
            if not torch.isfinite(loss):  # before the penalty: there is no nuclear norm of what is not finite
                raise diverged(fusion.name, epoch, float(loss.detach()), use.learning_rate)
            gradients = list(torch.autograd.grad(loss + fusion.penalty(*embeddings), parameters))
            with torch.no_grad():
                adamw(
                    parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, beta1=0.9, beta2=0.999,
                    lr=use.learning_rate, weight_decay=use.weight_decay, eps=1e-8, maximize=False,
                )  # fmt: skip
        with torch.no_grad():
            logits_nk = maths.linear(_HEAD, fusion.fuse(maths, left_val_nd, right_val_nd)[0])
            val_loss = float(_cross_entropy(logits_nk, labels_val, class_weights))
        if not np.isfinite(val_loss):
            raise diverged(fusion.name, epoch, val_loss, use.learning_rate)
        if val_loss < best_loss:
            best_epoch, best_loss = epoch, val_loss
            best = {
                name: (weight.detach().numpy().copy(), bias.detach().numpy().copy())
                for name, (weight, bias) in trained.items()
                if name != _HEAD
            }
        elif epoch - best_epoch >= use.patience:
            break
    return best, {"best_epoch": float(best_epoch), "val_loss": best_loss}


def _cross_entropy(logits_bk: torch.Tensor, labels_b: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
    """() the mean, rows weighted by their class."""
    return torch.nn.functional.cross_entropy(logits_bk, labels_b, weight=class_weights)
