"""The losses of a batch of heads, with their gradients: cross-entropy to labels and soft labels, distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch

from guidestore.heads.training.head import Classes, Head, Outcomes, SoftClasses, TaughtOutcomes, Values
from guidestore.heads.training.outcome_losses import OutcomeLoss
from guidestore.heads.training.sharing import Arrays
from guidestore.heads.training.taught_losses import TaughtOutcomeLoss

SHORTEST = 1e-8
"""Vectors shorter than this have no direction, as in torch.nn.functional.cosine_similarity."""


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
        if not self.rectified:
            return self._train_loss(logits_hbk, rows)
        dropped = logits_hbk.relu() if mask is None else logits_hbk.relu().mul_(mask)
        loss_h, delta = self._train_loss(dropped, rows)
        delta.mul_(logits_hbk.sign().relu_())
        return loss_h, delta if mask is None else delta.mul_(mask)

    def _train_loss(self, logits_hbk: torch.Tensor, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return self._loss(logits_hbk, self._labels[:, rows, None], self._weights[:, rows, None])

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


class SoftCrossEntropy(CrossEntropy):
    """Cross-entropy to labels and to a teacher's softened probabilities (Hinton et al. 2015); see SoftClasses.

    Both terms are weighted by the class weight of the row's label.
    """

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        tasks = [cast(SoftClasses, head.task) for head in heads]
        self.hard, self.soft, self.wanted = (
            torch.from_numpy(np.stack([np.asarray(getattr(task, name), np.float64) for task in tasks]))
            for name in ("hard_n", "soft_n", "soft_nk")
        )
        self.temperature = torch.tensor([[[task.temperature]] for task in tasks], dtype=torch.float64)
        super().__init__(heads, device=device, dtype=dtype)

    def _move(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super()._move(move)
        self.hard, self.soft, self.wanted = move(self.hard), move(self.soft), move(self.wanted)
        self.temperature = move(self.temperature)

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        super().begin_epoch(rows_hn)
        self._hard, self._soft = self.hard.gather(1, rows_hn), self.soft.gather(1, rows_hn)
        self._wanted = self.wanted.take_along_dim(rows_hn[..., None], dim=1)

    def _train_loss(self, logits_hbk: torch.Tensor, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        labels, weights, wanted = self._labels[:, rows, None], self._weights[:, rows, None], self._wanted[:, rows]
        share = weights / weights.sum(dim=1, keepdim=True)
        hard, soft = share * self._hard[:, rows, None], share * self._soft[:, rows, None] * self.temperature
        log_p = torch.log_softmax(logits_hbk, dim=2)
        softened = torch.log_softmax(logits_hbk / self.temperature, dim=2)
        loss_h = -(log_p.gather(2, labels) * hard).sum(dim=(1, 2))
        loss_h -= (wanted * softened * soft * self.temperature).sum(dim=(1, 2))
        delta = log_p.exp_().scatter_add_(2, labels, torch.full_like(hard, -1.0)).mul_(hard)
        # One T of the T^2 is gone: the logits are divided by it.
        return loss_h, delta.add_(softened.exp_().sub_(wanted).mul_(soft))


class ValueLoss:
    """A weighted sum of distances between values o that a head gives and values y that are wanted:

    mse        the mean over rows and dimensions of (o - y)^2, as torch.nn.functional.mse_loss;
    cosine     the mean over rows of 1 - cos(o, y), as torch.nn.functional.cosine_embedding_loss of equal pairs;
    smooth_l1  the mean over rows and dimensions, as torch.nn.functional.smooth_l1_loss (beta 1);
    logits     the mse between what the head's frozen teacher makes of o and of y.
    """

    rectified = False

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        tasks = [cast(Values, head.task) for head in heads]
        self.relu_output, self.terms = tasks[0].relu_output, tasks[0].loss
        arrays = Arrays()
        self.array_of = torch.tensor([arrays.number(task.y_nd) for task in tasks], device=device)
        self.n = len(tasks[0].y_nd)
        self.y = torch.from_numpy(np.concatenate(arrays.distinct)).to(device, dtype)
        """(distinct arrays * n, d_out)."""
        teachers = [task.teacher for task in tasks if task.teacher is not None]
        self.teacher = [
            tuple(torch.from_numpy(np.stack(part)).to(device, dtype) for part in zip(*layers, strict=True))
            for layers in zip(*teachers, strict=True)
        ]
        """Per layer weight (h, d_out, d_in) and bias (h, d_out)."""

    def keep(self, places: torch.Tensor) -> None:
        """Drop all heads but those at `places`, which then come in that order."""
        self.array_of = self.array_of.index_select(0, places)
        self.teacher = [tuple(part.index_select(0, places) for part in layer) for layer in self.teacher]

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        """The epoch's rows in their order."""
        self._rows = rows_hn + self.n * self.array_of[:, None]

    def step(self, out_hbd: torch.Tensor, rows: slice, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (h,) and its gradient (h, b, d_out) for the epoch's `rows`; mask is not used."""
        wanted = self.y.index_select(0, self._rows[:, rows].reshape(-1)).view_as(out_hbd)
        if self.relu_output:
            out_hbd.relu_()
        (loss_h, delta), *more = (getattr(self, f"_{name}")(out_hbd, wanted, weight) for name, weight in self.terms)
        for term_h, term in more:
            loss_h, delta = loss_h + term_h, delta.add_(term)
        return loss_h, delta.mul_(out_hbd.sign()) if self.relu_output else delta

    def _mse(self, out: torch.Tensor, wanted: torch.Tensor, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        _, b, d = out.shape
        delta = out - wanted
        return weight * delta.square().mean(dim=(1, 2)), delta.mul_(2.0 * weight / (b * d))

    def _cosine(self, out: torch.Tensor, wanted: torch.Tensor, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        length, wanted_length = (v.norm(dim=2, keepdim=True).clamp_min(SHORTEST) for v in (out, wanted))
        along, wanted = out / length, wanted / wanted_length
        cosine = (along * wanted).sum(dim=2, keepdim=True)
        loss_h = weight * (1.0 - cosine).mean(dim=(1, 2))
        return loss_h, along.mul_(cosine).sub_(wanted).div_(length).mul_(weight / out.shape[1])

    def _smooth_l1(self, out: torch.Tensor, wanted: torch.Tensor, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        _, b, d = out.shape
        difference = out - wanted
        delta = difference.clamp(-1.0, 1.0)
        # Inside, d * d - d^2 / 2; outside, |d| - 1 / 2.
        loss_h = weight * (delta * (difference - 0.5 * delta)).mean(dim=(1, 2))
        return loss_h, delta.mul_(weight / (b * d))

    def _logits(self, out: torch.Tensor, wanted: torch.Tensor, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self._taught(out)
        delta = outputs[-1] - self._taught(wanted)[-1]
        loss_h = weight * delta.square().mean(dim=(1, 2))
        delta.mul_(2.0 * weight / (delta.shape[1] * delta.shape[2]))
        for layer in range(len(self.teacher) - 1, -1, -1):
            delta = torch.bmm(delta, self.teacher[layer][0])
            if layer:
                delta.mul_(outputs[layer - 1].sign())
        return loss_h, delta

    def _taught(self, values: torch.Tensor) -> list[torch.Tensor]:
        """What each layer of the teachers makes of (h, b, d_out); hidden ones after ReLU."""
        outputs: list[torch.Tensor] = []
        for weight, bias in self.teacher:
            values = torch.baddbmm(bias[:, None, :], outputs[-1] if outputs else values, weight.transpose(1, 2))
            outputs.append(values.relu_() if len(outputs) < len(self.teacher) - 1 else values)
        return outputs


def loss_of(heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> CrossEntropy | OutcomeLoss | ValueLoss:
    """The loss of a batch of heads, whose tasks are of one kind."""
    if isinstance(heads[0].task, TaughtOutcomes):
        return TaughtOutcomeLoss(heads, device=device, dtype=dtype)
    if isinstance(heads[0].task, Outcomes):
        return OutcomeLoss(heads, device=device, dtype=dtype)
    kinds = {Classes: CrossEntropy, SoftClasses: SoftCrossEntropy, Values: ValueLoss}
    return kinds[type(heads[0].task)](heads, device=device, dtype=dtype)


def _labels_and_weights(labels: Sequence[np.ndarray], tasks: Sequence[Classes]) -> tuple[torch.Tensor, torch.Tensor]:
    """(h, n) labels and the class weight of each row."""
    weights = [np.asarray(task.class_weights, dtype=np.float64)[own] for own, task in zip(labels, tasks, strict=True)]
    return torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(weights))
