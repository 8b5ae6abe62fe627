"""The losses of a batch of heads, with their gradients: cross-entropy over each head's own classes, squared error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch

from heads.training.head import Classes, Head, Values
from heads.training.sharing import Arrays


class CrossEntropy:
    """Weighted cross-entropy, the mean of torch.nn.functional.cross_entropy with `weight`."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        tasks = [cast(Classes, head.task) for head in heads]
        self.rectified = tasks[0].relu_dropout_on_logits
        """ReLU and dropout on the logits."""
        self.labels, self.weights = _labels_and_weights([task.labels for task in tasks], tasks)
        self.val_labels, self.val_weights = _labels_and_weights([task.labels_val for task in tasks], tasks)
        k = np.array([head.d_out for head in heads])
        absent = np.where(np.arange(k.max()) < k[:, None], 0.0, -np.inf)[:, None, :]
        self.absent = torch.from_numpy(absent) if (k != k.max()).any() else None
        """(h, 1, k): -inf for classes that a head does not have; None where all have as many."""
        self._move(lambda values: values.to(device, values.dtype if values.dtype == torch.int64 else dtype))

    def _move(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.labels, self.weights = move(self.labels), move(self.weights)
        self.val_labels, self.val_weights = move(self.val_labels), move(self.val_weights)
        self.absent = None if self.absent is None else move(self.absent)

    def keep(self, places: torch.Tensor) -> None:
        """Drop all heads but those at `places`, which then come in that order."""
        self._move(lambda values: values.index_select(0, places))

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        """The epoch's rows in their order."""
        self._labels, self._weights = self.labels.gather(1, rows_hn), self.weights.gather(1, rows_hn)

    def step(
        self, logits_hbk: torch.Tensor, rows: slice, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (h,) and its gradient (h, b, k) for the epoch's `rows`; mask: dropout on the logits."""
        labels, weights = self._labels[:, rows, None], self._weights[:, rows, None]
        if not self.rectified:
            return self._loss(logits_hbk, labels, weights)
        dropped = logits_hbk.relu() if mask is None else logits_hbk.relu().mul_(mask)
        loss_h, delta = self._loss(dropped, labels, weights)
        delta.mul_(logits_hbk.sign().relu_())
        return loss_h, delta if mask is None else delta.mul_(mask)

    def val_loss(self, logits_hbk: torch.Tensor) -> torch.Tensor:
        """(h,), over all val rows."""
        logits_hbk = logits_hbk.relu() if self.rectified else logits_hbk
        return self._loss(logits_hbk, self.val_labels[..., None], self.val_weights[..., None])[0]

    def _loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_p = torch.log_softmax(logits if self.absent is None else logits + self.absent, dim=2)
        share = weights / weights.sum(dim=1, keepdim=True)
        loss_h = -(log_p.gather(2, labels) * share).sum(dim=(1, 2))
        # exp(log p) - 1 at the label, p elsewhere.
        delta = log_p.exp_().scatter_add_(2, labels, torch.full_like(share, -1.0)).mul_(share)
        return loss_h, delta


class SquaredError:
    """The mean over rows and dimensions, as torch.nn.functional.mse_loss."""

    rectified = False

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        tasks = [cast(Values, head.task) for head in heads]
        self.relu_output = tasks[0].relu_output
        arrays = Arrays()
        self.array_of = torch.tensor([arrays.number(task.y_nd) for task in tasks], device=device)
        self.n = len(tasks[0].y_nd)
        self.y = torch.from_numpy(np.concatenate(arrays.distinct)).to(device, dtype)
        """(distinct arrays * n, d_out)."""

    def keep(self, places: torch.Tensor) -> None:
        """Drop all heads but those at `places`, which then come in that order."""
        self.array_of = self.array_of.index_select(0, places)

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        """The epoch's rows in their order."""
        self._rows = rows_hn + self.n * self.array_of[:, None]

    def step(self, out_hbd: torch.Tensor, rows: slice, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (h,) and its gradient (h, b, d_out) for the epoch's `rows`; mask is not used."""
        _, b, d = out_hbd.shape
        wanted = self.y.index_select(0, self._rows[:, rows].reshape(-1)).view_as(out_hbd)
        if self.relu_output:
            out_hbd.relu_()
        delta = wanted.neg_().add_(out_hbd)
        loss_h = delta.square().mean(dim=(1, 2))
        delta.mul_(2.0 / (b * d))
        return loss_h, delta.mul_(out_hbd.sign()) if self.relu_output else delta


def _labels_and_weights(labels: Sequence[np.ndarray], tasks: Sequence[Classes]) -> tuple[torch.Tensor, torch.Tensor]:
    """(h, n) labels and the class weight of each row."""
    weights = [np.asarray(task.class_weights, dtype=np.float64)[own] for own, task in zip(labels, tasks, strict=True)]
    return torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(weights))
