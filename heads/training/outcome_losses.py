"""The losses of outcomes that are no class, of all heads of a batch at once, with their gradients.

mse      the mean over rows and columns of (o - y)²;
huber    of the same with torch.nn.functional.huber_loss (delta 1);
binary   over the columns that are known (y is 1 or 0, not NaN), cross-entropy of sigmoid(o) to y, summed over a row's
         columns and divided by the rows: conditional grades, or intervals of time;
cox      minus the partial log likelihood by Efron over the number of events; y is (time, event), o one risk. A step of
         some rows compares those rows with each other.

Axes as in heads.training: h head, b row of a step, c column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import torch

from guidestore.heads.training.head import Head, Outcomes


class OutcomeLoss:
    """The same interface as heads.training.losses.CrossEntropy."""

    rectified = False

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        tasks = [cast(Outcomes, head.task) for head in heads]
        self._told = LOSSES[tasks[0].loss]
        self.y, self.y_val = (
            torch.from_numpy(np.stack(part)).to(device, dtype)
            for part in zip(*((task.y_nc, task.y_val_nc) for task in tasks), strict=True)
        )
        """(h, n, c), (h, n_val, c)."""

    def keep(self, places: torch.Tensor) -> None:
        """Drop all heads but those at `places`, which then come in that order."""
        self.y, self.y_val = self.y.index_select(0, places), self.y_val.index_select(0, places)

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        """The epoch's rows in their order."""
        self._y = self.y.take_along_dim(rows_hn[..., None], dim=1)

    def step(self, out_hbc: torch.Tensor, rows: slice, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (h,) and its gradient (h, b, c) for the epoch's `rows`; mask is not used."""
        return self._told(out_hbc, self._y[:, rows])

    def val_loss(self, out_hbc: torch.Tensor) -> torch.Tensor:
        """(h,), over all val rows."""
        return self._told(out_hbc, self.y_val)[0]


def _mse(out: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    delta = out - y
    return delta.square().mean(dim=(1, 2)), delta * (2.0 / (y.shape[1] * y.shape[2]))


def _huber(out: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    difference = out - y
    delta = difference.clamp(-1.0, 1.0)
    # Inside, d * d - d^2 / 2; outside, |d| - 1 / 2.
    return (delta * (difference - 0.5 * delta)).mean(dim=(1, 2)), delta / (y.shape[1] * y.shape[2])


def _binary(out: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    known = ~y.isnan()
    wanted = y.nan_to_num()
    loss = torch.where(known, torch.nn.functional.softplus(out) - wanted * out, torch.zeros_like(out))
    delta = torch.where(known, torch.sigmoid(out) - wanted, torch.zeros_like(out))
    return loss.sum(dim=(1, 2)) / y.shape[1], delta / y.shape[1]


def cox(out: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(h, b, 1) risks and (h, b, 2) times and events -> loss (h,) and its gradient (h, b, 1); 0 without an event.

    Of d events at one time the i-th, from 0, is compared with all that are at risk but for the share i / d of these d.
    (Efron, JASA 72, 1977.)
    """
    time, order = y[..., 0].sort(dim=1)
    risk, event = out[..., 0].gather(1, order), y[..., 1].gather(1, order)
    risk = risk - risk.amax(dim=1, keepdim=True)
    weight = risk.exp()
    starts = torch.ones_like(time, dtype=torch.bool)
    starts[:, 1:] = time[:, 1:] != time[:, :-1]
    group = starts.long().cumsum(dim=1) - 1

    def of_group(values: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(values).scatter_add_(1, group, values)

    at_time, of_events, events = of_group(weight), of_group(weight * event), of_group(event)
    at_risk = at_time.flip(1).cumsum(dim=1).flip(1)
    before = events.cumsum(dim=1) - events
    number = event.cumsum(dim=1) - event - before.gather(1, group)
    share = number / events.gather(1, group).clamp_min(1.0)
    compared = (at_risk.gather(1, group) - share * of_events.gather(1, group)).clamp_min(torch.finfo(out.dtype).tiny)
    n_events = event.sum(dim=1).clamp_min(1.0)
    loss = (event * (compared.log() - risk)).sum(dim=1) / n_events
    inverse = event / compared
    so_far = of_group(inverse).cumsum(dim=1).gather(1, group)
    spared = of_group(inverse * share).gather(1, group)
    delta = weight * (so_far - event * spared) - event
    delta = torch.zeros_like(delta).scatter_(1, order, delta / n_events[:, None])
    return loss, delta[..., None]


LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "mse": _mse,
    "huber": _huber,
    "binary": _binary,
    "cox": cox,
}
"""(h, b, c) outputs and y -> loss (h,) and its gradient."""
