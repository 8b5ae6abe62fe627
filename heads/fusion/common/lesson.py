"""What the linear head over a fused code learns, by the kind of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.training.outcome_losses import LOSSES


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Of one fit."""

    y: torch.Tensor
    """(n, …)."""
    y_val: torch.Tensor
    d_out: int
    """Of the head."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """(b, d_out) outputs and y of a step's cases -> ()."""


def lesson_of(kind: TargetKind, y: np.ndarray, y_val: np.ndarray, n_classes: int) -> Lesson:
    """Of checked outcomes (heads.fusion.common.checks): class-balanced cross-entropy of classes; the squared error of
    standardised values; Cox's partial likelihood, by which a step's cases are compared with each other; of grades who
    goes on to the next; the cross-entropy of each label that was looked at."""
    if kind == "classes":
        weights = len(y) / (n_classes * np.bincount(y, minlength=n_classes))
        of_class = torch.from_numpy(weights.astype(np.float32))

        def cross_entropy(out: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(out, labels, weight=of_class)

        return Lesson(torch.from_numpy(y), torch.from_numpy(y_val), n_classes, cross_entropy)
    name, d_out = {"value": ("mse", 1), "survival": ("cox", 1), "ordinal": ("binary", n_classes - 1)}.get(
        kind, ("binary", n_classes)
    )
    both = [_columns(kind, of, y, n_classes) for of in (y, y_val)]
    given, given_val = (torch.from_numpy(of.astype(np.float32)) for of in both)
    return Lesson(given, given_val, d_out, lambda out, of: _Told.apply(out, of, LOSSES[name]))  # pyright: ignore[reportReturnType]


def _columns(kind: TargetKind, y: np.ndarray, of_train: np.ndarray, n_classes: int) -> np.ndarray:
    """(n, c) as the loss reads it."""
    if kind == "value":
        return ((y - of_train.mean()) / of_train.std())[:, None]
    if kind == "ordinal":
        steps = np.arange(n_classes - 1)
        return np.where(y[:, None] >= steps, y[:, None] > steps, np.nan)
    return y


class _Told(torch.autograd.Function):
    """A loss that brings its own gradient."""

    @staticmethod
    def forward(ctx: Any, out: torch.Tensor, y: torch.Tensor, told: Any) -> torch.Tensor:
        loss, slope = told(out[None], y[None])
        ctx.save_for_backward(slope[0])
        return loss[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * grad_outputs[0], None, None
