"""One batch of heads of equal shape, from the first epoch to the last head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from guidestore.heads.training.head import Classes, Diverged, Head, Trained
from guidestore.heads.training.losses import CrossEntropy, loss_of
from guidestore.heads.training.reader import Reader
from guidestore.heads.training.stack import Stack

LEAVE_SHARE = 0.125
"""Finished heads leave the batch once they are this share of it: leaving copies all that stay."""


def train_batch(heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> list[Trained | Diverged]:
    """Heads of one `Head.shape`, trained together; results in their order. Everything is resident on the device."""
    with torch.no_grad():
        batch = _Batch(heads, device=device, dtype=dtype)
        epoch = 0
        while batch.heads:
            epoch += 1
            batch.train_epoch(epoch)
            batch.end_epoch(epoch)
    return [batch.results[i] for i in range(len(heads))]


class _Batch:
    """The heads that are still in a batch, with their state."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        self.results: dict[int, Trained | Diverged] = {}
        """By place in the caller's list."""
        self.reader = Reader(heads, device=device, dtype=dtype)
        self.numbers = self.reader.order(range(len(heads)))
        """Places of `heads` in the caller's list."""
        self.heads = [heads[i] for i in self.numbers]
        self.reader.read_for(self.heads, self.numbers)
        self.stack = Stack(self.heads, device=device, dtype=dtype)
        self.loss = loss_of(self.heads, device=device, dtype=dtype)
        self.best = self.stack.copy() if isinstance(self.loss, CrossEntropy) else None
        """The best weights so far; None where the last are used."""
        self.best_loss, self.best_epoch = np.full(len(heads), np.inf), np.zeros(len(heads), dtype=int)
        widths = self.stack.widths
        layers = [*range(1, len(widths) - 1)] or [0]
        self.dropped = [(i, widths[i]) for i in layers + [len(widths) - 1] * self.loss.rectified]
        """(layer, width) of what dropout applies to; layer 0 are the codes."""

    def train_epoch(self, epoch: int) -> None:
        """All steps of an epoch; `train_loss` is then (h,), the mean over its rows."""
        reader, stack, n = self.reader, self.stack, self.reader.n
        n_layers, batch_size = len(stack.weights), self.heads[0].batch_size
        self.loss.begin_epoch(reader.begin_epoch(epoch, self.dropped))
        self.train_loss = torch.zeros(len(self.heads), device=reader.device, dtype=reader.dtype)
        for first in range(0, n, batch_size):
            rows = slice(first, min(first + batch_size, n))
            x_vbd, masks = reader.codes(rows), reader.masks(rows)
            outputs = stack.forward(x_vbd, reader.blocks, masks)
            loss_h, delta = self.loss.step(outputs[-1], rows, masks.get(n_layers))
            stack.backward(x_vbd, reader.blocks, outputs, delta, reader.scale)
            stack.step()
            self.train_loss.add_(loss_h, alpha=x_vbd.shape[1] / n)

    def end_epoch(self, epoch: int) -> None:
        """Looks at val; says who is best, who has finished and who leaves. Only the losses come to the host."""
        losses = [self.train_loss]
        if isinstance(self.loss, CrossEntropy):
            losses.append(self.loss.val_loss(self.stack.forward(self.reader.x_val, self.reader.val_blocks, {})[-1]))
        train_loss, watched = torch.stack((losses[0], losses[-1])).double().cpu().numpy()
        going = np.array([number not in self.results for number in self.numbers])
        for i in np.flatnonzero(going & ~np.isfinite(train_loss + watched)):
            loss = watched[i] if np.isfinite(train_loss[i]) else train_loss[i]
            self.results[self.numbers[i]] = Diverged(epoch, float(loss))
            going[i] = False
        better = going & (watched < self.best_loss) if self.best is not None else going.copy()
        self.best_loss[better], self.best_epoch[better] = watched[better], epoch
        if self.best is not None and better.any():
            self.stack.remember(self.best, self.reader.tensor(np.flatnonzero(better)))
        for i in np.flatnonzero(going).tolist():
            task = self.heads[i].task
            patience = task.patience if isinstance(task, Classes) else np.inf
            if epoch >= self.heads[i].epochs or epoch - self.best_epoch[i] >= patience:
                self._finish(i)
                going[i] = False
        if (~going).mean() >= LEAVE_SHARE:
            self._keep(np.flatnonzero(going).tolist())

    def _finish(self, i: int) -> None:
        head, loss, epoch = self.heads[i], float(self.best_loss[i]), int(self.best_epoch[i])
        layers = self.stack.layers(i, head.d_out, self.best)
        finite = all(np.isfinite(array).all() for layer in layers for array in layer)
        self.results[self.numbers[i]] = Trained(layers, epoch, loss) if finite else Diverged(epoch, loss)

    def _keep(self, places: list[int]) -> None:
        """The heads at `places` stay, all others leave."""
        if not places:
            self.heads = []
            return
        places = self.reader.order(places)
        self.heads, self.numbers = [self.heads[i] for i in places], [self.numbers[i] for i in places]
        self.best_loss, self.best_epoch = self.best_loss[places], self.best_epoch[places]
        self.reader.read_for(self.heads, places)
        index = self.reader.tensor(np.array(places))
        self.stack.keep(index, self.heads)
        self.loss.keep(index)
        if self.best is not None:
            self.best = [values.index_select(0, index) for values in self.best]
