"""Trains the network of one learnt fusion with torch, under a linear head that then makes way for a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from guidestore.heads.fusion.common.lesson import Lesson
from guidestore.heads.fusion.common.maths import Fused, Maths, Weights
from guidestore.heads.networks import diverged
from guidestore.heads.training.descent import Schedule, descend
from guidestore.heads.training.draws import initial_layer

_HEAD = "head"
"""The linear head; its weights are not kept."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FusionFit:
    """One fit, on standardised codes."""

    what: str
    """Name of the fusion, for errors."""
    left_nd: np.ndarray
    """(n, d_left) float64; the others alike."""
    right_nd: np.ndarray
    left_val_nd: np.ndarray
    right_val_nd: np.ndarray
    lesson: Lesson
    seed: int
    maps: Mapping[str, tuple[int, int]]
    """Name -> (d_in, d_out) of each linear map."""
    fused_dim: int
    fuse: Callable[[Maths, torch.Tensor, torch.Tensor], Fused]
    penalty: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | float]
    """() what is to be small besides the loss, of the embeddings of a step's cases."""
    dropout: float
    """Of the fused code."""
    schedule: Schedule


class TorchMaths:
    """`Maths` of the network in training."""

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


def train(fit: FusionFit) -> tuple[Weights, dict[str, float]]:
    """The linear maps of the epoch with the least val loss, float32, and facts about it. Raises DivergedError."""
    lesson, n = fit.lesson, len(fit.left_nd)
    left_nd, right_nd, left_val_nd, right_val_nd = (
        torch.from_numpy(codes_nd.astype(np.float32))
        for codes_nd in (fit.left_nd, fit.right_nd, fit.left_val_nd, fit.right_val_nd)
    )
    trained: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for number, (name, shape) in enumerate((dict(fit.maps) | {_HEAD: (fit.fused_dim, lesson.d_out)}).items()):
        weight, bias = initial_layer(fit.seed, number, *shape)
        trained[name] = (torch.from_numpy(weight).requires_grad_(), torch.from_numpy(bias).requires_grad_())
    maths, generator = TorchMaths(trained), torch.Generator().manual_seed(fit.seed)

    def step_loss(epoch: int, rows: torch.Tensor) -> torch.Tensor:
        fused_bd, *embeddings = fit.fuse(maths, left_nd[rows], right_nd[rows])
        if fit.dropout:
            kept = torch.rand(fused_bd.shape, generator=generator) >= fit.dropout
            fused_bd = fused_bd * kept / (1.0 - fit.dropout)
        loss = lesson.loss(maths.linear(_HEAD, fused_bd), lesson.y[rows])
        if not torch.isfinite(loss):  # before the penalty: there is no nuclear norm of what is not finite
            raise diverged(fit.what, epoch, float(loss.detach()), fit.schedule.learning_rate)
        return loss + fit.penalty(*embeddings)

    def val_loss() -> float:
        with torch.no_grad():
            fused_nd, *_ = fit.fuse(maths, left_val_nd, right_val_nd)
            return float(lesson.loss(maths.linear(_HEAD, fused_nd), lesson.y_val))

    parameters = [part for layer in trained.values() for part in layer]
    descended = descend(parameters, step_loss, n, fit.schedule, seed=fit.seed, what=fit.what, val_loss=val_loss)
    arrays = iter(descended.parameters)
    weights = {name: (next(arrays), next(arrays)) for name in trained}
    del weights[_HEAD]
    return weights, {"best_epoch": float(descended.epoch), "val_loss": descended.loss}
