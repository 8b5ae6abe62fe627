"""One batch of heads of equal shape, from the first epoch to the last head."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch

from guidestore.heads.training.graphs import captured
from guidestore.heads.training.head import Diverged, Head, Trained
from guidestore.heads.training.losses import CrossEntropy, loss_of
from guidestore.heads.training.outcome_losses import OutcomeLoss
from guidestore.heads.training.reader import Reader
from guidestore.heads.training.stack import Stack
from guidestore.heads.training.watch import Seen, Watch

type Capture = Callable[[Callable[[], None]], Callable[[], None]]

LEAVE_SHARE = 0.125
"""Finished heads leave the batch once they are this share of it: leaving copies all that stay."""

LOOK_EPOCHS = 20
"""How often the host looks which heads of a GPU have finished: in between it draws, and waits for nothing."""

_ON_A_GPU = threading.Lock()
"""Of one batch at a time: two would take turns anyway, and a capture bears no neighbour on its stream."""


def train_batch(heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> list[Trained | Diverged]:
    """Heads of one `Head.shape`, trained together; results in their order. Everything is resident on the device."""
    if not device.startswith("cuda"):
        return _train(_Batch(heads, device=device, dtype=dtype))
    with _ON_A_GPU, torch.cuda.device(device):
        return _train(_Batch(heads, device=device, dtype=dtype, capture=captured))


def _train(batch: _Batch) -> list[Trained | Diverged]:
    epoch, count = 0, len(batch.heads)
    with torch.no_grad():
        while batch.heads:
            epoch += 1
            batch.train_epoch(epoch)
            batch.end_epoch(epoch)
    return [batch.results[i] for i in range(count)]


class _Batch:
    """The heads that are still in a batch, with their state.

    An epoch is drawn on the host and run on the device as one body: its steps, the val loss, early stopping, and the
    copies of the best weights. capture: makes a graph of the body; then all that it reads stays in its place in memory,
    and the host looks at what came of it every LOOK_EPOCHS, and when a head has had its epochs.
    """

    def __init__(
        self, heads: Sequence[Head], *, device: str, dtype: torch.dtype, capture: Capture | None = None
    ) -> None:
        self.results: dict[int, Trained | Diverged] = {}
        """By place in the caller's list."""
        self._capture, self._graph, self._is_awake = capture, None, False
        self.reader = Reader(heads, device=device, dtype=dtype, steady=capture is not None)
        self.numbers = self.reader.order(range(len(heads)))
        """Places of `heads` in the caller's list."""
        self.heads = [heads[i] for i in self.numbers]
        self.reader.read_for(self.heads, self.numbers)
        self.stack = Stack(self.heads, device=device, dtype=dtype)
        self.loss = loss_of(self.heads, device=device, dtype=dtype)
        self.watch = Watch(self.heads, device=device, dtype=dtype)
        self.best = self.stack.copy() if isinstance(self.loss, CrossEntropy | OutcomeLoss) else None
        """The best weights so far; None where the last are used."""
        widths = self.stack.widths
        layers = [*range(1, len(widths) - 1)] or [0]
        self.dropped = [(i, widths[i]) for i in layers + [len(widths) - 1] * self.loss.rectified]
        """(layer, width) of what dropout applies to; layer 0 are the codes."""

    def train_epoch(self, epoch: int) -> None:
        """Draws an epoch and runs it."""
        self._rows_hn = self.reader.begin_epoch(epoch, self.dropped)
        if self._graph is None and self._is_awake and self._capture is not None:
            self._graph = self._capture(self._body)
        (self._graph or self._body)()
        self._is_awake = True

    def _body(self) -> None:
        reader, stack, n = self.reader, self.stack, self.reader.n
        n_layers, batch_size = len(stack.weights), self.heads[0].batch_size
        self.loss.begin_epoch(self._rows_hn)
        train_loss = torch.zeros(len(self.heads), device=reader.device, dtype=reader.dtype)
        for first in range(0, n, batch_size):
            rows = slice(first, min(first + batch_size, n))
            x_vbd, masks = reader.codes(rows), reader.masks(rows)
            outputs = stack.forward(x_vbd, reader.blocks, masks)
            loss_h, delta = self.loss.step(outputs[-1], rows, masks.get(n_layers))
            stack.backward(x_vbd, reader.blocks, outputs, delta, reader.scale)
            stack.step()
            train_loss.add_(loss_h, alpha=x_vbd.shape[1] / n)
        val_loss = None
        if isinstance(self.loss, CrossEntropy | OutcomeLoss):
            val_loss = self.loss.val_loss(stack.forward(reader.x_val, reader.val_blocks, {})[-1])
        better = self.watch.look(train_loss, val_loss)
        if self.best is not None and self._capture is not None:
            stack.remember_where(self.best, better)
        elif self.best is not None and better.any():
            stack.remember(self.best, better.nonzero()[:, 0])

    def end_epoch(self, epoch: int) -> None:
        """Says who has finished and who leaves, where it is time to look."""
        if self._capture is not None and epoch % LOOK_EPOCHS and epoch not in self.watch.ends:
            return
        seen = self.watch.seen()
        for i in np.flatnonzero(~seen.going).tolist():
            if self.numbers[i] not in self.results:
                self._finish(i, seen)
        if (~seen.going).mean() >= LEAVE_SHARE:
            self._keep(np.flatnonzero(seen.going).tolist())

    def _finish(self, i: int, seen: Seen) -> None:
        head, loss, epoch = self.heads[i], float(seen.best_loss[i]), int(seen.best_epoch[i])
        if seen.lost_epoch[i]:
            self.results[self.numbers[i]] = Diverged(int(seen.lost_epoch[i]), float(seen.lost_loss[i]))
            return
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
        self._graph, self._is_awake = None, False
        self.reader.read_for(self.heads, places)
        index = self.reader.tensor(np.array(places))
        self.stack.keep(index, self.heads)
        self.loss.keep(index)
        self.watch.keep(index)
        if self.best is not None:
            self.best = [values.index_select(0, index) for values in self.best]
